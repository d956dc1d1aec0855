"""What the kernels refuse when texts are written."""

from __future__ import annotations

import ctypes
from typing import Any, cast

import pytest
import torch

from engine.generation.choosing import Chooser
from engine.generation.token_buffer import TokenBuffer
from engine.models.decoders.native_decoder import NativeDecoder
from engine.native.kernels import Sequence
from engine.native.structures import REFUSALS
from engine.types import SamplingParams
from tests.engine.native.test_kernels import needs_kernels
from tests.support.native_checks import MOST, kernels


def a_sequence(decoder: NativeDecoder, keep: list[Any], **changed: Any) -> Sequence:
    """Three tokens asked for behind a text of two, some of the structure's members changed.

    Args:
        decoder: whose text it is.
        keep: takes what the structure points to.
        changed: members and their values.
    """
    cache, text = decoder.new_cache(8), TokenBuffer([1, 2], 8)
    cache.commit(1)
    out = [(ctypes.c_double * 4)() for _ in range(4)]
    state = torch.Generator().manual_seed(1).get_state()
    sequence = Sequence(
        ids=text.address,
        length=2,
        room=8,
        kv=cache.addresses,
        kv_length=1,
        kv_capacity=8,
        vocabulary=384,
        temperature=1.0,
        top_p=0.9,
        penalty=1.1,
        generator=state.data_ptr(),
        most=3,
        seconds=10.0,
        interrupted=ctypes.pointer(ctypes.c_int32(0)),
        logprobs=out[0],
        entropies=out[1],
        margins=out[2],
        times=out[3],
    )
    for name, value in changed.items():
        setattr(sequence, name, value)
    with torch.inference_mode():
        for layer in cache.layers:
            layer.zero_()
    keep += [cache, text, out, state, sequence]
    return sequence


def status_of_writing(decoder: NativeDecoder, asked: list[Sequence | None], **changed: Any) -> int:
    """What the C function returns, some of its arguments changed."""
    texts = (ctypes.POINTER(Sequence) * len(asked))(*(s and ctypes.pointer(s) for s in asked))
    arguments = {
        "model": decoder._model,
        "head": decoder._head_matrix,
        "sequences": texts,
        "count": len(asked),
        "interrupted": ctypes.c_int32(0),
        "threads": 1,
    }
    return cast(int, kernels()._lib.gearbox_write(*(arguments | changed).values()))


def written(decoder: NativeDecoder, **changed: Any) -> int:
    """What it returns for a text that is spoilt, beside one that is not, whichever comes first; the same for both."""
    keep: list[Any] = []
    spoilt, sound = a_sequence(decoder, keep, **changed), a_sequence(decoder, keep)
    status = status_of_writing(decoder, [spoilt])
    assert status_of_writing(decoder, [sound, a_sequence(decoder, keep, **changed)]) == status
    assert sound.written == (0 if status else 3)
    return status


@needs_kernels
@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({}, None),
        ({"model": None}, "address is missing"),
        ({"head": None}, "address is missing"),
        ({"sequences": None}, "address is missing"),
        ({"interrupted": None}, "address is missing"),
        ({"count": 0}, "no sequences"),
        ({"count": -7}, "no sequences"),
        ({"count": MOST}, "no sequences"),
        ({"threads": 0}, "threads"),
    ],
    ids=str,
)
def test_texts_are_written_or_refused_with_the_reason(
    decoder: NativeDecoder, changed: dict[str, Any], says: str | None
) -> None:
    keep: list[Any] = []
    status = status_of_writing(decoder, [a_sequence(decoder, keep), a_sequence(decoder, keep)], **changed)
    assert (says is None) == (status == 0)
    if says:
        assert says in REFUSALS[status]


@needs_kernels
def test_a_text_that_is_not_there_is_not_written(decoder: NativeDecoder) -> None:
    keep: list[Any] = []
    assert "address is missing" in REFUSALS[status_of_writing(decoder, [a_sequence(decoder, keep), None])]
    rows = (ctypes.c_void_p * 1)(None)
    texts = (ctypes.POINTER(Sequence) * 1)(ctypes.pointer(a_sequence(decoder, keep)))
    assert "address is missing" in REFUSALS[kernels()._lib.gearbox_choose(rows, texts, 1, 1)]
    with pytest.raises(ValueError, match="8 logits for a vocabulary of 384"):
        kernels().choose([torch.zeros(8)], [a_sequence(decoder, keep)])


EVERYTHING = (ctypes.c_int32 * 12)(*[-1] * 12)
"""A bit for each of 384 tokens."""


def biases(*pairs: tuple[int, float]) -> dict[str, Any]:
    ids, added = zip(*pairs, strict=True)
    count = len(pairs)
    return {"bias_ids": (ctypes.c_int64 * count)(*ids), "biases": (ctypes.c_float * count)(*added), "n_biases": count}


@needs_kernels
@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({}, None),
        ({"temperature": 0.0, "generator": None}, None),
        ({"ids": None}, "address is missing"),
        ({"ids": 8 * 10**6 + 1}, "where its type wants it"),
        ({"kv": None}, "address is missing"),
        ({"generator": None}, "address is missing"),
        ({"interrupted": None}, "address is missing"),
        ({"times": None}, "address is missing"),
        ({"n_stop_ids": 1}, "address is missing"),
        ({"n_stop_ids": -1}, "address is missing"),
        ({"length": 0}, "beyond the KV cache"),
        ({"length": 6}, "beyond the KV cache"),
        ({"length": 2**62}, "beyond the KV cache"),
        ({"room": 4}, "beyond the KV cache"),
        ({"most": 0}, "beyond the KV cache"),
        ({"most": MOST}, "beyond the KV cache"),
        ({"kv_length": 6}, "beyond the KV cache"),
        ({"kv_length": -1}, "beyond the KV cache"),
        ({"kv_capacity": 3}, "beyond the KV cache"),
        ({"vocabulary": 0}, "another shape"),
        ({"vocabulary": 385}, "another shape"),
        ({"temperature": float("nan")}, "not finite"),
        ({"temperature": -1.0}, "not finite"),
        ({"penalty": 0.0}, "not finite"),
        ({"top_p": float("inf")}, "not finite"),
        ({"top_k": -1}, "not finite"),
        ({"seconds": float("nan")}, "not finite"),
        ({"frequency": float("nan")}, "not finite"),
        ({"presence": float("inf")}, "not finite"),
        ({"frequency": 0.5, "answer_start": 2}, None),
        ({"answer_start": 3}, "beyond the KV cache"),
        ({"answer_start": -1}, "beyond the KV cache"),
        ({"answer_start": 2**62}, "beyond the KV cache"),
        (biases((383, 1.0), (0, -100.0)), None),
        (biases((384, 1.0)), "outside the model's vocabulary"),
        (biases((-1, 1.0)), "outside the model's vocabulary"),
        (biases((2**40, 1.0)), "outside the model's vocabulary"),
        (biases((1, float("inf"))), "not finite"),
        ({**biases((1, 1.0)), "biases": None}, "address is missing"),
        ({**biases((1, 1.0)), "bias_ids": None}, "address is missing"),
        ({"n_biases": 1}, "address is missing"),
        ({"n_biases": -1}, "address is missing"),
        ({"allowed": ctypes.addressof(EVERYTHING)}, None),
        ({"allowed": ctypes.addressof(EVERYTHING) + 1}, "where its type wants it"),
        ({"n_top": 1}, "address is missing"),
        ({"n_top": -1}, "not finite"),
        ({"n_top": 65}, "not finite"),
        ({"n_top": 3, "top_ids": (ctypes.c_int64 * 9)(), "top_logprobs": (ctypes.c_double * 9)()}, None),
        ({"n_top": 3, "top_ids": (ctypes.c_int64 * 9)()}, "address is missing"),
    ],
    ids=lambda value: " and ".join(value) if isinstance(value, dict) else str(value),
)
def test_a_text_is_written_or_refused_with_the_reason(
    decoder: NativeDecoder, changed: dict[str, Any], says: str | None
) -> None:
    status = written(decoder, **changed)
    assert (says is None) == (status == 0)
    if says:
        assert says in REFUSALS[status]


@needs_kernels
@torch.inference_mode()
def test_a_text_with_an_unknown_token_is_not_gone_on_with(decoder: NativeDecoder) -> None:
    for token in (384, -1, 2**40):
        chooser = Chooser(TokenBuffer([1, token], 8), SamplingParams(), 384)
        asked = chooser.ask(ctypes.c_int32(), 3, 1.0)
        assert asked is not None
        with pytest.raises(ValueError, match="outside the model's vocabulary"):
            decoder.write_many([(asked, decoder.new_cache(8))], ctypes.c_int32())
        assert len(chooser.text) == 2


@needs_kernels
def test_a_generator_in_an_unknown_state_is_refused(decoder: NativeDecoder) -> None:
    state = torch.Generator().manual_seed(1).get_state()
    state[8:12] = 255
    assert "not finite" in REFUSALS[written(decoder, generator=state.data_ptr())]
