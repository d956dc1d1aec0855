"""A token that was chosen, and how sure the model was of it. Nothing here needs torch."""

from __future__ import annotations

from typing import NamedTuple

from engine.types import TokenSource


class Confidence(NamedTuple):
    """What the logits say of one token; NaN where they were not told."""

    logprob: float
    """Natural log of the token's probability."""
    entropy: float
    """Of the whole distribution, in nats."""
    margin: float | None
    """The largest logit minus the second largest: the log of how much likelier the first is; ``None`` where it was not
    told."""


class Choice(NamedTuple):
    """One token, chosen."""

    token_id: int
    confidence: Confidence
    t: float
    """When, by ``time.perf_counter``."""
    source: TokenSource = "target"
    likeliest: tuple[tuple[int, float], ...] = ()
    """The model's likeliest tokens here with their log-probabilities, as many as were asked for."""
