"""What held a run up that was not its own work: processor time taken by others, and a processor that slowed down."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

WAIT_LIMIT = 0.25
"""Share of the time in which the engine's threads could have run and waited for a core. On a quiet machine of two cores
it is 0.01 to 0.13, with the reader's own browser on it 0.11 to 0.22, beside one busy program 0.32 to 0.36."""
THREADS_LIMIT = 0.25
"""Cores' worth of other threads of this process. They hold the interpreter's lock, which the engine needs too, so they
hold it up even where cores are idle. Pages that show a run take 0.01 to 0.03."""
STOLEN_LIMIT = 0.05
"""Share of the machine's processor time that its host gave to others."""
HEAT_LIMIT = 0.05
"""Share of the time in which the processor ran slower to cool down."""
CLOCK_LIMIT = 0.3
"""Share of its clock that the processor lost between the begin and the end."""
LEAST_S = 0.02
"""Less lost time than this is no disturbance: a single switch of the scheduler takes as long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbance:
    """Measured while a run was answered, from when its models were ready to its last token. Times are seconds of one
    core; ``None`` where this machine does not tell."""

    seconds: float
    """How long it was watched."""
    cores: int
    """Logical processors that this process may use."""
    threads: int
    """That the engine computes with."""
    programs_s: float | None = None
    """Processor time of other programs on these cores."""
    threads_s: float | None = None
    """Processor time of this process's threads that are not the engine's."""
    ran_s: float | None = None
    """Processor time of the engine's threads."""
    waited_s: float | None = None
    """Time in which the engine's threads could have run and waited for a core."""
    stolen_s: float | None = None
    """Processor time that the host of this virtual machine gave to others."""
    throttled_s: float | None = None
    """Time for which this process's control group was stopped because it had used up its share. That may be the
    engine's own doing, so it does not count as a disturbance."""
    heat_s: float | None = None
    """Time for which the processor ran slower to cool down."""
    clock_change: float | None = None
    """The processor's clock at the end over that at the begin."""
    sharing: int = 0
    """Other sequences that shared the run's passes."""

    @property
    def wait_share(self) -> float | None:
        """Share of the time in which the engine's threads could have run and had no core, 0 to 1.

        Where their waiting is not known, it follows from what other programs took beyond the cores that the engine
        leaves idle.
        """
        if self.waited_s is not None and self.ran_s is not None:
            ready_s = self.waited_s + self.ran_s
            return self.waited_s / ready_s if ready_s else 0.0
        if self.programs_s is None or not self.seconds:
            return None
        spare_s = (self.cores - self.threads) * self.seconds
        return min(1.0, max(0.0, self.programs_s - spare_s) / (self.threads * self.seconds))

    @property
    def is_disturbed(self) -> bool:
        """Whether so much was taken that the run's speed is not to be relied on."""
        return next(self._reasons(), None) is not None

    @property
    def why(self) -> str:
        """What disturbed it, a sentence for the user; empty where nothing did."""
        reasons = list(self._reasons())
        if not reasons:
            return ""
        sentence = ", and ".join(reasons)
        return f"{sentence[0].upper()}{sentence[1:]}."

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> Self:
        """The inverse of ``asdict``."""
        return cls(**tree)

    def _reasons(self) -> Iterator[str]:
        share = self.wait_share
        if share is not None and share > WAIT_LIMIT and self._lost_s(share * self.threads) >= LEAST_S:
            yield f"the engine waited {_percent(share)} of the time for a core{self._who()}"
        elif (busy := self._share(self.threads_s)) > THREADS_LIMIT and self._lost_s(busy) >= LEAST_S:
            yield f"other threads of Gearbox's own process were busy {_percent(busy)} of the time"
        if (stolen := self._share(self.stolen_s) / self.cores) > STOLEN_LIMIT and self._lost_s(stolen) >= LEAST_S:
            yield f"the host of this machine gave {_percent(stolen)} of its processor time to others"
        if (hot := self._share(self.heat_s)) > HEAT_LIMIT and self._lost_s(hot) >= LEAST_S:
            yield f"the processor was too hot and ran slower {_percent(hot)} of the time"
        if self.clock_change is not None and self.clock_change < 1 - CLOCK_LIMIT:
            yield f"the processor's clock fell by {_percent(1 - self.clock_change)}"

    def _who(self) -> str:
        """Who had the cores meanwhile."""
        takers = [
            f"{who} used {_percent(share / self.cores)} of {_cores(self.cores)}"
            for who, share in (
                ("other programs", self._share(self.programs_s)),
                ("Gearbox's own other threads", self._share(self.threads_s)),
            )
            if share > 0.05
        ]
        return f" ({' and '.join(takers)})" if takers else ""

    def _share(self, seconds: float | None) -> float:
        """Of the time watched; may be above 1 for what several cores did."""
        return seconds / self.seconds if seconds and self.seconds else 0.0

    def _lost_s(self, share: float) -> float:
        return share * self.seconds


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %"


def _cores(count: int) -> str:
    return "the core" if count == 1 else f"the {count} cores"
