"""Where two greedy answers part, and how close that call was."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from engine.pool import ModelPool
from engine.types import Message, RunConfig
from tests.conftest import SMALL


def first_difference(one: Sequence[int], other: Sequence[int]) -> int:
    """The first place where two answers differ, or the end of the shorter."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


class NearTies:
    """The 16-bit model on its own, to ask how close a choice was."""

    def __init__(self, models_dir: Path) -> None:
        self._pool = ModelPool(models_dir)

    def gap(self, messages: Sequence[Message], answer: Sequence[int]) -> tuple[float, float]:
        """Gap between the two best logits after so much of an answer, and one bf16 unit in the last place of the
        best."""
        opened = self._pool.open(SMALL)
        with torch.inference_mode():
            model = self._pool.acquire(opened, RunConfig(model=SMALL), lambda stage, fraction: None)
            decoder = model.decoder  # type: ignore[attr-defined]
            tokens = [*opened.tokenizer.encode_chat(messages), *answer]
            logits = decoder.prefill(torch.tensor(tokens), decoder.new_cache(len(tokens)), lambda: False)
        best, second = logits.topk(2).values.tolist()
        return best - second, float(torch.tensor(abs(best)).log2().floor().exp2()) / 2**7
