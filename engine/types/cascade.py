"""The cascading gear: smaller models in front of the one that is asked, and what decides between them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Literal, Self

from engine.types.precision import Precision
from engine.types.remote import is_remote
from engine.types.requirement import keep_valid_text, require

NEVER = 2.0
"""A threshold that no score reaches."""


class RouterKind(StrEnum):
    """When, and on what, it is decided to go up."""

    ESCALATE = "escalate"
    """After the small model's answer, on its token probabilities."""
    ROUTE = "route"
    """Before generating, on the prompt."""
    HYBRID = "hybrid"
    """On the prompt where that is sure; else the small model tries, and its answer is judged."""
    RANDOM = "random"
    ALWAYS_SMALL = "always-small"
    ALWAYS_LARGE = "always-large"
    ORACLE = "oracle"
    """Knows both answers' scores. No router can be better; none can be built."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """A model on its way to the one that is asked."""

    model: str
    precision: Precision
    """:attr:`Precision.UNKNOWN` for a server's model, and for no other."""

    def __post_init__(self) -> None:
        require(bool(self.model.strip()), "A tier of the cascade has no model.")
        keep_valid_text(self, "model")
        require(
            self.is_remote == (self.precision is Precision.UNKNOWN),
            f"{self.model} runs on a server: its precision is the server's to know."
            if self.is_remote
            else f"Choose a precision for {self.model}.",
        )

    def __str__(self) -> str:
        return self.model if self.is_remote else f"{self.model} {self.precision}"

    @classmethod
    def from_text(cls, text: str) -> Self:
        """The inverse of ``str``: the name of a tier in reports."""
        if is_remote(text):
            return cls(model=text, precision=Precision.UNKNOWN)
        model, _, precision = text.rpartition(" ")
        return cls(model=model, precision=Precision(precision))

    @property
    def is_remote(self) -> bool:
        """Whether it runs on a server."""
        return is_remote(self.model)

    @property
    def key(self) -> str:
        """Its name in records: ``model@precision``; of a server's model its name alone."""
        return self.model if self.is_remote else f"{self.model}@{self.precision}"

    @classmethod
    def from_key(cls, key: str) -> Self:
        """The inverse of :attr:`key`."""
        if is_remote(key):
            return cls(model=key, precision=Precision.UNKNOWN)
        model, _, precision = key.rpartition("@")
        return cls(model=model, precision=Precision(precision))


@dataclass(frozen=True, slots=True, kw_only=True)
class CascadeConfig:
    """The cascading gear. The model that a run names is the largest tier; turned off, it answers everything."""

    smaller: tuple[Tier, ...]
    """One or two tiers in front of it, the smallest first."""
    router: RouterKind = RouterKind.ESCALATE
    thresholds: tuple[float, ...]
    """One for each tier of :attr:`smaller`: scores from here up go on to the next, 0 to 1, or :data:`NEVER`."""
    profile: str | None = None
    """A calibrated router as JSON (``engine.cascade.RouterProfile``); ``None`` for the scores that need no data."""
    after_tokens: int | None = None
    """Judge a small answer by its first tokens instead of all of it: less is thrown away, and less is known."""
    keep_tier: bool = False
    """A conversation stays with the tier that answered its last turn."""
    guard: bool = True
    """Whether tiers are passed over while trying them costs more than it saves (:class:`engine.cascade.Guard`). Then
    who answers a prompt depends on the prompts before it. Configurations stored before there was a guard have none."""

    def __post_init__(self) -> None:
        keep_valid_text(self, "profile")
        require(1 <= len(self.smaller) <= 2, "A cascade has one or two smaller tiers in front of the model.")
        require(len(set(self.smaller)) == len(self.smaller), "Two tiers of the cascade are the same.")
        require(
            len(self.thresholds) == len(self.smaller),
            f"{len(self.smaller) + 1} tiers need {len(self.smaller)} thresholds, not {len(self.thresholds)}.",
        )
        require(
            all(0 <= threshold <= 1 or threshold == NEVER for threshold in self.thresholds),
            "A threshold lies between 0 and 1.",
        )
        require(
            self.router is not RouterKind.ORACLE,
            "The oracle knows the right answers beforehand: it is a yardstick of the Router lab and cannot answer.",
        )
        require(
            self.after_tokens is None or (self.after_tokens >= 1 and self.router is RouterKind.ESCALATE),
            "Only a router that escalates can judge an answer by its first tokens, at least one of them.",
        )

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`."""
        changed = {
            "guard": bool(tree.get("guard", False)),
            "smaller": tuple(Tier(model=t["model"], precision=Precision(t["precision"])) for t in tree["smaller"]),
            "router": RouterKind(tree["router"]),
            "thresholds": tuple(tree["thresholds"]),
        }
        return cls(**{**tree, **changed})

    @property
    def profile_key(self) -> str | None:
        """What tells the profile from every other: 16 hex digits of its text's sha256."""
        return None if self.profile is None else hashlib.sha256(self.profile.encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """As plain values. A guard that is off is left out, so that older configurations keep their hash."""
        tree = asdict(self)
        return tree if self.guard else {name: value for name, value in tree.items() if name != "guard"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TierAttempt:
    """What one tier had to do with an answer."""

    tier: str
    kept: bool
    """Whether the answer is its own."""
    passed_over: bool = False
    """Whether the guard sent the prompt on without a try."""
    prompt_score: float | None = None
    """The router's score before it wrote; ``None`` where the prompt was not judged."""
    answer_score: float | None = None
    """Its score of what was written; ``None`` where that was not judged."""
    threshold: float | None = None
    """From here up it went on to the next tier; ``None`` for the last tier."""
    prompt_tokens: int | None = 0
    """``None`` where a server did not tell, or was given up before it did."""
    seconds: float = 0.0
    """What it took, queueing and loading left out."""
    text: str = ""
    token_ids: tuple[int, ...] = ()
    """What it wrote, thrown away unless kept."""
    token_texts: tuple[str, ...] = ()
    logprobs: tuple[float, ...] = ()
    margins: tuple[float, ...] = ()

    @property
    def tokens(self) -> int:
        """How many tokens it wrote, or pieces of text where a server did."""
        return len(self.token_ids or self.token_texts)


GuardMode = Literal["trying", "aside", "probing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardState:
    """Where the guard of a smaller tier stood when it decided on a prompt."""

    tier: str
    mode: GuardMode
    needed_share: float | None
    """Of the prompts tried, so many must stay for the cascade to pay, 0 to 1, where 1 is never enough; ``None`` where
    nothing is known yet."""
    recent_share: float | None
    """So many stayed of the recent ones, 0 to 1; ``None`` where there are none."""
    recent: int
    """How many tries that is of: those since it last paid best."""
    decisions: int
    """Prompts that it has decided on."""
    probe_every: int | None = None
    """While it stands aside, one prompt in so many is tried; ``None`` where all are."""

    @property
    def stepped_aside(self) -> bool:
        """Whether prompts go straight on, but for probes."""
        return self.mode != "trying"

    @property
    def probing(self) -> bool:
        """Whether this one was tried all the same."""
        return self.mode == "probing"


@dataclass(frozen=True, slots=True, kw_only=True)
class CascadeReport:
    """The way of a prompt up the ladder."""

    router: RouterKind
    attempts: tuple[TierAttempt, ...]
    """From the smallest tier up to the one that answered."""
    routing_s: float
    """Seconds spent on judging."""
    discarded_tokens: int
    """Written by smaller tiers and thrown away."""
    salvaged_tokens: int
    """Of those, tokens that the larger tier took over as drafts."""
    unavailable: tuple[str, ...] = ()
    """Tiers that could not take part, with the reason."""
    large_alone_s: float | None = None
    """What the largest tier alone would have taken, queueing and loading left out; ``None`` where nobody can tell."""
    derived: bool = False
    """Whether that is derived from what it takes to read and write a token; else it answered, and was measured."""
    guards: tuple[GuardState, ...] = ()
    """Of the tiers that have one, from the smallest up, as far as the prompt came."""

    @property
    def tried_s(self) -> float:
        """What all tiers took together."""
        return sum(attempt.seconds for attempt in self.attempts)

    @property
    def saved_s(self) -> float | None:
        """Against the largest tier alone, below 0 where time was lost; ``None`` where nobody can tell."""
        return None if self.large_alone_s is None else self.large_alone_s - self.tried_s

    @property
    def tier(self) -> str:
        """Who answered."""
        return self.attempts[-1].tier

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> Self:
        """The inverse of ``asdict``, from JSON too."""
        lists = ("token_ids", "token_texts", "logprobs", "margins")
        attempts = (
            TierAttempt(**{**entry, **{name: tuple(entry[name]) for name in lists}}) for entry in tree["attempts"]
        )
        changed = {
            "router": RouterKind(tree["router"]),
            "attempts": tuple(attempts),
            "unavailable": tuple(tree["unavailable"]),
            "guards": tuple(GuardState(**state) for state in tree.get("guards", ())),
        }
        return cls(**{**tree, **changed})
