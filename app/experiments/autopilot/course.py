"""An autopilot's whole course: the search, the choice, and the evidence on prompts that were held out.

It is the same whether it is made or only read: reading goes as far as measurements are there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from app.experiments.autopilot.choosing import Choice, choose
from app.experiments.autopilot.evidence import Evidence, evidence_of
from app.experiments.autopilot.measuring import Heats
from app.experiments.autopilot.plan import Plan
from app.experiments.autopilot.search import LEAST, Found, search
from app.experiments.planning.design import NamedConfiguration
from app.prompts.choosing import stratified
from app.store import RunStore

SEARCH_SHARE = 2 / 3
"""Of the time budget that goes into the search; the rest is for the evidence."""
_CAUTION = 0.8
"""Of the time left, what the evidence is planned to take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How far an autopilot came."""

    plan: Plan
    found: Found
    choice: Choice | None
    """``None`` while it searches."""
    evidence: Evidence | None
    evidence_id: str | None
    """The experiment on held-out prompts."""
    without_evidence: str
    """Why there is none, where the course has come to its end; else empty."""

    @property
    def chosen(self) -> NamedConfiguration | None:
        """The configuration that it ends with; ``None`` where there is none, or it still searches."""
        name = self.choice.name if self.choice else None
        return next((each for each in self.plan.configurations if each.name == name), None)


def follow(plan: Plan, heats: Heats, *, stage: Callable[[str], None] = lambda _stage: None) -> Course:
    """Go the whole way, or as far as is measured.

    Args:
        plan: what is asked for.
        heats: what measures, or reads what was measured.
        stage: told what is done next.

    Raises:
        GearboxError: whatever keeps the engine or the store from it.
        JobCancelled: from the measurements.
    """
    stage("Searching")
    found = search(
        [each.name for each in plan.candidates],
        [task.id for task in plan.searched],
        plan.goal,
        heats.measure,
        baseline=plan.baseline.name,
        budget_s=SEARCH_SHARE * plan.goal.budget_s,
        seed=plan.seed,
    )
    if not found.finished:
        return _course(plan, found)
    choice = choose(found, plan.goal, plan.baseline.name)
    if choice.name is None:
        return _course(plan, found, choice)
    names = list(dict.fromkeys([plan.baseline.name, choice.name]))
    left_s = plan.goal.budget_s - found.seconds
    most = int(_CAUTION * left_s / sum(found.cost_s[name] for name in names))
    if most < LEAST:
        return _course(plan, found, choice, without_evidence="The time was up before held-out prompts were asked.")
    stage(f"Evidence for “{choice.name}”")
    ids = [task.id for task in stratified(plan.kept_apart, most, plan.seed)]
    heat = heats.measure(names, ids, left_s)
    results = heats.last
    if results is None or (heat is None and results.prompt_ids != tuple(ids)):
        return _course(plan, found, choice)
    return Course(
        plan=plan,
        found=found,
        choice=choice,
        evidence=evidence_of(results, plan.goal),
        evidence_id=results.kept.id,
        without_evidence="",
    )


def read_course(store: RunStore, autopilot_id: str) -> Course:
    """How far an autopilot came, from what is kept; nothing is measured.

    Raises:
        GoneError: there is no such autopilot that the viewer may see.
        StoreError: the database cannot be read.
    """
    kept = store.autopilots.get(autopilot_id)
    plan = Plan.from_dict(kept.plan, store.autopilots.prompts(autopilot_id))
    return follow(plan, Heats(store, autopilot_id, plan))


def _course(plan: Plan, found: Found, choice: Choice | None = None, *, without_evidence: str = "") -> Course:
    return Course(
        plan=plan, found=found, choice=choice, evidence=None, evidence_id=None, without_evidence=without_evidence
    )
