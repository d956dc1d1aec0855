"""Golden prompts, picked from runs."""

from __future__ import annotations

from typing import Any

from app.experiments.planning.scoring import checked
from app.operations.sentinel.fingerprint import of_record
from app.store import CellKey, GoldenAnswer, GoldenPrompt, GoneError, RunRecord, RunStatus, RunStore, Timeline
from engine import Task
from engine.errors import InvalidRequestError
from engine.evaluation.expected import expected_of
from engine.types import RunConfig

LONGEST_NAME = 80


def why_not(run: RunRecord, timeline: Timeline | None) -> str | None:
    """Why a run cannot be picked, for the user; ``None`` where it can.

    Args:
        run: which one.
        timeline: its tokens; ``None`` if none were kept.
    """
    if run.status is not RunStatus.FINISHED:
        return "Only a run that came to its end can be a golden prompt."
    if not run.text:
        return "An empty answer cannot be a baseline."
    if any(tier.is_remote for tier in RunConfig.from_dict(run.config).ladder):
        return "A server took part in this answer: whether another one is due to a change here could not be told."
    if timeline is None or not timeline.token_ids:
        return "The tokens of this answer were not kept, so that no replay could be held against them: ask it again."
    return None


def pick(store: RunStore, run_id: str, *, name: str = "") -> str:
    """Make a run a golden prompt, and return its id: its answer is accepted. A cell of an experiment brings its
    prompt's checker.

    Args:
        store: as whoever picks it sees it.
        run_id: which one.
        name: what it is called; the beginning of its prompt unless given.

    Raises:
        InvalidRequestError: it has no answer that could be accepted, or was picked before.
        RunNotFoundError, RunOfAnotherError: there is no such run that the viewer may see.
    """
    run = store.get(run_id)
    timeline = store.timeline(run_id)
    if refusal := why_not(run, timeline):
        raise InvalidRequestError(refusal)
    if store.sentinel.of_run(run_id):
        raise InvalidRequestError("This run is a golden prompt already.")
    config = RunConfig.from_dict(run.config)
    request, task = run.asked_again(config), _task(store, run)
    baseline = GoldenAnswer(
        id="",
        golden_id="",
        round_id=None,
        created_at=run.created_at,
        run_id=run_id,
        text=run.text,
        token_ids=timeline.token_ids if timeline else (),
        score=checked(task, run.text) if task else None,
        fingerprint=of_record(run.environment, config),
    )
    name = name.strip() or " ".join(run.prompt.split())
    return store.sentinel.pick(
        request,
        baseline,
        name=name[:LONGEST_NAME],
        checker=task.checker if task else None,
        expected=task.expected if task else None,
    )


def score(golden: GoldenPrompt, text: str) -> float | None:
    """The checker's of an answer, 0 or 1; ``None`` where there is no checker, or it cannot tell."""
    return checked(_as_task(golden, golden.checker, golden.expected), text)


def set_checker(store: RunStore, golden: GoldenPrompt, checker: str | None, expected: Any) -> None:
    """Say how answers to a golden prompt are scored from now on; the accepted one is, at once.

    Raises:
        InvalidRequestError: there is no such checker, or it cannot compare with that.
    """
    try:
        expected = expected_of(checker, expected) if checker else None
    except ValueError as error:
        raise InvalidRequestError(f"This checker cannot compare with that: {error}.") from error
    task = _as_task(golden, checker, expected)
    accepted = store.sentinel.baselines()[golden.id]
    store.sentinel.set_checker(golden.id, checker, expected, checked(task, accepted.text))


def _as_task(golden: GoldenPrompt, checker: str | None, expected: Any) -> Task:
    return Task(id=golden.id, category="", prompt=golden.prompt, checker=checker, expected=expected, max_tokens=1)


def _task(store: RunStore, run: RunRecord) -> Task | None:
    """The prompt of an experiment whose cell a run is."""
    key = CellKey.from_metadata(run.metadata)
    if key is None or run.group_id is None:
        return None
    try:
        prompts = store.experiments.prompts(run.group_id)
    except GoneError:
        return None
    return next((task for task in prompts if task.id == key.prompt_id), None)
