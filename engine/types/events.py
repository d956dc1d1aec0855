"""What comes back: the events of a run, and what it measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

FinishReason = Literal["stop", "length", "abort"]
"""``stop``: the model or a stop string ended it; ``length``: out of tokens or of context;
``abort``: cancelled."""

TokenSource = Literal["target", "draft", "bonus"]


@dataclass(frozen=True, slots=True)
class Queued:
    """Waiting: ``position`` requests come first. Sent again whenever the position changes."""

    position: int


@dataclass(frozen=True, slots=True)
class Loading:
    """The model is being made ready; this time counts neither into TTFT nor into E2E."""

    stage: str
    """What is being done, for the user: "Loading smollm2-135m in int4"."""
    fraction: float
    """Done so far, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Started:
    """The engine has taken up the request; the prompt is tokenized."""

    prompt_tokens: int
    queue_s: float
    load_s: float


@dataclass(frozen=True, slots=True)
class PrefillDone:
    """The prompt is in the KV cache."""

    cached_tokens: int
    computed_tokens: int


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """One token of the answer.

    ``text`` may be empty: half a character, the start of a possible stop string, or the end mark.
    """

    token_id: int
    text: str
    t: float
    """Seconds since the request arrived, loading left out."""
    logprob: float
    """Natural log of the model's probability of this token, before temperature, penalty and cuts."""
    entropy: float
    """Of the model's whole next-token distribution, in nats."""
    source: TokenSource = "target"
    tier: str | None = None
    """The model that wrote it, where a cascade had a choice."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Nothing new for a while. Lets a consumer look whether it has been asked to stop."""

    elapsed_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMetrics:
    """What one run measured. Every figure is a measurement, not an estimate.

    Loading and warm-up (``load_s``) are left out of ``ttft_s`` and ``e2e_s``; queueing is in both.
    """

    ttft_s: float | None
    """Arrival to first token; ``None`` if there was none."""
    tpot_s: float | None
    """(E2E − TTFT) / (completion_tokens − 1); undefined below two tokens."""
    itl_p50_s: float | None
    itl_p99_s: float | None
    e2e_s: float
    queue_s: float
    load_s: float
    prefill_s: float
    prompt_tokens: int
    cached_tokens: int
    """Prompt tokens whose KV was reused."""
    completion_tokens: int
    """Tokens the model produced, an end mark included: it took a step like any other."""
    drafted_tokens: int
    accepted_tokens: int
    weights_bytes: int
    kv_bytes: int
    """KV cache in use at the end of the run."""
    peak_rss_bytes: int
    """Greatest resident memory of the whole process while the run lasted (sampled)."""

    @property
    def tokens_per_second(self) -> float | None:
        """1 / TPOT: the decode rate."""
        return 1 / self.tpot_s if self.tpot_s else None


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The last event of a run that ended or was cancelled."""

    text: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    metrics: RunMetrics | None
    """``None`` for a run that was cancelled while it waited or loaded: nothing was measured."""
    environment: Mapping[str, Any]
    """Device, threads, CPU, library versions, weights hash: what the figures hold for."""


@dataclass(frozen=True, slots=True)
class RunFailed:
    """The last event of a run that could not be completed."""

    error: str
    """Written for the user."""
    kind: str
    """The error's class name."""


Event = Queued | Loading | Started | PrefillDone | TokenEvent | Heartbeat | RunFinished | RunFailed
