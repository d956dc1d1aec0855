"""What a run's record is told by whoever writes the answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from ctypes import c_int32
from dataclasses import dataclass
from typing import Protocol, TypedDict

from engine.generation.choice import Choice


class Recording(TypedDict):
    """What a :class:`~engine.generation.recorder.RunRecorder` must know of the model that answers."""

    decode: Callable[[Sequence[int]], str]
    stop_ids: frozenset[int]
    control_tokens: Mapping[int, str]
    token_text: Callable[[int], str]
    max_tokens: int
    prompt_tokens: int
    tier: str | None
    """Who its tokens are said to be from."""
    has_ids: bool
    """Whether its tokens' numbers mean anything outside of its answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldCounts:
    """What a server counted of an answer; ``None`` where it did not."""

    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    drafted_tokens: int | None = None
    accepted_tokens: int | None = None


class TokenSink(Protocol):
    """What a backend tells of its progress, and hears back."""

    @property
    def interrupt(self) -> c_int32:
        """Not 0 once the writing should be looked at: it may have been cancelled."""
        ...

    @property
    def most(self) -> int:
        """Tokens that may be chosen before the sink is told of them; at least one."""
        ...

    def cancelled(self) -> bool:
        """Whether to stop. A backend asks before each chunk of prefill."""
        ...

    def prefilled(self, cached_tokens: int, computed_tokens: int, hidden: tuple[float, ...]) -> None:
        """The prompt's KV is complete.

        Args:
            cached_tokens: reused.
            computed_tokens: of the prompt.
            hidden: the model's state after it, as a random projection; empty where it is not known.
        """
        ...

    def take(self, choices: Sequence[Choice]) -> tuple[int, bool]:
        """Tokens have been chosen, one after the other.

        Returns:
            How many of them stand, and whether the answer goes on behind them.
        """
        ...
