"""From a drafter's name to what drafts in one run. What each is stands in :attr:`engine.types.Drafter.info`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import assert_never

from engine.cache import KVCache
from engine.models.decoders.decoder import Decoder
from engine.speculation.drafts import DraftSource
from engine.speculation.model_drafter import ModelDrafter, SharedKVDrafter
from engine.speculation.ngram import NgramDrafter
from engine.types import Drafter, SamplingParams


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DraftedRun:
    """The run that drafts are for."""

    prompt_ids: Sequence[int]
    sampling: SamplingParams
    capacity: int
    """Tokens of prompt, answer and drafts."""
    earlier: Sequence[Sequence[int]] = ()
    """Texts of the same session, oldest first."""
    cache: KVCache | None = None
    """The model's own; ``None`` where none is kept."""
    cancelled: Callable[[], bool] = lambda: False
    """Whether it is to stop."""


@dataclass(frozen=True, slots=True, eq=False)
class DraftingWeights:
    """What drafts, for a drafter that needs weights."""

    decoder: Decoder
    vocab_size: int
    """Ids that both tokenizers know."""


def draft_source(drafter: Drafter, run: DraftedRun, weights: DraftingWeights | None = None) -> DraftSource:
    """A run's own drafter.

    Args:
        drafter: anything but ``auto``, which stands for the others.
        run: what it drafts for.
        weights: of a drafter that needs some.
    """
    match drafter:
        case Drafter.NGRAM:
            return NgramDrafter(run.earlier, run.prompt_ids)
        case Drafter.SELF:
            assert weights is not None  # the drafter's info asks for both
            assert run.cache is not None
            return SharedKVDrafter(weights.decoder, weights.vocab_size, run.sampling, run.cache)
        case Drafter.DRAFT:
            assert weights is not None
            return ModelDrafter(weights.decoder, weights.vocab_size, run.sampling, run.capacity, run.cancelled)
        case Drafter.AUTO:
            raise ValueError("auto stands for the other drafters and is none itself")
        case _:
            assert_never(drafter)
