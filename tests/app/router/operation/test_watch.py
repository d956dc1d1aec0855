"""A profile in operation: which runs count, what they say of its promise, and what they become."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from app.router.choosing.scoring import Choice
from app.router.choosing.study import Study
from app.router.operation.in_use import cascade_by, configuration_by, profile_text
from app.router.operation.watch import FEWEST_RUNS, Watch, live_tasks, watch
from app.store import Rating, RunFilter, RunOutcome, RunSource, RunStatus, RunStore
from engine import Task
from engine.cascade import Evidence, RouterProfile
from engine.cascade.choosing.evidence import prompt_sha256
from engine.cascade.reporting.figures import count_of
from engine.types import CascadeReport, GenerationRequest, Message, SamplingParams, Tier
from tests.support.cascade import STRONG, WEAK, recorded
from tests.support.cascading import make_cascade_report
from tests.support.fakes import make_metrics
from tests.support.migrations import migrate_until

SMALL, LARGE = str(Tier.from_key(WEAK)), str(Tier.from_key(STRONG))
SUM = Task(id="sum", category="Sums", prompt="What is 2 + 2?", checker="contains", expected="Four", max_tokens=9)


EVIDENCE = Evidence(
    prompts_sha256=(prompt_sha256(SUM.prompt),),
    held_out=75,
    figures={"share": count_of(30, 75), "quality": count_of(60, 75), "missed": count_of(4, 75)},
    unit="s",
    derived_from="",
    environment={},
)


@cache
def profile(threshold: float = 0.4, *, name: str = "Careful") -> RouterProfile:
    study = Study.of(recorded(150), WEAK, STRONG, Choice.ESCALATE)
    made = study.profile(name, threshold, {WEAK: "a" * 64, STRONG: "b" * 64}, "c" * 64, date(2026, 3, 14))
    return replace(made, figures={**made.figures, "share": 0.4, "quality": 0.8, "missed": 0.05})


def report(
    score: float, *, up: bool, seconds: float, alone_s: float | None = 4.0, derived: bool = False
) -> CascadeReport:
    """By all tiers together in so many seconds."""
    made = make_cascade_report(large=LARGE, went_up=up)
    attempts = [replace(each, seconds=seconds / len(made.attempts)) for each in made.attempts]
    first = replace(attempts[0], tier=SMALL, answer_score=score, kept=not up)
    return replace(made, attempts=(first, *attempts[1:]), large_alone_s=alone_s, derived=derived)


def add(
    store: RunStore,
    made: RouterProfile,
    *,
    up: bool = False,
    score: float = 0.2,
    prompt: str = "Why?",
    text: str = "Four.",
    source: RunSource = RunSource.PLAYGROUND,
    rating: Rating = 0,
    earlier: Sequence[Message] = (),
    e2e_s: float = 1.0,
    **said: Any,
) -> str:
    """A finished run by a profile."""
    request = GenerationRequest(
        messages=(*earlier, Message("user", prompt)), config=configuration_by(made, SamplingParams(max_tokens=33))
    )
    run_id = store.create_run(request, person_id="s", environment={}, source=source)
    metrics = make_metrics(completion_tokens=3, e2e_s=e2e_s)
    outcome = RunOutcome(
        RunStatus.FINISHED,
        text,
        finish_reason="stop",
        metrics=metrics,
        cascade=report(score, up=up, seconds=e2e_s, **said),
    )
    store.finish_run(run_id, outcome)
    if rating:
        store.rate(run_id, rating)
    return run_id


def look(store: RunStore, made: RouterProfile, tasks: Sequence[Task] = ()) -> Watch:
    return watch(store, made, EVIDENCE, {task.prompt: task for task in tasks})


def test_runs_by_the_very_profile_count_and_runs_of_labs_never_do(store: RunStore) -> None:
    made = profile()
    wanted = [add(store, made), add(store, made, up=True, source=RunSource.CHAT)]
    add(store, made, source=RunSource.LAB)
    add(store, profile(0.5))
    add(store, profile(name="Another"))
    found = look(store, made)
    assert [run.id for run in found.runs] == wanted
    assert [run.went_up for run in found.runs] == [False, True]
    assert found.share is not None
    assert found.share.value == 0.5
    assert found.share.low < 0.1
    assert found.share.high > 0.9


def test_a_profile_is_known_by_its_text_in_the_configuration() -> None:
    assert cascade_by(profile()).profile == profile_text(profile()) == json.dumps(profile().to_dict(), sort_keys=True)


def test_no_promise_is_called_broken_on_few_runs(store: RunStore) -> None:
    made = profile()
    for _ in range(FEWEST_RUNS - 1):
        add(store, made, up=True, e2e_s=60.0)
    assert look(store, made).alarms() == ()


def test_a_share_far_from_the_promised_one_raises_the_alarm(store: RunStore) -> None:
    made = profile()
    for n in range(40):
        add(store, made, up=n % 5 < 2, score=n / 40)
    assert look(store, made).alarms() == ()
    for _ in range(60):
        add(store, made, up=True, score=0.5)
    said = " ".join(look(store, made).alarms())
    assert "100 % of the last 50 runs were sent up, where 40 %" in said


def test_answers_to_prompts_with_a_checker_are_checked(store: RunStore) -> None:
    made = profile()
    for n in range(FEWEST_RUNS):
        add(store, made, prompt=SUM.prompt, text="Five.", up=n % 5 < 2, score=n / FEWEST_RUNS)
    add(store, made, prompt="Another?", text="Five.")
    found = look(store, made, [SUM])
    assert found.checked == FEWEST_RUNS
    assert found.correct is not None
    assert found.correct.value == 0
    assert any(
        "0 % of 20 checked answers to the prompts it was chosen on are right" in alarm for alarm in found.alarms()
    )


def test_answers_to_other_prompts_than_it_was_chosen_on_break_no_promise(store: RunStore) -> None:
    made, harder = profile(), replace(SUM, prompt="What is 17 * 23?")
    for n in range(FEWEST_RUNS):
        add(store, made, prompt=harder.prompt, text="Five.", up=n % 5 < 2, score=n / FEWEST_RUNS)
    found = look(store, made, [harder])
    assert found.checked == FEWEST_RUNS
    assert found.alarms() == ()


def test_a_turn_of_a_conversation_is_not_taken_for_the_prompt_alone(store: RunStore) -> None:
    made = profile()
    add(store, made, prompt=SUM.prompt, earlier=(Message("user", "Hi"), Message("assistant", "Hello")))
    found = look(store, made, [SUM])
    assert found.checked == 0
    assert live_tasks(found.runs, {}) == ()


def test_time_saved_counts_what_is_known_and_how_much_of_it_is_derived(store: RunStore) -> None:
    made = profile()
    add(store, made, derived=True)
    add(store, made, up=True, e2e_s=5.0)
    add(store, made, alone_s=None)
    found = look(store, made)
    assert found.saved_s == (6.0, 8.0, 2)
    assert found.derived == 1


def test_what_the_large_model_answered_alone_since_the_small_one_is_missing_went_up(store: RunStore) -> None:
    made = profile()
    add(store, made)
    (run,) = look(store, made).runs
    first = replace(run.report.attempts[0], tier=LARGE, kept=True, answer_score=None)
    alone = replace(run, report=replace(run.report, attempts=(first,), unavailable=(f"{SMALL}: not installed",)))
    assert (run.went_up, alone.went_up) == (False, True)


def test_a_cascade_that_costs_time_raises_the_alarm(store: RunStore) -> None:
    made = profile()
    for n in range(FEWEST_RUNS):
        add(store, made, up=n % 5 < 2, score=n / FEWEST_RUNS, e2e_s=4.5)
    assert any("the cascade costs time" in alarm for alarm in look(store, made).alarms())


def test_scores_unlike_those_that_chose_raise_the_alarm(store: RunStore) -> None:
    made = profile()
    for n in range(40):
        add(store, made, up=n % 5 < 2, score=0.999)
    found = look(store, made)
    assert len(found.scores()) == 40
    assert any("unlike those the threshold was chosen on" in alarm for alarm in found.alarms())


def test_thumbs_are_counted(store: RunStore) -> None:
    made = profile()
    add(store, made, rating=1)
    add(store, made, rating=-1)
    add(store, made)
    assert look(store, made).thumbs == (1, 1)


def test_live_prompts_become_tasks_each_once_with_the_checker_that_is_known(store: RunStore) -> None:
    made = profile()
    for prompt in (SUM.prompt, "Why?", "Why?"):
        add(store, made, prompt=prompt)
    found = look(store, made, [SUM])
    tasks = live_tasks(found.runs, {SUM.prompt: SUM})
    assert [(task.prompt, task.checker, task.max_tokens) for task in tasks] == [
        ("Why?", None, 33),
        (SUM.prompt, "contains", 9),
    ]


@pytest.mark.parametrize("runs", [0, 1, 9, 25, 300])
def test_every_run_is_in_the_share_over_time_but_a_short_rest(store: RunStore, runs: int) -> None:
    made = profile()
    found = look(store, made)
    one = add(store, made)
    (run,) = look(store, made).runs
    assert run.id == one
    many = replace(found, runs=(run,) * runs)
    points = many.shares()
    assert len(points) <= 13
    assert sum(point.runs for point in points) > runs * 0.8 or runs == 0


def test_older_runs_are_found_by_their_profile_too(file: Path, tmp_path: Path) -> None:
    migrate_until(file, "0017", tmp_path / "migrations")
    made = profile()
    texts = {
        "by it": json.dumps(configuration_by(made, SamplingParams()).to_dict()),
        "by hand": json.dumps(configuration_by(replace(made, name="X"), SamplingParams()).to_dict()),
        "plain": "{}",
    }
    run = (
        "INSERT INTO runs (id, created_at, status, session_id, model, backend, precision, config_hash, seed, rating, "
        "note, owner_host, owner_pid, owner_started, seen_at) VALUES (?, 1, 'finished', '', 'm', 'local', 'bf16', 'h', "
        "0, 1, 'good', 'host', 1, 1.0, 1)"
    )
    content = (
        "INSERT INTO run_contents (run_id, prompt, text, messages, config, environment) "
        "VALUES (?, 'Hi', 'Hello', '[]', ?, '{}')"
    )
    with closing(sqlite3.connect(file)) as connection, connection:
        for run_id, text in texts.items():
            connection.execute(run, (run_id,))
            connection.execute(content, (run_id, text))
    store = RunStore.open(f"sqlite:///{file}")
    page = store.page(RunFilter(router_profile=cascade_by(made).profile_key))
    assert [row.id for row in page.rows] == ["by it"]
    assert len(store.get_many(list(texts))) == 3
    store.close()
