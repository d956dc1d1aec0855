"""What of an experiment's runs goes into a report: texts that flipped, machines, weights."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from app.experiments.results.arrays import Results
from app.experiments.verdicts.decision import Decision
from app.store import Pass, RunStore

DELETED = "The run of this answer was deleted."


@dataclass(frozen=True, slots=True, kw_only=True)
class FlippedAnswer:
    """A prompt whose answer changed between right and wrong."""

    prompt_id: str
    gained: bool
    baseline: str
    candidate: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was read of the runs."""

    flips: tuple[FlippedAnswer, ...]
    """Those lost first."""
    environments: tuple[Mapping[str, Any], ...]
    """Of the first run of each configuration."""


def flipped(decision: Decision) -> dict[str, bool]:
    """The ids of the prompts whose answer flipped, and whether it was gained; those lost first."""
    quality = decision.scored
    if quality is None:
        return {}
    return dict.fromkeys(quality.lost, False) | dict.fromkeys(quality.gained, True)


def text_runs(results: Results, place: int) -> dict[str, str]:
    """A configuration's runs whose texts count, by the prompt's id; without those that were deleted."""
    return results.run_ids(place, Pass.QUALITY if Pass.QUALITY in results.design.passes else Pass.SPEED)


def read_answers(store: RunStore, results: Results, place: int, prompt_ids: Collection[str]) -> dict[str, str]:
    """What a configuration answered to some prompts, by their ids: its text, or why there is none.

    Raises:
        StoreError: the database cannot be read.
    """
    runs = text_runs(results, place)
    texts = store.experiments.answers([runs[id] for id in prompt_ids if id in runs])
    failures = {
        cell.key.prompt_id: f"No answer: {cell.failure}"
        for cell in results.cells
        if cell.failed and cell.key.configuration == place and cell.key.repeat == 0
    }
    return {id: failures.get(id) or texts.get(runs.get(id, ""), DELETED) for id in prompt_ids}


def read_evidence(store: RunStore, results: Results, decision: Decision, candidate: int) -> Evidence:
    """Read the texts that flipped and what the configurations ran on.

    Raises:
        StoreError: the database cannot be read.
    """
    flips = flipped(decision)
    before, after = (
        read_answers(store, results, place, flips.keys()) for place in (results.design.baseline, candidate)
    )
    return Evidence(
        flips=tuple(
            FlippedAnswer(prompt_id=id, gained=gained, baseline=before[id], candidate=after[id])
            for id, gained in flips.items()
        ),
        environments=_environments(store, results),
    )


def _environments(store: RunStore, results: Results) -> tuple[Mapping[str, Any], ...]:
    kind = Pass.SPEED if Pass.SPEED in results.design.passes else Pass.QUALITY
    firsts = [next(iter(results.run_ids(place, kind).values()), None) for place in range(len(results.names))]
    return tuple(run.environment for run in store.get_many([id for id in firsts if id]))
