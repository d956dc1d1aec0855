"""Where two greedy answers part, and how close that call was."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from engine.native.kernels import library
from engine.quantization import scheme_of
from engine.serving.memory.pool import ModelPool
from engine.types import Message, OptimizationConfig, Precision, RunConfig
from tests.conftest import SMALL
from tests.support.loading import load_model, open_model

PARTING_ULPS = 8
"""How far apart two logits may lie, in bf16 units in the last place of the larger, for either to be chosen.

Ways of computing in 16 bits (one row or many, with bf16 instructions or without, transformers' or ours) put the gap
between two logits up to six such units apart. How many answers meet a near-tie is each processor's own; that they
part at nothing else is not.
"""


def rows_are_alike(precision: Precision) -> bool:
    """Whether a row is the same to the last bit whatever is computed beside it: at all precisions of our own kernels,
    but for prompts in 16 bits that torch reads where it has AMX."""
    return library() is not None and scheme_of(precision, native=True).native


def first_difference(one: Sequence[int], other: Sequence[int]) -> int:
    """The first place where two answers differ, or the end of the shorter."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def gap_in_ulps(logits: Tensor, one: int, other: int) -> float:
    """The distance of two logits in bf16 units in the last place of the larger."""
    a, b = float(logits[one]), float(logits[other])
    unit = float(torch.tensor(max(abs(a), abs(b))).log2().floor().exp2()) / 2**7
    return abs(a - b) / unit


class NearTies:
    """A model on its own, to ask how close a choice was."""

    def __init__(self, models_dir: Path, precision: Precision = Precision.BF16) -> None:
        self._pool = ModelPool(models_dir)
        self._run = RunConfig(model=SMALL, optimization=OptimizationConfig.at(precision))

    def check(self, messages: Sequence[Message], one: Sequence[int], other: Sequence[int]) -> None:
        """Fail unless two answers to the same messages part at a near-tie."""
        at = first_difference(one, other)
        opened = open_model(self._pool, SMALL)
        with torch.inference_mode():
            model = load_model(self._pool, self._run)
            decoder = model.decoder  # type: ignore[attr-defined]
            tokens = [*opened.tokenizer.encode_chat(messages), *one[:at]]
            logits = decoder.prefill(torch.tensor(tokens), decoder.new_cache(len(tokens)), lambda: False)
        parted = (one[at], other[at]) if at < min(len(one), len(other)) else tuple(logits.topk(2).indices.tolist())
        gap = gap_in_ulps(logits, *parted)
        assert gap <= PARTING_ULPS, f"{messages[-1].content!r} parts at token {at} with a gap of {gap:.1f} ulps"


def changed_choices(exact: Tensor, lossy: Tensor) -> Tensor:
    """How far below the best, in nats of the exact model, each choice lies that another model makes otherwise.

    Args:
        exact, lossy: log-probabilities ``[tokens, vocab]``.

    Returns:
        ``[choices]``: empty where both choose alike. Their number is a matter of rounding, their size is not.
    """
    chosen = lossy.argmax(-1)
    other = chosen != exact.argmax(-1)
    below: Tensor = exact.max(-1).values - exact.gather(-1, chosen[:, None])[:, 0]
    return below[other]
