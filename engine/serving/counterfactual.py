"""What a model alone would have taken for an answer that another one gave: from what its tokens take here."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol

from engine.types import OptimizationConfig

_DECAY = 0.95
"""What a run's times still count for at the next one."""
_MOST_MODELS = 64
_FEW_TOKENS = 16
"""Stand for answers of equal length before any were seen."""


class PassTimes(Protocol):
    """Measured seconds of a model's pass by its rows; see :class:`~engine.speculation.StepTimes`."""

    def seconds(self, rows: int) -> float: ...


@dataclass(slots=True)
class Pace:
    """What reading and writing a token takes a model with some gears, from its own runs."""

    _read_tokens: float = 0.0
    _read_s: float = 0.0
    _steps: float = 0.0
    _steps_s: float = 0.0

    def observe(self, read_tokens: int, read_s: float, tokens: int, whole_s: float) -> None:
        """A run is over.

        Args:
            read_tokens: of the prompt, computed and not reused.
            read_s: seconds that reading took.
            tokens: of the answer; the first one comes with the prompt.
            whole_s: seconds of the run, reading included.
        """
        self._read_tokens = self._read_tokens * _DECAY + read_tokens
        self._read_s = self._read_s * _DECAY + read_s
        self._steps = self._steps * _DECAY + max(0, tokens - 1)
        self._steps_s = self._steps_s * _DECAY + max(0.0, whole_s - read_s)

    def seconds(self, read_tokens: int, tokens: int, times: PassTimes | None) -> float | None:
        """Derived: what a run would take; ``None`` where nothing is known of the model.

        Args:
            read_tokens: of the prompt, to be computed.
            tokens: of the answer.
            times: what passes took when they were timed, for what no run has shown yet.
        """
        steps = max(0, tokens - 1)
        if self._read_tokens:
            read_s = self._read_s / self._read_tokens * read_tokens
        elif times:
            read_s = times.seconds(max(1, read_tokens))
        else:
            return None
        if self._steps >= 1:
            return read_s + self._steps_s / self._steps * steps
        return read_s + times.seconds(1) * steps if times else None


@dataclass(slots=True)
class Lengths:
    """How long a model's answers are against a smaller one's to the same prompts, as far as both wrote them."""

    _small: float = 0.0
    _large: float = 0.0

    def observe(self, small: int, large: int) -> None:
        """Both have answered a prompt, in so many tokens of their own."""
        self._small = self._small * _DECAY + small
        self._large = self._large * _DECAY + large

    @property
    def ratio(self) -> float:
        """At most 1: that the larger model would have written more is not claimed. Few answers say little."""
        return min(1.0, (self._large + _FEW_TOKENS) / (self._small + _FEW_TOKENS))


class Paces:
    """The paces of all models that were used lately, each with its gears, and how long their answers are. Belongs to
    the engine's thread."""

    def __init__(self) -> None:
        self._paces: OrderedDict[tuple[str, OptimizationConfig], Pace] = OrderedDict()
        self._lengths: OrderedDict[tuple[str, str], Lengths] = OrderedDict()

    def lengths(self, small: str, large: str) -> Lengths:
        """Of two models' answers; ones of which nothing is known for two not used for long.

        Args:
            small: the smaller tier, as it stands in reports.
            large: the larger one.
        """
        lengths = self._lengths.setdefault((small, large), Lengths())
        self._lengths.move_to_end((small, large))
        if len(self._lengths) > _MOST_MODELS:
            self._lengths.popitem(last=False)
        return lengths

    def of(self, model: str, gears: OptimizationConfig) -> Pace:
        """The pace of a model; one that knows nothing for a model not used for long.

        Args:
            model: its name.
            gears: its precision, and what else its times depend on.
        """
        pace = self._paces.setdefault((model, gears), Pace())
        self._paces.move_to_end((model, gears))
        if len(self._paces) > _MOST_MODELS:
            self._paces.popitem(last=False)
        return pace
