"""However the bytes of a stream are cut, the answer is the same."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.backends.remote.reading import AnswerReader, Piece
from engine.backends.remote.spelling import Spelling
from engine.generation.recorder import RunRecorder
from engine.serving.remote.answers import recording
from engine.types import Event, RunFinished
from tests.support.misbehaving_server import as_event, counts, ends, says
from tests.support.remotes import OFFICE, asked_of

TEXTS = st.lists(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=8), max_size=12)


@given(TEXTS, st.data(), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_however_the_bytes_are_cut_the_text_is_the_same(
    texts: list[str], data: st.DataObject, line_end: str, escaped: bool
) -> None:
    chunks = [*(json.dumps(says(text), ensure_ascii=escaped) for text in texts), json.dumps(ends()), "[DONE]"]
    stream = b"".join(f"data: {chunk}{line_end}{line_end}".encode() for chunk in chunks)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    parts = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]

    reader, pieces = asyncio.run(read(parts))

    assert "".join(piece.text for piece in pieces) == "".join(texts)
    assert reader.is_done
    assert reader.finish_reason == "stop"


async def read(parts: list[bytes]) -> tuple[AnswerReader, list[Piece]]:
    async def body() -> AsyncIterator[bytes]:
        for part in parts:
            yield part

    response = httpx2.Response(
        200,
        headers={"content-type": "text/event-stream"},
        content=body(),
        request=httpx2.Request("POST", "http://office"),
    )
    reader = AnswerReader()
    taken = [reader.take(event.data) async for event in httpx2.EventSource(response)]
    return reader, [piece for piece in taken if piece is not None]


@given(TEXTS, st.lists(st.text("ab", min_size=1, max_size=3), max_size=2))
def test_the_pieces_recorded_are_the_text_up_to_its_stop_string(texts: list[str], stops: list[str]) -> None:
    events: list[Event] = []
    request = asked_of(OFFICE, max_tokens=1000, stop=tuple(stops))
    spelling = Spelling(0)
    recorder = RunRecorder(
        emit=events.extend,
        is_cancelled=lambda: False,
        interrupt=None,  # type: ignore[arg-type]
        stop=request.config.sampling.stop,
        arrived=0.0,
        queue_s=0.0,
        load_s=0.0,
        **recording(spelling, request, None),
    )
    goes_on = True
    for text in filter(None, texts):
        if goes_on:
            goes_on = recorder.take(spelling.choices(Piece(text), 1.0))[1]
    if goes_on:
        recorder.end("stop")

    whole = "".join(texts)
    place = min((at for stop in stops if (at := whole.find(stop)) >= 0), default=len(whole))
    assert recorder.text == whole[:place]
    assert recorder.token_ids == ()
    assert not any(isinstance(event, RunFinished) for event in events)


def test_a_chunk_that_adds_nothing_is_no_piece() -> None:
    reader = AnswerReader()
    for chunk in (says(""), counts(), {"choices": []}, {}, {"choices": None}, {"choices": [None]}, ends()):
        assert reader.take(as_event(chunk)[6:].decode()) is None


@pytest.mark.parametrize("told", [10**30, 2**31, -1, 1.5, True, "3"])
def test_a_count_that_cannot_be_is_none(told: object) -> None:
    reader = AnswerReader()
    reader.take(json.dumps({"usage": {"prompt_tokens": told, "completion_tokens": 2**31 - 1}}))
    assert (reader.prompt_tokens, reader.completion_tokens) == (None, 2**31 - 1)


@pytest.mark.parametrize(
    "odd",
    [
        {"top_logprobs": 5},
        {"top_logprobs": {"a": 1}},
        {"top_logprobs": [5, {"token": 1, "logprob": "x"}]},
    ],
)
def test_likeliest_tokens_that_are_none_are_left_out(odd: dict[str, Any]) -> None:
    piece = AnswerReader().take(json.dumps(says("a", logprobs={"content": [{"token": "a", "logprob": -0.5, **odd}]})))
    assert piece is not None
    assert (piece.tokens[0].logprob, piece.tokens[0].margin) == (-0.5, None)


def test_how_likely_hidden_tokens_were_is_no_part_of_the_answer() -> None:
    reader = AnswerReader()
    delta = {"content": "", "reasoning_content": "hm"}
    chances = {"content": [{"token": "hm", "logprob": -7.0}]}
    thought = {"choices": [{"index": 0, "delta": delta, "logprobs": chances}]}
    assert reader.take(json.dumps(thought)) == Piece("")
    assert any("reasoning" in note for note in reader.notes)
