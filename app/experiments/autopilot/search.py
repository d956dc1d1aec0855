"""The search: successive halving over random blocks of prompts.

All candidates answer a first small block of prompts; the better half goes on to a new block, and so on, until few are
left, which take all the time that there is (Karnin, Koren and Somekh, "Almost optimal exploration in multi-armed
bandits", ICML 2013: each round has the same share of the budget; Jamieson and Talwalkar, "Non-stochastic best arm
identification and hyperparameter optimization", AISTATS 2016). Survivors keep what they showed before. The
baseline answers every block: quality is held against its own on the very prompts that a candidate was asked.
The few prompts of the first round tell little of quality, and leave the fast and wrong. So whoever left comes back once
those that went on turn out to be worth less, and the time of the last round is given out in parts.

Pure: what is measured, and what that took, is given by a function. The same answers lead to the same course, so that a
search that was cut short goes on by being made again from the start.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from app.experiments.autopilot.goal import Goal, Observed, Reading

LEAST = 4
"""Prompts of a block at least, and those of the first."""
FINALISTS = 3
"""So many are not halved any more."""
FINAL_ROUNDS = 3
"""Parts of the time that is left for those: after each it is seen again who they are."""
FIRST_HEAT = 2
"""Candidates that are measured first, with the baseline: they tell for how many there is time."""
HEAT = 8
"""Candidates of the first round that are measured together after that, at most: then it is seen again."""
_TOGETHER = 15
"""The most that are measured together with the baseline later on."""


@dataclass(frozen=True, slots=True)
class Heat:
    """What a measurement came to."""

    observed: Mapping[str, Observed]
    """By the configuration's name."""
    seconds: float
    """What it took."""
    cost_s: Mapping[str, float]
    """Of these, what each configuration took for a prompt."""
    complete: bool
    """Whether all of them answered all of its prompts; if not, the time was up."""


Measure = Callable[[Sequence[str], Sequence[str], float], Heat | None]
"""Has configurations, by their names, answer prompts, by their ids, within so many seconds; ``None`` where that was not
done yet, and is not to be."""


@dataclass(frozen=True, slots=True)
class Round:
    """One round that came to its end."""

    block: tuple[str, ...]
    """The prompts that were new in it."""
    readings: tuple[Reading, ...]
    """Of those in it, the best first; without the baseline."""
    survivors: tuple[str, ...]
    """Those in the next one, the best first."""
    seconds: float


@dataclass(slots=True)
class Found:
    """How far a search came."""

    rounds: list[Round] = field(default_factory=list)
    readings: dict[str, Reading] = field(default_factory=dict)
    """The last of each candidate that was measured, and of the baseline."""
    alive: tuple[str, ...] = ()
    """Those left in the end, the best first."""
    not_reached: tuple[str, ...] = ()
    """Candidates that nothing was measured of: the time was up."""
    stopped: str = ""
    """Why it ended before its last round, for the user."""
    finished: bool = False
    """Whether it ended; else what comes next has not been measured yet."""
    seconds: float = 0.0
    cost_s: dict[str, float] = field(default_factory=dict)
    """What each configuration took for a prompt in its last heat."""


def search(
    candidates: Sequence[str],
    prompts: Sequence[str],
    goal: Goal,
    measure: Measure,
    *,
    baseline: str,
    budget_s: float,
    seed: int,
) -> Found:
    """Search the candidates for those that promise most.

    Args:
        candidates: names, those first that are to be tried if there is not time for all; without the baseline's.
        prompts: ids of those to search on.
        goal: what is to be kept.
        measure: what has prompts answered.
        baseline: the name of the configuration that quality is held against.
        budget_s: seconds that measurements may take together.
        seed: of the order of prompts.
    """
    order = list(prompts)
    random.Random(seed).shuffle(order)
    return _Search(tuple(candidates), order, goal, measure, baseline, budget_s).run()


def rounds_of(candidates: int) -> int:
    """How many rounds so many candidates take: until few are left, and one for those."""
    return 2 if candidates <= FINALISTS else math.ceil(math.log2(candidates / FINALISTS)) + FINAL_ROUNDS


@dataclass(slots=True)
class _Search:
    candidates: tuple[str, ...]
    prompts: list[str]
    """Not asked yet."""
    goal: Goal
    measure: Measure
    baseline: str
    budget_s: float
    found: Found = field(default_factory=Found)
    observed: dict[str, Observed] = field(default_factory=dict)
    final_rounds: int = FINAL_ROUNDS
    """Those still to come."""

    def run(self) -> Found:
        if self._first_round():
            while self._next_round():
                pass
        return self.found

    def _first_round(self) -> bool:
        """The candidates there is time for; says whether there is anything to go on with."""
        block = self._take(LEAST)
        measured: list[str] = []
        while not self.observed or len(measured) < len(self.candidates):
            start = len(measured)
            names = self.candidates[start : start + (self._further(start) if self.observed else FIRST_HEAT)]
            if self.observed and not names:
                break
            heat = self._heat([*([] if self.observed else [self.baseline]), *names], block)
            if heat is None:
                self._read(measured)
                return False
            if not heat.complete:
                break
            measured += names
        self.found.not_reached = self.candidates[len(measured) :]
        self.final_rounds = FINAL_ROUNDS if len(measured) > FINALISTS else 1  # else nobody can come back
        if self.baseline not in self.observed:
            return self._stop("The time was up before the first prompts were answered. Give it more.")
        return self._end_round(block, measured, self.found.seconds)

    def _further(self, measured: int) -> int:
        """How many more candidates are measured next in the first round: all take no more than their round's share."""
        each_s = self.found.seconds / (measured + 1)
        most = sum(count * each_s <= self.budget_s / rounds_of(count) for count in range(1, len(self.candidates) + 1))
        return max(0, min(HEAT, most - measured))

    def _next_round(self) -> bool:
        """One more; says whether there is anything to go on with."""
        names, found = self.found.alive, self.found
        is_final = len(names) <= FINALISTS
        rounds = self.final_rounds if is_final else rounds_of(len(names))
        if not self.prompts:
            return self._stop("All prompts to search on were asked.")
        left_s, each_s = self.budget_s - found.seconds, sum(found.cost_s[name] for name in [self.baseline, *names])
        size = min(int(left_s / rounds / each_s), math.ceil(len(self.prompts) / rounds))
        if size < LEAST:
            if min(LEAST, len(self.prompts)) * each_s > left_s:
                return self._stop("The time to search did not do for another round.")
            size = LEAST
        block, before = self._take(size), found.seconds
        for start in range(0, max(len(names), 1), _TOGETHER):
            heat = self._heat([*([] if start else [self.baseline]), *names[start : start + _TOGETHER]], block)
            if heat is None:
                return False
            if not heat.complete:
                return self._stop("The time to search was up.")
        self.final_rounds -= is_final
        go_on = self._end_round(block, names, found.seconds - before)
        return go_on if self.final_rounds else self._stop("")

    def _heat(self, names: Sequence[str], block: Sequence[str]) -> Heat | None:
        heat = self.measure(names, block, self.budget_s - self.found.seconds)
        if heat is None:
            return None
        self.found.seconds += heat.seconds
        if heat.complete:
            for name in names:
                self.observed[name] = self.observed.get(name, Observed()).with_more(heat.observed[name])
                self.found.cost_s[name] = heat.cost_s[name]
        return heat

    def _end_round(self, block: Sequence[str], names: Sequence[str], seconds: float) -> bool:
        def worth(each: Reading) -> float:
            return each.worth(self.goal)

        readings = sorted(self._read(names), key=worth, reverse=True)
        most = max(FINALISTS, math.ceil(len(readings) / 2))
        measured = sorted(
            self._read([name for name in self.observed if name != self.baseline]), key=worth, reverse=True
        )
        able = [each for each in measured if worth(each) > 0]
        self.found.alive = tuple(each.name for each in able[:most])
        self.found.rounds.append(Round(tuple(block), tuple(readings), self.found.alive, seconds))
        if measured and not able:
            return self._stop("Every candidate fails, or is above the memory ceiling.")
        return True

    def _read(self, names: Sequence[str]) -> list[Reading]:
        """Read what was observed of some candidates, and of the baseline."""
        own = self.observed.get(self.baseline)
        if own is None:
            return []
        known = [name for name in names if name in self.observed]
        for name in [self.baseline, *known]:
            self.found.readings[name] = Reading.of(name, self.observed[name], own, self.goal)
        return [self.found.readings[name] for name in known]

    def _take(self, size: int) -> tuple[str, ...]:
        block, self.prompts = tuple(self.prompts[:size]), self.prompts[size:]
        return block

    def _stop(self, why: str) -> bool:
        self.found.finished, self.found.stopped = True, why
        return False
