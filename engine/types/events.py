"""What comes back: the events of a run, and what it measured.

A token is a piece of text where a server answers: most send each token at once. Its :class:`RunMetrics` count what the
server says that it counted, and 0 where it does not say: :class:`~engine.types.remote.RemoteReport` tells which.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, Self

from engine.types.cascade import CascadeReport
from engine.types.disturbance import Disturbance

FinishReason = Literal["stop", "length", "abort"]
"""``stop``: the model or a stop string ended it; ``length``: out of tokens or of context;
``abort``: cancelled."""

TokenSource = Literal["target", "draft", "bonus"]


@dataclass(frozen=True, slots=True)
class Queued:
    """Waiting: ``position`` requests come first. Sent again whenever that changes."""

    position: int
    reason: str = ""
    """What is waited for, in the user's words."""


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
    hidden: tuple[float, ...] = ()
    """A random projection of the last layer's state at the prompt's last token
    (``engine.generation.random_projection``); empty where the backend does not tell it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Escalated:
    """The larger tier is asked: what the smaller one has written so far is thrown away."""

    from_tier: str
    to_tier: str
    score: float | None
    """What decided it; ``None`` where there was no score to tell."""
    threshold: float
    discarded_tokens: int
    passed_over: bool = False
    """Whether the smaller one was not even tried, because that has not paid lately."""


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """One token of the answer.

    ``text`` may be empty: half a character, the start of a possible stop string, or the end mark.
    """

    token_id: int | None
    """``None`` for a server's, which has numbers of its own or none."""
    text: str
    t: float
    """Seconds since the request arrived, loading left out."""
    logprob: float
    """Natural log of the model's probability of this token, before temperature, penalty and cuts. NaN where it is
    unknown, as the entropy is: a server may not tell."""
    entropy: float
    """Of the model's whole next-token distribution, in nats."""
    source: TokenSource = "target"
    """``target``: the model chose it by itself, or in place of a refused draft; ``draft``: drafted and accepted;
    ``bonus``: the model's own token after a draft that was accepted to its end."""
    margin: float | None = None
    """The largest logit minus the second largest; ``None`` where it was not measured."""
    tier: str | None = None
    """The model that wrote it, where a cascade had a choice."""
    top_logprobs: tuple[tuple[int | None, str, float], ...] = ()
    """The model's likeliest tokens here with their texts and log-probabilities, the likeliest first, as many as were
    asked for."""


def token_ids_of(tokens: Sequence[TokenEvent]) -> tuple[int, ...]:
    """The numbers of an answer's tokens; empty where one has none of ours, so that nobody takes a part for all."""
    ids = tuple(token.token_id for token in tokens if token.token_id is not None)
    return ids if len(ids) == len(tokens) else ()


class MissCause(StrEnum):
    """Why no more of a prompt was reused, though it could have been or nearly could."""

    COLD = "cold"
    """The run was asked to start cold."""
    SYSTEM_PROMPT = "system prompt"
    """It begins otherwise: the system prompt differs."""
    TURN = "edited turn"
    """An earlier turn differs: edited, answered anew, or another conversation."""
    TEMPLATE = "template"
    """The same messages became other tokens."""
    CONFIGURATION = "configuration"
    """What is kept was computed with other weights, precision, KV dtype, window or kernel."""
    SESSION = "session"
    """What is kept belongs to another person."""
    EVICTED = "evicted"
    """It was kept once, and has left."""
    NOTHING = "nothing kept"
    """Nothing like it was ever kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheReport:
    """How a prompt met the prefix cache."""

    cause: MissCause | None
    """Why no more was reused; ``None`` where a kept sequence was reused to its end."""
    nearest_tokens: int
    """Prompt tokens that the nearest sequence, kept or gone, has in common with the prompt and could have given."""
    parted_at: int | None
    """The first prompt token at which it parts from that sequence; ``None`` where that ends first, or there is none."""
    kept_text: str
    """What stands in that sequence from there on, a few tokens; empty for a sequence of another session."""
    came_text: str
    """What the prompt has instead."""
    detail: str
    """The cause in the user's words, with what decided it."""
    lost_tokens: int
    """Tokens computed again that would have been reused but for the cause."""
    verified: bool | None = None
    """Whether recomputing gave the same logits; ``None`` where it was not tried."""

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> Self:
        """The inverse of ``asdict``."""
        return cls(**{**tree, "cause": None if tree["cause"] is None else MissCause(tree["cause"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftRound:
    """Tokens drafted, and how many of them the model let stand."""

    at: int
    """Index in the answer of the first of them."""
    drafter: str
    """``ngram``, or the model that drafted with its precision."""
    token_ids: tuple[int, ...]
    accepted: int
    match_length: int | None = None
    """Tokens that an n-gram draft rests on: so many before it stood in the text already."""
    texts: tuple[str, ...] = ()
    """What they say, one text each."""


ControllerState = Literal["paused", "probing", "drafting"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerNote:
    """Where the controller changed its mind."""

    at: int
    """Index in the answer."""
    drafter: str
    kind: str
    """Of the rounds that it is about: n-gram drafts by the length of their match."""
    state: ControllerState
    acceptance: float
    """Share of drafted tokens that it expected to be accepted, 0 to 1."""
    speedup: float
    """Tokens per second that it expected at best, against plain decoding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeculationReport:
    """How speculative decoding went."""

    rounds: tuple[DraftRound, ...]
    notes: tuple[ControllerNote, ...]
    drafting_s: float
    """Seconds spent on proposals, those not taken up included."""
    verification_s: float
    """Seconds of the model's forward passes over drafted tokens."""
    plain_s: float
    """Seconds of its forward passes over one token."""
    choosing_s: float
    """Seconds spent on choosing tokens and telling of them."""
    plain_steps: int
    step_s: Mapping[int, float]
    """Measured seconds of a forward pass by its rows, before the run."""
    draft_step_s: Mapping[str, float]
    """Measured seconds of one drafted token, by drafter."""
    unavailable: tuple[str, ...] = ()
    """Drafters that were asked for and cannot draft here, with the reason."""

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> Self:
        """The inverse of ``asdict``, from JSON too."""
        rounds = (
            DraftRound(**{**entry, "token_ids": tuple(entry["token_ids"]), "texts": tuple(entry["texts"])})
            for entry in tree["rounds"]
        )
        changed = {
            "rounds": tuple(rounds),
            "notes": tuple(ControllerNote(**note) for note in tree["notes"]),
            "step_s": {int(rows): seconds for rows, seconds in tree["step_s"].items()},
            "unavailable": tuple(tree["unavailable"]),
        }
        return cls(**{**tree, **changed})


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Nothing new for a while. Lets a consumer look whether it has been asked to stop."""

    elapsed_s: float


AS_GOOD_AS_ALONE = 1.05
"""Sequences in a pass, on average, up to which a run counts as alone."""


def is_shared(mean_batch_size: float | None) -> bool:
    """Whether so many sequences in a pass make times of a run not its own; ``None`` is nobody else's."""
    return mean_batch_size is not None and mean_batch_size > AS_GOOD_AS_ALONE


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
    """Tokens proposed by a drafter and looked at by the model."""
    accepted_tokens: int
    """How many of them stand in the answer."""
    weights_bytes: int
    """Of all models that the run kept in memory: those that may answer, and those that may draft."""
    kv_bytes: int
    """KV cache of the model that answered, in use at the end of the run."""
    peak_rss_bytes: int
    """Greatest resident memory of the whole process while the run lasted (sampled)."""
    repetition: float | None = None
    """Share of the answer's 4-grams of tokens that had stood in it before; ``None`` below 4 tokens."""

    discarded_tokens: int = 0
    """Written by smaller tiers of a cascade and thrown away."""
    verification_steps: int = 0
    """Forward passes of the model that looked at drafted tokens."""
    mean_batch_size: float | None = None
    """Sequences that shared a pass, this one included, over its passes; ``None`` where no pass could be shared."""

    @property
    def is_shared(self) -> bool:
        """Whether others shared so many of its passes that its times are not its own."""
        return is_shared(self.mean_batch_size)

    @property
    def acceptance_rate(self) -> float | None:
        """Accepted / drafted tokens; ``None`` where nothing was drafted."""
        return self.accepted_tokens / self.drafted_tokens if self.drafted_tokens else None

    @property
    def mean_acceptance_length(self) -> float | None:
        """1 + accepted tokens / verification steps, the model's own token included; ``None`` without any."""
        return 1 + self.accepted_tokens / self.verification_steps if self.verification_steps else None

    @property
    def tokens_per_second(self) -> float | None:
        """1 / TPOT: the decode rate."""
        return 1 / self.tpot_s if self.tpot_s else None


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The last event of a run that ended or was cancelled."""

    text: str
    token_ids: tuple[int, ...]
    """Empty for a server's answer, whose tokens have no numbers of ours."""
    finish_reason: FinishReason
    metrics: RunMetrics | None
    """``None`` for a run that was cancelled while it waited or loaded: nothing was measured."""
    environment: Mapping[str, Any]
    """Device, threads, CPU, library versions, weights hash: what the figures hold for."""
    cache: CacheReport | None = None
    """``None`` for a run that did not ask the prefix cache."""
    speculation: SpeculationReport | None = None
    """``None`` for a run with the gear off."""
    cascade: CascadeReport | None = None
    """``None`` for a run with the gear off."""
    disturbance: Disturbance | None = None
    """What else used the machine meanwhile; ``None`` for a run that was cancelled before it began."""


@dataclass(frozen=True, slots=True)
class RunFailed:
    """The last event of a run that could not be completed."""

    error: str
    """Written for the user."""
    kind: str
    """The error's class name."""


Event = Queued | Loading | Started | PrefillDone | TokenEvent | Escalated | Heartbeat | RunFinished | RunFailed
