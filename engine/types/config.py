"""What is asked for: the messages or the text, and all that decides what is computed from them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Literal, Self

from engine.types.backend import Backend, GearKind
from engine.types.cascade import Tier
from engine.types.gears import OptimizationConfig
from engine.types.precision import Precision
from engine.types.remote import REMOTE_MARK, is_remote
from engine.types.requirement import keep_valid_text, require
from engine.types.sampling import SamplingParams


class DeviceChoice(StrEnum):
    """Where models are asked to run."""

    AUTO = "auto"
    """CUDA where torch finds it, else the CPU."""
    CPU = "cpu"
    CUDA = "cuda"


Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str
    token_ids: tuple[int, ...] = ()
    """The very tokens an answer was written in, if they are known: reading its text again may give others,
    and then nothing kept after it could be reused. They count only where they spell ``content``."""

    def __post_init__(self) -> None:
        keep_valid_text(self, "content")

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        known = {"token_ids": list(self.token_ids)} if self.token_ids else {}
        return {"role": self.role, "content": self.content, **known}

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`."""
        return cls(tree["role"], tree["content"], tuple(tree.get("token_ids", ())))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """All that decides what a run computes, apart from its messages."""

    model: str
    """A catalogue name, a local folder, a hub id, or the name of a server's model, which begins with "@"."""
    backend: Backend = Backend.LOCAL
    optimization: OptimizationConfig = field(default_factory=OptimizationConfig)
    sampling: SamplingParams = field(default_factory=SamplingParams)

    def __post_init__(self) -> None:
        require(bool(self.model.strip()), "Choose a model.")
        keep_valid_text(self, "model")
        require(
            is_remote(self.model) == (self.backend is Backend.REMOTE),
            f"{self.model} runs on a server: choose the backend {Backend.REMOTE.info.label} for it."
            if is_remote(self.model)
            else f"The {Backend.REMOTE.info.label} backend runs models of servers, whose names begin with "
            f"{REMOTE_MARK}. {self.model} is none of them.",
        )
        require(
            all(gear in self.backend.info.gears or getattr(self.optimization, gear) is None for gear in GearKind),
            f"The {self.backend} backend runs the model as it is: turn its gears off."
            if self.backend is not Backend.REMOTE
            else "Which gears a server has on cannot be seen from here: turn all but cascading off.",
        )

        cascade = self.optimization.cascade
        largest = Tier(model=self.model, precision=self.precision)
        require(
            cascade is None or largest not in cascade.smaller,
            f"{largest} cannot be a smaller tier in front of itself.",
        )

    @property
    def precision(self) -> Precision:
        """The precision the weights are held in; unknown of a server's model."""
        return Precision.UNKNOWN if self.backend is Backend.REMOTE else self.optimization.precision

    @property
    def ladder(self) -> tuple[Tier, ...]:
        """The tiers of the cascade, the smallest first; the model alone with the gear off."""
        cascade = self.optimization.cascade
        return (*(cascade.smaller if cascade else ()), Tier(model=self.model, precision=self.precision))

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values. Gears that are off are left out, so that a gear added later
        changes no hash of a run without it."""
        tree = asdict(self)
        tree["optimization"] = {k: v for k, v in tree["optimization"].items() if v is not None}
        if cascade := self.optimization.cascade:
            tree["optimization"]["cascade"] = cascade.to_dict()
        tree["sampling"] = self.sampling.to_dict()
        return tree

    def canonical_json(self) -> str:
        """One text for one configuration: sorted keys, no spaces, and no seed, which is a draw from a
        configuration and not a part of it."""
        tree = self.to_dict()
        del tree["sampling"]["seed"]
        return json.dumps(tree, sort_keys=True, separators=(",", ":"))

    @property
    def hash(self) -> str:
        """Identity used when runs are compared: 16 hex digits of the canonical JSON's sha256."""
        return hashlib.sha256(self.canonical_json().encode()).hexdigest()[:16]

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`.

        Raises:
            InvalidRequestError: a value is out of range.
        """
        return cls(
            model=tree["model"],
            backend=Backend(tree.get("backend", Backend.LOCAL)),
            optimization=OptimizationConfig.from_dict(tree.get("optimization", {})),
            sampling=SamplingParams.from_dict(tree.get("sampling", {})),
        )


SHARED_SALT = "shared:"
"""Begins the salts of system prompts that an administrator shares; no session has such a salt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """One answer asked for."""

    messages: tuple[Message, ...]
    """What was said; empty where a text is continued."""
    config: RunConfig
    completion: str | None = None
    """A text to be continued as it is, without a chat template."""
    cache_salt: str = ""
    """Whose request it is: a kept prefix is reused only for the same salt."""
    cold: bool = False
    """Compute the whole prompt even where a part of it is kept, so that a repeated prompt fakes no gain."""
    prefix_ids: tuple[int, ...] = ()
    """First tokens of the answer that are there already: they are read with the prompt, and the run goes on from them.
    With all but the last token of an answer and ``max_tokens=1`` the prefix cache keeps what it kept after it."""
    last_tier: str | None = None
    """Who answered the conversation's last turn (``CascadeReport.tier``), for a cascade that keeps to it."""
    unguarded: bool = False
    """Whether the cascade's guard neither decides nor learns: for one prompt that is asked again and again, to be
    compared with itself."""
    exclusive: bool = False
    """Whether nothing else may run beside it: for times that are compared."""

    def __post_init__(self) -> None:
        keep_valid_text(self, "completion")
        if self.completion is None:
            require(bool(self.messages) and self.messages[-1].role == "user", "The last message must be the user's.")
            require(bool(self.messages[-1].content.strip()), "The prompt is empty: type something to answer.")
        else:
            require(not self.messages, "A text to be continued and messages to be answered are two requests.")
            require(bool(self.completion), "The prompt is empty: there is nothing to continue.")
        require(
            not self.cache_salt.startswith(SHARED_SALT),
            f"No session's name may begin with {SHARED_SALT!r}: that is kept for shared system prompts.",
        )

    @property
    def prompt(self) -> str:
        """The user's last message, or the text to be continued."""
        return self.messages[-1].content if self.completion is None else self.completion
