"""How far a judge can be trusted: what sways it, how often it agrees with checkers, people, another judge; its cost.

Shown beside its scores always; a judge that fails colours the verdict that rests on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from app import units
from app.experiments.statistics.agreement import Agreement, Flips, LengthBias
from app.experiments.statistics.intervals import Interval
from app.store import JudgementKind, NoVerdict

FEWEST = 10
"""Below so many answers or pairs nothing is said of a limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """From where on a judge fails. Whoever reads the verdict sets them; shares from 0 to 1."""

    silent: float = 0.1
    """At most so many questions without a verdict."""
    flips: float = 0.25
    """At most so many pairs of which the preferred answer changed with the order."""
    length: float = 0.3
    """By at most so much more often the longer answer may be preferred than the shorter, beyond what checkers do."""
    kappa: float = 0.4
    """At least this agreement with checkers, people and another judge, beyond chance: "moderate" begins here (Landis
    and Koch, Biometrics 33, 1977)."""


class State(StrEnum):
    """Of a figure and its limit."""

    PASSED = "within"
    FAILED = "fails"
    UNKNOWN = "not known"
    NOTED = "no limit"
    """Another judge's opinion, where checkers or people have passed this one: who of the two is wrong is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One figure of the audit beside its limit, in the user's words."""

    name: str
    value: str
    detail: str
    """The interval, and of how many."""
    limit: str
    state: State

    @property
    def concern(self) -> str:
        """What it fails in, as a clause."""
        return f"{self.name.lower()} {self.value} ({self.limit})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """Of one judge, on one experiment."""

    kind: JudgementKind
    asked: int
    unanswered: Mapping[NoVerdict, int]
    flips: Flips | None
    """``None`` where no pair was judged in both orders."""
    length: LengthBias | None
    length_of_checkers: LengthBias | None
    """How checkers go with length, on the answers that they score."""
    checkers: Agreement | None
    """With them, on answers that a checker scores too; ``None`` where there are none."""
    people: Agreement | None
    """With thumbs."""
    others: Mapping[str, Agreement]
    """With other judges, by their names."""
    judges_itself: bool
    """Whether its model is one of those whose answers it judges."""
    seconds: float
    """Of the jobs, that it was asked in."""
    prompt_tokens: int
    completion_tokens: int
    uncounted: int
    """Questions whose tokens nobody counted."""

    def checks(self, limits: Limits) -> tuple[Check, ...]:
        """Each figure beside its limit."""
        none = sum(self.unanswered.values())
        silent = none / self.asked if self.asked else 0.0
        reasons = ", ".join(f"{count:,} {why}" for why, count in self.unanswered.items())
        found = [
            Check(
                name="No verdict",
                value=units.percent(silent, 1),
                detail=f"{none:,} of {units.counted(self.asked, 'question')}" + (f": {reasons}" if reasons else ""),
                limit=f"at most {units.percent(limits.silent)}",
                state=_state(self.asked, silent > limits.silent),
            ),
            self._flips(limits),
            self._length(limits),
            _agreement("Agreement with checkers", self.checkers, limits.kappa),
            _agreement("Agreement with thumbs", self.people, limits.kappa),
        ]
        if not self.others:
            found.append(_agreement("Agreement with a second judge", None, limits.kappa))
        passed = any(each.state is State.PASSED for each in found[3:5])
        for name, each in self.others.items():
            check = _agreement(f"Agreement with {name}", each, limits.kappa)
            if passed and check.state is State.FAILED:
                check = replace(check, state=State.NOTED, limit="none beside checkers or thumbs")
            found.append(check)
        return tuple(found)

    def concerns(self, limits: Limits) -> tuple[str, ...]:
        """In what it fails, a clause each; none if it passes."""
        return tuple(each.concern for each in self.checks(limits) if each.state is State.FAILED)

    @property
    def cautions(self) -> tuple[str, ...]:
        """What it cannot tell, a sentence each."""
        found = []
        if all(each is None or each.answers < FEWEST for each in (self.checkers, self.people)):
            found.append(
                "Nothing says how often this judge is right: too few of the answers have a checker or a thumb."
            )
        if self.judges_itself:
            found.append("It judges answers of its own model: such a judge flatters itself.")
        return tuple(found)

    @property
    def cost(self) -> str:
        """What it took, in a clause."""
        counted = f"{self.prompt_tokens:,} tokens read, {self.completion_tokens:,} written"
        uncounted = f" ({units.counted(self.uncounted, 'question')} without a count)" if self.uncounted else ""
        return f"{units.counted(self.asked, 'question')}, {units.seconds(self.seconds)}, {counted}{uncounted}"

    def _flips(self, limits: Limits) -> Check:
        name, limit = "Swayed by order", f"at most {units.percent(limits.flips)}"
        if self.flips is None:
            return _not_known(name, "no pair was judged in both orders", limit)
        found = self.flips
        return Check(
            name=name,
            value=units.percent(found.rate),
            detail=f"{_interval(found.interval)} of {units.counted(found.pairs, 'pair')}; "
            f"{found.for_first:,} times the one shown first won both",
            limit=limit,
            state=_state(found.pairs, found.rate > limits.flips),
        )

    def _length(self, limits: Limits) -> Check:
        name, limit = "Longer answer preferred", f"at most {units.percent(limits.length)} beyond checkers"
        if self.length is None:
            return _not_known(name, "no two answers of unlike length were told apart", limit)
        found, checkers = self.length, self.length_of_checkers
        beside = f"; by checkers {units.signed(100 * checkers.excess, 0)} %" if checkers else ""
        deserved = max(0.0, checkers.excess) if checkers and checkers.decided >= FEWEST else 0.0
        return Check(
            name=name,
            value=f"{units.signed(100 * found.excess, 0)} %",
            detail=f"{_interval(found.excess_interval)}, {units.counted(found.decided, 'pair')}{beside}",
            limit=limit,
            state=_state(found.decided, found.excess - deserved > limits.length),
        )


def _agreement(name: str, found: Agreement | None, least: float) -> Check:
    limit = f"κ of {least:g} at least"
    if found is None:
        return _not_known(name, "there is nothing to hold it against", limit)
    counted = f"{units.percent(found.agreement)} alike, {units.counted(found.answers, 'answer')}"
    if found.kappa is None:
        return _not_known(name, f"{counted}, all of one kind", limit)
    interval = found.kappa_interval
    spread = f"{interval.low:.2f} to {interval.high:.2f}, 95 %" if interval else "too few for an interval"
    return Check(
        name=name,
        value=f"κ {found.kappa:.2f}",
        detail=f"{spread}; {counted}",
        limit=limit,
        state=_state(found.answers, found.kappa < least),
    )


def _not_known(name: str, why: str, limit: str) -> Check:
    return Check(name=name, value=units.MISSING, detail=why, limit=limit, state=State.UNKNOWN)


def _state(count: int, beyond: bool) -> State:
    if count < FEWEST:
        return State.UNKNOWN
    return State.FAILED if beyond else State.PASSED


def _interval(found: Interval) -> str:
    return f"{100 * found.low:.0f} to {100 * found.high:.0f} %, 95 %"
