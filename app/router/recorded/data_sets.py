"""Data sets: prompts, and what tiers answered to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from app.router.recorded.marking import Judgement, judged
from app.router.recorded.sizes import by_size, unknown_sizes
from app.settings import REPOSITORY
from app.store import AnswerKey, KeptMark, KeptSet, KeptVerdict, RecordedTier, RouterStore
from engine.cascade import RoutedPrompt, data_hash, read_prompts
from engine.errors import RecordedPairsError
from engine.evaluation.tasks import MIXED_FILE, Task, load_tasks
from engine.untrusted import parse_json

PAIRS = REPOSITORY / "data" / "pairs"
"""Recorded answers that come with Gearbox: a JSONL file each, beside it a JSON file that says what it is."""
RATED = "rated"
"""The id of the data set of runs with a thumb."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """Prompts, and what tiers answered to them."""

    id: str
    """Of a recorded set, its sha256; of one that comes with Gearbox, ``built-in:`` and its name; :data:`RATED`
    of the runs with a thumb."""
    name: str
    prompts: tuple[RoutedPrompt, ...]
    size: int
    """Prompts of the set, answered or not."""
    weights: Mapping[str, str]
    """weights_sha256 by tier, as far as it is known."""
    disturbed: Mapping[str, int]
    """Answers whose times others held up, by tier, as far as it is known."""
    sha256: str
    """:func:`~engine.cascade.routing.records.data_hash` of what was recorded, with the scores as they count."""
    tasks: Mapping[str, Task] = field(default_factory=dict)
    """The prompts with their checkers, by id, as far as they are known."""
    judged: Mapping[tuple[str, str], Judgement] = field(default_factory=dict)
    """Where a score that counts is not the checker's: by the prompt's id and the tier."""
    estimated: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Prompts to which a tier's answer has estimated times, by tier: it was given beside others."""
    recorded: Mapping[str, RecordedTier] = field(default_factory=dict)
    """Who recorded it, when and on what, by tier; nothing of what was not recorded here."""
    parameters: Mapping[str, int] = field(default_factory=dict)
    """Of models, by name, as far as they are known."""

    @property
    def built_in(self) -> bool:
        """Whether it comes with Gearbox."""
        return self.id.startswith("built-in:")

    @property
    def tiers(self) -> tuple[str, ...]:
        """Those recorded, the smallest first: by the parameters of their model, then by the bits of a weight. A tier
        whose size nobody knows stands by its mean time (:attr:`ordered_by_time`)."""
        tiers = self._tiers
        return by_size(tiers, self.parameters, {tier: self.seconds(tier) for tier in tiers})

    @property
    def ordered_by_time(self) -> tuple[str, ...]:
        """The tiers of models whose size nobody knows."""
        return unknown_sizes(self._tiers, self.parameters)

    @property
    def _tiers(self) -> set[str]:
        return {tier for prompt in self.prompts for tier in prompt.answers}

    def answered(self, tier: str) -> int:
        """Prompts that a tier answered."""
        return sum(tier in prompt.answers for prompt in self.prompts)

    def scores(self, tier: str) -> list[float]:
        """Of the tier's answers that could be checked."""
        answers = (prompt.answers[tier] for prompt in self.prompts if tier in prompt.answers)
        return [answer.score for answer in answers if answer.score is not None]

    @property
    def timed(self) -> tuple[RoutedPrompt, ...]:
        """The prompts with those answers alone whose times were measured."""
        return tuple(
            replace(
                prompt,
                answers={
                    tier: answer
                    for tier, answer in prompt.answers.items()
                    if prompt.prompt_id not in self.estimated.get(tier, ())
                },
            )
            for prompt in self.prompts
        )

    def seconds(self, tier: str) -> float:
        """Mean E2E of a tier's answers."""
        return float(np.mean([prompt.answers[tier].e2e_s for prompt in self.prompts if tier in prompt.answers]))


def built_in_sets(folder: Path) -> tuple[Path, ...]:
    """The files of recorded answers in a folder, by name; none where there is no such folder."""
    return tuple(sorted(folder.glob("*.jsonl")))


def read_built_in(path: Path) -> DataSet:
    """A file of recorded answers; ``NAME.json`` beside it may give its ``title`` and the tiers' ``weights_sha256``.

    Raises:
        RecordedPairsError: a file cannot be read.
    """
    title, weights = about(path)
    prompts = read_prompts(path)
    return DataSet(
        id=f"built-in:{path.stem}",
        name=built_in_name(title),
        prompts=prompts,
        size=len(prompts),
        weights=weights,
        disturbed={},
        sha256=data_hash(prompts),
        tasks=_shipped_tasks(prompts),
    )


def _shipped_tasks(prompts: Sequence[RoutedPrompt]) -> dict[str, Task]:
    """The checkers of prompts that come with Gearbox, where they are still the same."""
    asked = {prompt.prompt_id: prompt.prompt for prompt in prompts}
    return {task.id: task for task in load_tasks(MIXED_FILE) if asked.get(task.id) == task.prompt}


def about(path: Path) -> tuple[str, dict[str, str]]:
    """Title and weights_sha256 by tier of a file of recorded answers.

    Raises:
        RecordedPairsError: the file beside it cannot be read.
    """
    about_path = path.with_suffix(".json")
    if not about_path.is_file():
        return path.stem.capitalize(), {}
    try:
        about = parse_json(about_path.read_bytes())
        return str(about["title"]), {str(tier): str(sha256) for tier, sha256 in about["weights_sha256"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordedPairsError(f"“{about_path.name}” does not say what was recorded: {error!r}.") from error


def built_in_name(title: str) -> str:
    """How a set that comes with Gearbox is called."""
    return f"{title} (comes with Gearbox)"


def read_recorded(store: RouterStore, kept: KeptSet) -> DataSet:
    """A recorded set; of each tier, the answers under the weights that were recorded last. Scores are the checkers'.

    Raises:
        StoreError: the run database cannot be read.
    """
    latest: dict[str, RecordedTier] = {}
    for recorded in store.recorded(kept.sha256):
        latest.setdefault(recorded.tier, recorded)
    weights = {tier: recorded.weights_sha256 for tier, recorded in latest.items()}
    answers = {tier: store.recorded_answers(kept.sha256, tier, sha) for tier, sha in weights.items()}
    tasks = store.tasks(kept.sha256)
    prompts = tuple(
        RoutedPrompt(
            prompt_id=task.id,
            category=task.category,
            prompt=task.prompt,
            answers={tier: found[task.id].answer for tier, found in answers.items() if task.id in found},
        )
        for task in tasks
    )
    answered = tuple(prompt for prompt in prompts if prompt.answers)
    return DataSet(
        id=kept.sha256,
        name=kept.name,
        prompts=answered,
        size=len(tasks),
        weights=weights,
        disturbed={tier: its.disturbed for tier, its in latest.items() if its.disturbed is not None},
        sha256=data_hash(answered),
        tasks={task.id: task for task in tasks},
        estimated={
            tier: frozenset(id for id, each in found.items() if each.is_estimated) for tier, found in answers.items()
        },
        recorded=latest,
    )


def with_judgements(
    data: DataSet, marks: Sequence[KeptMark], verdicts: Mapping[AnswerKey, tuple[KeptVerdict, ...]]
) -> DataSet:
    """The same with the scores that count: of prompts without a checker the likeness to the largest tier's answer, or
    what a judge says, and of every answer what somebody said of it."""
    prompts, found = judged(data.prompts, data.tasks, data.tiers, marks, verdicts)
    return replace(data, prompts=prompts, judged=found, sha256=data_hash(prompts) if found else data.sha256)
