"""What an autopilot is asked for: limits, candidates, and prompts of which a half is held out."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from app.experiments.autopilot.goal import Goal
from app.experiments.autopilot.search import LEAST
from app.experiments.planning.design import LONGEST_NAME, Design, DesignError, NamedConfiguration
from app.experiments.planning.scoring import has_checker
from app.store import Pass
from engine import Task
from engine.types import RunConfig

FEWEST_CHECKED = 4 * LEAST
"""Prompts with a checker that a search needs at least, the held-out ones among them."""
_LONGEST_OF_A_HEAT = LONGEST_NAME - 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that an autopilot goes by."""

    name: str
    goal: Goal
    baseline: NamedConfiguration
    candidates: tuple[NamedConfiguration, ...]
    """Without the baseline, those first that are to be tried if there is not time for all."""
    possible: int
    """How many the candidates were drawn from."""
    prompts: tuple[Task, ...]
    prompts_from: str
    """What the prompts are, for the reader."""
    held_out: frozenset[str]
    """Ids of those that have no part in choosing."""
    seed: int = 0
    max_tokens: int | None = None
    """Of an answer, where that is less than the prompt's own."""
    passes: tuple[Pass, ...] = (Pass.SPEED,)
    """Of each measurement. Timed answers are scored as well: asked in company too, the time would do for fewer."""

    def __post_init__(self) -> None:
        if not self.name.strip() or len(self.name) > _LONGEST_OF_A_HEAT:
            raise DesignError(f"Give the autopilot a name of at most {_LONGEST_OF_A_HEAT} characters.")
        names = [each.name for each in self.configurations]
        if len(set(names)) < len(names):
            raise DesignError("Two configurations have the same name.")
        checked = sum(map(has_checker, self.prompts))
        if checked < FEWEST_CHECKED:
            raise DesignError(
                f"Of these prompts {checked} have a checker: nothing could tell whether quality is kept. Choose a set "
                f"in which at least {FEWEST_CHECKED} have one."
            )
        self.design([self.baseline.name], [task.id for task in self.prompts])  # all of its experiments can be made

    @property
    def configurations(self) -> tuple[NamedConfiguration, ...]:
        """The baseline, then the candidates."""
        return (self.baseline, *self.candidates)

    @property
    def searched(self) -> tuple[Task, ...]:
        """The prompts to search on."""
        return tuple(task for task in self.prompts if task.id not in self.held_out)

    @property
    def kept_apart(self) -> tuple[Task, ...]:
        """The prompts that are held out."""
        return tuple(task for task in self.prompts if task.id in self.held_out)

    def design(self, names: Sequence[str], prompt_ids: Sequence[str]) -> Design:
        """The experiment that has some configurations answer some prompts, the first one its baseline."""
        by_name, by_id = {each.name: each for each in self.configurations}, {task.id: task for task in self.prompts}
        return Design(
            name=f"{self.name} · {len(names)} on {len(prompt_ids)}",
            question=self.goal.text,
            prompts=tuple(by_id[id] for id in prompt_ids),
            prompts_from=f"{len(prompt_ids):,} of the {len(self.prompts):,} of {self.prompts_from}",
            configurations=tuple(by_name[name] for name in names),
            seed=self.seed,
            margin_points=self.goal.margin_points,
            max_tokens=self.max_tokens,
            passes=self.passes,
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, without the prompts."""
        return {
            "name": self.name,
            "goal": self.goal.to_dict(),
            "configurations": [{"name": each.name, "config": each.config.to_dict()} for each in self.configurations],
            "possible": self.possible,
            "prompts_from": self.prompts_from,
            "held_out": sorted(self.held_out),
            "seed": self.seed,
            "max_tokens": self.max_tokens,
            "passes": [str(each) for each in self.passes],
        }

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any], prompts: Sequence[Task]) -> Self:
        """The inverse of :meth:`to_dict`, with the prompts that are kept beside it."""
        baseline, *candidates = (
            NamedConfiguration(each["name"], RunConfig.from_dict(each["config"])) for each in tree["configurations"]
        )
        rest = {name: tree[name] for name in ("name", "possible", "prompts_from", "seed", "max_tokens")}
        return cls(
            **rest,
            passes=tuple(map(Pass, tree.get("passes", Pass))),  # older ones say nothing, and made both
            goal=Goal.from_dict(tree["goal"]),
            baseline=baseline,
            candidates=tuple(candidates),
            prompts=tuple(prompts),
            held_out=frozenset(tree["held_out"]),
        )


def hold_out(tasks: Sequence[Task], seed: int) -> frozenset[str]:
    """Ids of about half of each category's prompts, at random. Prompts of one template are alike, and stay together."""
    draw = random.Random(seed)
    groups: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for task in tasks:
        groups[task.category, task.template or task.id].append(task.id)
    order = list(groups)
    draw.shuffle(order)
    inside: defaultdict[str, int] = defaultdict(int)
    outside: defaultdict[str, int] = defaultdict(int)
    found: set[str] = set()
    for category, group in order:
        ids = groups[category, group]
        if outside[category] < inside[category]:
            found.update(ids)
            outside[category] += len(ids)
        else:
            inside[category] += len(ids)
    return frozenset(found)
