"""Traces of all kinds are read row by row, and whatever is wrong with one is named with its line and field."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.operations.traffic.arrivals import Arrival, Lengths, TraceError, extent_of, limited
from app.operations.traffic.traces import trace_of

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens"
AZURE_ROW = "2024-05-10 10:00:00.1234567,374,44"
MOONCAKE = {"timestamp": 0, "input_length": 700, "output_length": 5, "hash_ids": [7, 8]}
OWN = {"at": 0, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5}


def written(folder: Path, *lines: str | dict[str, Any], end: str = "\n") -> Path:
    """A file of these lines."""
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path = folder / "trace"
    path.write_bytes("".join(text + end for text in texts).encode("utf-8", "surrogateescape"))
    return path


def read(folder: Path, *lines: str | dict[str, Any], end: str = "\n") -> list[Arrival]:
    return list(trace_of(written(folder, *lines, end=end))())


def test_azures_times_count_from_its_first_row(tmp_path: Path) -> None:
    first, second = read(
        tmp_path, "\ufeff" + HEADER, "2023-11-16 23:59:59.5000000,374,44", "", "2023-11-17 00:00:01,1,0", end="\r\n"
    )
    assert first == Arrival(at_s=0, prompt=Lengths(374), max_tokens=44)
    assert second == Arrival(at_s=1.5, prompt=Lengths(1), max_tokens=1)


def test_azures_columns_may_stand_in_any_order_with_others_and_zones(tmp_path: Path) -> None:
    lines = ("GeneratedTokens,x,TIMESTAMP,ContextTokens", "3,,2024-05-10 00:00:00.009930+00:00,9")
    assert read(tmp_path, *lines) == [Arrival(at_s=0, prompt=Lengths(9), max_tokens=3)]


def test_mooncakes_times_are_milliseconds_and_its_blocks_are_kept(tmp_path: Path) -> None:
    later = MOONCAKE | {"timestamp": 3500, "hash_ids": [7]}
    first, second = read(tmp_path, MOONCAKE | {"timestamp": 1000}, later)
    assert first == Arrival(at_s=0, prompt=Lengths(700, (7, 8)), max_tokens=5)
    assert (second.at_s, second.prompt) == (2.5, Lengths(700, (7,)))


def test_messages_come_through_as_they_are(tmp_path: Path) -> None:
    parts = [{"role": "system", "content": "Be kind. 🌍"}, {"role": "user", "content": [{"type": "text", "text": "a"}]}]
    (arrival,) = read(tmp_path, OWN | {"at": 4.5, "messages": parts, "session": "anna"})
    assert arrival == Arrival(at_s=0, prompt=tuple(parts), max_tokens=5, session="anna")


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ((), "empty"),
        (("", "  "), "empty"),
        (("time,in,out", "1,2,3"), r"^Line 1: no trace of a known kind"),
        (("TIMESTAMP,ContextTokens", "1,2"), r"^Line 1: no trace of a known kind"),
        (({"a": 1},), r"^Line 1: no trace of a known kind"),
        ((HEADER, "2023-11-16 18:15:46,1"), r"^Line 2: it has 2 fields"),
        ((HEADER, AZURE_ROW, "yesterday,1,2"), r"^Line 3: TIMESTAMP is 'yesterday'"),
        ((HEADER, "NaN,1,2"), r"^Line 2: TIMESTAMP"),
        ((HEADER, "2023-11-16 18:15:46,nan,2"), r"^Line 2: ContextTokens is 'nan'"),
        ((HEADER, "2023-11-16 18:15:46,-4,2"), r"^Line 2: ContextTokens is '-4'"),
        ((HEADER, "2023-11-16 18:15:46,4,1e9"), r"^Line 2: GeneratedTokens"),
        ((HEADER, f"2023-11-16 18:15:46,4,{'9' * 5000}"), r"^Line 2: GeneratedTokens is '9{40}…'"),
        ((HEADER, "2023-11-16 18:15:46,4,٣"), r"^Line 2: GeneratedTokens"),
        ((HEADER, AZURE_ROW, "2024-05-10 09:59:59,1,2"), r"^Line 3: its time is 1.12346 s before"),
        ((HEADER, AZURE_ROW, "2024-05-10 09:59:59+00:00,1,\udcff"), r"^Line 3: it is not text in UTF-8"),
        ((HEADER, '"2024-05-10'), r"^Line 2: it is no CSV"),
        (({"timestamp": 1, "input_length": 1},), r"^Line 1: output_length is missing"),
        ((MOONCAKE, "", MOONCAKE | {"timestamp": -1}), r"^Line 3: timestamp is '-1'"),
        ((MOONCAKE | {"timestamp": True},), r"^Line 1: timestamp"),
        ((MOONCAKE | {"timestamp": "0"},), r"^Line 1: timestamp"),
        ((json.dumps(MOONCAKE).replace("700", "NaN"),), r"^Line 1: it is no JSON \(NaN"),
        ((MOONCAKE | {"input_length": 1.5},), r"^Line 1: input_length is '1.5'"),
        ((MOONCAKE | {"input_length": 10**400},), r"^Line 1: it is no JSON"),
        ((MOONCAKE | {"hash_ids": [1, 2, 3]},), r"^Line 1: hash_ids has 3 blocks, and 700 tokens have 2"),
        ((MOONCAKE | {"hash_ids": [1, "b"]},), r"^Line 1: hash_ids must be"),
        ((MOONCAKE, "[1]"), r"^Line 2: a JSON object"),
        ((MOONCAKE, "{" * 100_000), r"^Line 2: it is no JSON"),
        (({"messages": [], "at": 0},), r"^Line 1: max_tokens is missing"),
        ((OWN | {"messages": []},), r"^Line 1: messages must be"),
        ((OWN | {"messages": [*OWN["messages"], {"role": "user"}]},), r"^Line 1: messages has as number 2"),
        ((OWN | {"max_tokens": 0},), r"^Line 1: max_tokens is '0'"),
        ((OWN | {"session": 5},), r"^Line 1: session is '5'"),
        ((OWN | {"tempreature": 1},), r"^Line 1: 'tempreature' is not known"),
        ((OWN | {"at": 7}, OWN | {"at": 6}), r"^Line 2: its time is 1 s before"),
    ],
)
def test_what_is_wrong_is_named_with_its_line_and_field(
    tmp_path: Path, lines: tuple[str | dict[str, Any], ...], complaint: str
) -> None:
    with pytest.raises(TraceError, match=complaint):
        read(tmp_path, *lines)


def test_zones_in_some_rows_alone_are_no_surprise(tmp_path: Path) -> None:
    first, second = read(tmp_path, HEADER, "2024-05-10 10:00:00,1,2", "2024-05-10 10:00:02+00:00,1,2")
    assert (first.at_s, second.at_s) == (0, 2)


def test_rows_are_read_no_sooner_than_they_are_asked_for(tmp_path: Path) -> None:
    trace = trace_of(written(tmp_path, HEADER, *[AZURE_ROW] * 500, "broken"))
    assert len(list(islice(trace(), 500))) == 500
    assert extent_of(limited(trace, 500)).requests == 500
    with pytest.raises(TraceError, match=r"^Line 502: "):
        extent_of(trace)


@pytest.mark.slow
def test_a_million_rows_take_no_more_memory_than_a_few(tmp_path: Path) -> None:
    path = written(tmp_path, HEADER, *[AZURE_ROW] * 1_000_000)
    before = psutil.Process().memory_info().rss
    seen = 0
    for seen, _ in enumerate(trace_of(path)(), 1):
        if seen % 50_000 == 0:
            assert psutil.Process().memory_info().rss - before < 32 * 2**20  # kept, they would be hundreds
    assert seen == 1_000_000


def test_a_line_without_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"^Line 1: it has more than"):
        read(tmp_path, "x" * (17 * 2**20))


def test_an_extent_is_of_all_rows(tmp_path: Path) -> None:
    own = extent_of(trace_of(written(tmp_path, OWN, OWN | {"at": 90})))
    assert (own.requests, own.duration_s, own.has_lengths) == (2, 90, False)
    assert extent_of(trace_of(written(tmp_path, MOONCAKE))).has_lengths
    with pytest.raises(TraceError, match="no requests"):
        extent_of(trace_of(written(tmp_path, HEADER)))


_gaps = st.lists(st.floats(0, 1000), min_size=1, max_size=20)
_counts = st.integers(1, 10_000)


@given(gaps=_gaps, tokens=_counts, answered=_counts)
def test_any_azure_trace_comes_back(
    tmp_path_factory: pytest.TempPathFactory, gaps: list[float], tokens: int, answered: int
) -> None:
    at, rows, offsets = datetime(2024, 2, 29, 12), [HEADER], []
    for gap in gaps:
        at += timedelta(seconds=gap)
        offsets.append(at)
        rows.append(f"{at.isoformat(sep=' ')},{tokens},{answered}")
    arrivals = read(tmp_path_factory.mktemp("azure"), *rows)
    assert [a.at_s for a in arrivals] == pytest.approx([(t - offsets[0]).total_seconds() for t in offsets], abs=1e-5)
    assert {(a.prompt, a.max_tokens) for a in arrivals} == {(Lengths(tokens), answered)}


@given(gaps=_gaps, tokens=_counts, data=st.data())
def test_any_mooncake_trace_comes_back(
    tmp_path_factory: pytest.TempPathFactory, gaps: list[float], tokens: int, data: st.DataObject
) -> None:
    ids = data.draw(st.lists(st.integers(0, 2**63), max_size=-(-tokens // 512)))
    times = [sum(gaps[: place + 1]) * 1000 for place in range(len(gaps))]
    times = sorted(times)
    rows = [{"timestamp": t, "input_length": tokens, "output_length": 9, "hash_ids": ids} for t in times]
    arrivals = read(tmp_path_factory.mktemp("mooncake"), *rows)
    assert [a.at_s for a in arrivals] == pytest.approx([(t - times[0]) / 1000 for t in times], abs=1e-6)
    assert {a.prompt for a in arrivals} == {Lengths(tokens, tuple(ids))}


@given(text=st.text(max_size=300))
def test_whatever_is_in_a_file_is_read_or_refused_in_words(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("any") / "trace"
    for start in ("", HEADER + "\n", json.dumps(MOONCAKE) + "\n", "{"):
        path.write_text(start + text, encoding="utf-8", errors="surrogatepass", newline="")
        with suppress(TraceError):
            extent_of(trace_of(path))
