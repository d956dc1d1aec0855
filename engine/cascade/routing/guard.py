"""Whether asking a smaller tier first pays: it is tried while it does, and passed over while it does not.

A try whose answer is kept saves what the largest model alone would have taken, less the try; any other try is lost. The
guard sums up losses less savings (Page's test, doi:10.2307/2333009): while the sum stays within an allowance, the tier
is tried. Beyond it the prompts go straight on, but for a probe now and then. So the allowance and the probes bound what
can be lost over any stretch of prompts, whatever they are.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from engine.types import GuardMode, GuardState

_FIRST_ALLOWANCE, _ALLOWANCE_GROWTH, _LARGEST_ALLOWANCE = 1.5, 0.02, 2.5
"""What may be lost before it steps aside, in answers of the large model: at first, more with every prompt, and at
most."""
_LARGEST_CREDIT = 2.0
"""Of what was saved, so many answers of the large model stand against later losses: a change is not noticed late."""
_PROBING_SHARE = 0.06
"""The first pause is so long that probes take this share of the large model's time."""
_SHORTEST_PAUSE = 4
"""Answers of the large model."""
_LONGEST_PAUSE = 4
"""Times the first one: a pause is doubled every time it steps aside again before the loss was made good."""
_LARGE_DECAY, _VAIN_DECAY = 0.995, 0.97
"""What a large answer's time and a vain try's still count for at the next one."""
_DERIVED = 0.9
"""Of what the large model is derived to take, so much is counted: trusting a figure that is too high costs more."""
_FEWEST_TRIES = 3
"""Before a try's loss is foreseen."""
_FEWEST_RECENT, _MOST_TRIES = 20, 500
"""Tries that the recent share is of, at least while they go on and at most."""
_MOST_CONFIGURATIONS = 64


@dataclass(slots=True)
class _Mean:
    """A mean in which older values fade."""

    decay: float
    total: float = 0.0
    weight: float = 0.0

    @property
    def value(self) -> float:
        """0 before anything was seen."""
        return self.total / self.weight if self.weight else 0.0

    def observe(self, value: float) -> None:
        self.total = self.total * self.decay + value
        self.weight = self.weight * self.decay + 1


class _Try(NamedTuple):
    """What came of one."""

    kept: bool
    saved_s: float
    """Below 0 where time was lost."""


@dataclass(slots=True)
class Guard:
    """Of one tier in front of the largest model, for one configuration. Not safe for use by several threads."""

    tier: str
    """As it stands in reports."""
    share: float = 1.0
    """Of what a cascade may lose, so much is this tier's: the tiers of a ladder lose together."""
    _mode: GuardMode = "trying"
    _loss_s: float = 0.0
    """What tries took in vain, less what kept answers saved; below 0 where more was saved."""
    _lowest_s: float = 0.0
    _large_s: _Mean = field(default_factory=lambda: _Mean(_LARGE_DECAY))
    _vain_s: _Mean = field(default_factory=lambda: _Mean(_VAIN_DECAY))
    """What a try loses that loses anything."""
    _tries: deque[_Try] = field(default_factory=lambda: deque(maxlen=_MOST_TRIES))
    _since_lowest: int = 0
    """Tries since the sum of losses stood lowest."""
    _decisions: int = 0
    _waited_s: float = 0.0
    _longer: int = 0
    """Times the shortest pause; 0 while nothing was lost lately."""

    def choose(self) -> bool:
        """Whether to try the tier with the next prompt.

        A try that is not observed afterwards, because it failed or was cancelled, counts for nothing: one that probed
        is made up for with the next prompt.
        """
        self._decisions += 1
        if self._mode == "trying":
            return True
        self._mode = "probing" if self._waited_s >= self._pause_s else "aside"
        return self._mode == "probing"

    def observe_kept(self, small_s: float, large_s: float) -> None:
        """The tier's answer was kept.

        Args:
            small_s: seconds that it took.
            large_s: seconds that the largest model alone would have taken, derived.
        """
        self._large_s.observe(large_s)
        self._settle(_Try(True, _DERIVED * large_s - small_s))

    def observe_lost(self, tried_s: float, large_s: float) -> None:
        """The tier was tried and the prompt went on.

        Args:
            tried_s: seconds of the try, less what its text saved as a draft.
            large_s: seconds that the largest model alone would have taken.
        """
        self._large_s.observe(large_s)
        self._settle(_Try(False, -tried_s))

    def observe_passed(self, large_s: float) -> None:
        """The tier was passed over, and the largest model alone would have taken so many seconds."""
        self._large_s.observe(large_s)
        self._waited_s += large_s

    @property
    def state(self) -> GuardState:
        """Where it stands, for the report of a prompt that it has just decided on."""
        recent = self._recent()
        return GuardState(
            tier=self.tier,
            mode=self._mode,
            needed_share=self._needed_share(recent),
            recent_share=sum(each.kept for each in recent) / len(recent) if recent else None,
            recent=len(recent),
            decisions=self._decisions,
            probe_every=self._probe_every,
        )

    @property
    def _probe_every(self) -> int | None:
        """While it stands aside, one prompt in so many is tried, if they take the large model as long as lately."""
        large_s = self._large_s.value
        return 1 + math.ceil(self._pause_s / large_s) if self._mode != "trying" and large_s else None

    @property
    def _allowance_s(self) -> float:
        answers = min(_FIRST_ALLOWANCE + _ALLOWANCE_GROWTH * self._decisions, _LARGEST_ALLOWANCE)
        return self.share * answers * self._large_s.value

    @property
    def _pause_s(self) -> float:
        """Seconds of the large model's answers before the next probe."""
        shortest_s = max(_SHORTEST_PAUSE * self._large_s.value, self._vain_s.value / _PROBING_SHARE)
        return shortest_s * max(1, self._longer)

    def _settle(self, last: _Try) -> None:
        """A try is over: whether another one can be afforded."""
        was_probing, loss_s = self._mode != "trying", -last.saved_s
        self._tries.append(last)
        self._since_lowest += 1
        if loss_s > 0:
            self._vain_s.observe(loss_s)
        floor_s = -_LARGEST_CREDIT * self._large_s.value
        self._loss_s = max(floor_s, self._loss_s + loss_s)
        allowance_s = self._allowance_s
        # the next try may be in vain too; a first one that was slow, as in a cold start, is not taken for all
        next_s = min(self._vain_s.value, allowance_s / 2) if len(self._tries) >= _FEWEST_TRIES else 0.0
        affordable_s = allowance_s - next_s
        if was_probing:  # what is over is over: one good probe is enough to try again
            self._loss_s = min(self._loss_s, affordable_s + min(0.0, loss_s))
        if loss_s <= 0 if was_probing else self._loss_s <= affordable_s:
            self._mode = "trying"
            if self._loss_s <= affordable_s / 2:
                self._longer = 0
        else:
            self._mode, self._waited_s = "aside", 0.0
            self._longer = min(2 * self._longer or 1, _LONGEST_PAUSE)
        if self._loss_s <= max(self._lowest_s, floor_s):
            self._lowest_s, self._since_lowest = self._loss_s, 0

    def _recent(self) -> list[_Try]:
        """Tries since the sum of losses stood lowest: what made it step aside. While it tries, some more."""
        count = self._since_lowest if self._mode != "trying" else max(self._since_lowest, _FEWEST_RECENT)
        return list(self._tries)[max(0, len(self._tries) - count) :]

    def _needed_share(self, recent: Sequence[_Try]) -> float | None:
        """What a lost try takes / (that + what a kept one saves); ``None`` before one was lost."""
        lost = [-each.saved_s for each in recent if not each.kept]
        saved = [each.saved_s for each in recent if each.kept]
        lost_s = max(0.0, sum(lost) / len(lost)) if lost else 0.0
        saved_s = sum(saved) / len(saved) if saved else _DERIVED * self._large_s.value - lost_s
        if saved_s <= 0:
            return 1.0 if recent else None
        return lost_s / (lost_s + saved_s) if lost else None


class Guards:
    """The guards of all configurations that were used lately. Belongs to the engine's thread."""

    def __init__(self) -> None:
        self._guards: OrderedDict[tuple[Hashable, str], Guard] = OrderedDict()

    def of(self, configuration: Hashable, tier: str, share: float) -> Guard:
        """The guard of a tier of a configuration; a new one for those not used for long.

        Args:
            configuration: all that decides which prompts the tier keeps, and what they take.
            tier: as it stands in reports.
            share: of what the cascade may lose.
        """
        key = (configuration, tier)
        guard = self._guards.setdefault(key, Guard(tier, share))
        self._guards.move_to_end(key)
        if len(self._guards) > _MOST_CONFIGURATIONS:
            self._guards.popitem(last=False)
        return guard
