"""What an experiment asks of whom: prompts, configurations, repeats, and what counts."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Self

from app.quantization.tasks import tasks_sha256
from app.store import CellKey, Pass
from engine import Task
from engine.errors import InvalidRequestError
from engine.types import GenerationRequest, RunConfig, SamplingParams

MOST_CONFIGURATIONS = 16
MOST_REPEATS = 20
LONGEST_NAME = 120
BLOCK = 8
"""Prompts that a configuration is timed on before it is another one's turn."""
_SALT = "experiment"
_NOT_MEASURED = ("question", "margin_points", "prompts_from")


class DesignError(InvalidRequestError):
    """An experiment that cannot be made as it is described."""


class Size(StrEnum):
    """How many of a set's prompts are asked."""

    QUICK = "quick"
    USUAL = "usual"
    ALL = "all"

    @property
    def prompts(self) -> int | None:
        """At most so many; ``None`` for all."""
        return {Size.QUICK: 50, Size.USUAL: 200, Size.ALL: None}[self]


def whole(config: RunConfig) -> RunConfig:
    """The configuration that a run was a draw from, whatever the prompt: without how long its answer might be at most,
    and its seed."""
    usual = SamplingParams()
    return replace(config, sampling=replace(config.sampling, max_tokens=usual.max_tokens, seed=usual.seed))


@dataclass(frozen=True, slots=True)
class NamedConfiguration:
    """A configuration as an experiment calls it."""

    name: str
    config: RunConfig
    """How many tokens an answer has at most, and its seed, the prompts and the repeats say."""

    @property
    def asked(self) -> RunConfig:
        """What it says of its answers, without what others say of them."""
        return whole(self.config)

    @property
    def models(self) -> tuple[str, ...]:
        """Whose weights it needs, each once."""
        drafting = self.config.optimization.speculation
        drafts = [drafting.draft_model] if drafting and drafting.draft_model else []
        return tuple(dict.fromkeys([*(tier.model for tier in self.config.ladder), *drafts]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """Prompts × configurations × repeats."""

    name: str
    prompts: tuple[Task, ...]
    configurations: tuple[NamedConfiguration, ...]
    question: str = ""
    """What it is to answer: "Ship int4 instead of 16 bits?"."""
    prompts_from: str = ""
    """What the prompts are, for the reader: a set's name, how many of it."""
    baseline: int = 0
    """The place of the configuration that the others are held against."""
    repeats: int = 1
    """How often each prompt is timed, and, where answers are sampled, answered."""
    seed: int = 0
    """Of the order in which cells are timed, and of sampled answers."""
    margin_points: float = 2.0
    """By so many percentage points quality may fall and still counts as kept."""
    passes: tuple[Pass, ...] = (Pass.QUALITY, Pass.SPEED)
    max_tokens: int | None = None
    """Of an answer, where that is less than the prompt's own."""

    def __post_init__(self) -> None:
        _require(bool(self.name.strip()), "Give the experiment a name.")
        _require(len(self.name) <= LONGEST_NAME, f"The experiment's name is longer than {LONGEST_NAME} characters.")
        _require(bool(self.prompts), "The experiment has no prompts.")
        if twice := _twice([task.id for task in self.prompts]):
            raise DesignError(f"Two prompts have the id “{twice}”. Give each its own.")
        count = len(self.configurations)
        _require(1 <= count <= MOST_CONFIGURATIONS, f"An experiment has 1 to {MOST_CONFIGURATIONS} configurations.")
        names = [each.name for each in self.configurations]
        _require(all(name.strip() for name in names), "Give each configuration a name.")
        if twice := _twice(names):
            raise DesignError(f"Two configurations are called “{twice}”. Give each its own name.")
        _require(0 <= self.baseline < count, "The baseline is none of the configurations.")
        _require(1 <= self.repeats <= MOST_REPEATS, f"Repeats must be between 1 and {MOST_REPEATS}.")
        _require(0 <= self.seed < 2**32, "The seed must be between 0 and 2^32 − 1.")
        _require(
            math.isfinite(self.margin_points) and 0 < self.margin_points < 100,
            "The margin must be above 0 and below 100 points.",
        )
        _require(bool(self.passes), "Choose a pass: quality, speed, or both.")
        _require(len(set(self.passes)) == len(self.passes), "A pass is named twice.")
        _require(self.max_tokens is None or self.max_tokens >= 1, "max_tokens must be at least 1.")

    # --- its cells ------------------------------------------------------------------------------------

    def answered(self, place: int) -> int:
        """How often a configuration answers each prompt for its quality: once where each answer would be the same."""
        return self.repeats if self.configurations[place].config.sampling.temperature > 0 else 1

    def quality_cells(self, place: int) -> tuple[CellKey, ...]:
        """Of one configuration, in the order of the prompts."""
        return tuple(
            CellKey(Pass.QUALITY, place, task.id, repeat)
            for repeat in range(self.answered(place))
            for task in self.prompts
        )

    def speed_cells(self) -> tuple[CellKey, ...]:
        """In the order in which they are timed: for each repeat the prompts in an order of their own, cut into blocks,
        and in each block the configurations in random order. So each meets the machine at all its moods, and a model
        answers several prompts in a row."""
        draw, cells = random.Random(self.seed), list[CellKey]()
        places = list(range(len(self.configurations)))
        for repeat in range(self.repeats):
            order = [task.id for task in self.prompts]
            draw.shuffle(order)
            for start in range(0, len(order), BLOCK):
                draw.shuffle(places)
                ids = order[start : start + BLOCK]
                cells += [CellKey(Pass.SPEED, place, id, repeat) for place in places for id in ids]
        return tuple(cells)

    def cell_keys(self, kind: Pass) -> tuple[CellKey, ...]:
        """All cells of a pass; none of a pass that is not wanted."""
        if kind not in self.passes:
            return ()
        if kind is Pass.SPEED:
            return self.speed_cells()
        return tuple(key for place in range(len(self.configurations)) for key in self.quality_cells(place))

    @property
    def cells(self) -> int:
        """How many there are."""
        return sum(len(self.cell_keys(kind)) for kind in self.passes)

    def request(self, key: CellKey, task: Task, experiment_id: str) -> GenerationRequest:
        """What is asked for a cell. Who answers depends on nothing that was asked before it, but that configurations
        with a prefix cache reuse what the cell's own configuration has read in the same pass and repeat."""
        config = self.configurations[key.configuration].config
        most = task.max_tokens if self.max_tokens is None else min(task.max_tokens, self.max_tokens)
        sampling = replace(config.sampling, max_tokens=most, seed=self.seed + key.repeat)
        return GenerationRequest(
            messages=task.messages,
            config=replace(config, sampling=sampling),
            cache_salt=f"{_SALT} {experiment_id} {key.kind} {key.configuration} {key.repeat}",
            unguarded=True,
            exclusive=key.kind is Pass.SPEED,
        )

    # --- as it is kept ----------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, without the prompts."""
        return {
            "name": self.name,
            "question": self.question,
            "prompts_from": self.prompts_from,
            "configurations": [{"name": each.name, "config": each.config.to_dict()} for each in self.configurations],
            "baseline": self.baseline,
            "repeats": self.repeats,
            "seed": self.seed,
            "margin_points": self.margin_points,
            "passes": [str(each) for each in self.passes],
            "max_tokens": self.max_tokens,
        }

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any], prompts: Sequence[Task]) -> Self:
        """The inverse of :meth:`to_dict`, with the prompts that are kept beside it."""
        configurations = tuple(
            NamedConfiguration(each["name"], RunConfig.from_dict(each["config"])) for each in tree["configurations"]
        )
        passes = tuple(map(Pass, tree["passes"]))
        return cls(**{**tree, "configurations": configurations, "passes": passes, "prompts": tuple(prompts)})

    @property
    def sha256(self) -> str:
        """Identity of what is measured under a name: the same design asked for again goes on where it was. What it is
        asked for and how it is judged, the question and the margin, is no part of it, nor what the prompts are called
        or what a configuration says of tokens and seeds, which others say."""
        tree = {name: value for name, value in self.to_dict().items() if name not in _NOT_MEASURED}
        tree["configurations"] = [{"name": each.name, "config": each.asked.to_dict()} for each in self.configurations]
        text = json.dumps({**tree, "prompts": tasks_sha256(self.prompts)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise DesignError(message)


def _twice(names: Sequence[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
