"""The way from prompts to a threshold in use: what is done, and what is next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

from app.router.choosing.scoring import Choice
from app.router.choosing.study import Study
from app.router.lab import RouterLab
from app.router.recorded.data_sets import DataSet
from app.router.way import Step, Way, following
from app.store import KeptProfile, RunStore
from engine.cascade import RoutedPrompt, write_prompts
from tests.support.cascade import STRONG, WEAK, answer, prompt, recorded


def data_set(store: RunStore, folder: Path, prompts: Sequence[RoutedPrompt]) -> DataSet:
    write_prompts(folder / "mixed.jsonl", prompts)
    return RouterLab(store, folder).data_set("built-in:mixed")


def kept(data: DataSet, *, active: bool) -> KeptProfile:
    study = Study.of(data.prompts, WEAK, STRONG, Choice.ESCALATE)
    weights = {WEAK: "a" * 64, STRONG: "b" * 64}
    return KeptProfile(
        id="1",
        version=2,
        ladder=f"{WEAK} → {STRONG}",
        created_at=datetime(2026, 3, 14, tzinfo=UTC),
        active=active,
        profile=study.profile("Careful", 0.4, weights, data.sha256, date(2026, 3, 14)),
    )


def test_without_prompts_the_way_begins_with_bringing_them() -> None:
    way = Way.of(None, ())
    assert way.next is Step.BRING
    assert not way.done
    assert way.states[Step.BRING] == "No prompts yet"


def test_each_step_that_is_done_offers_the_next(store: RunStore, tmp_path: Path) -> None:
    both = recorded(40)
    alone = [replace(each, answers={WEAK: each.answers[WEAK]}) for each in both]
    assert Way.of(data_set(store, tmp_path, alone), ()).next is Step.RECORD
    data = data_set(store, tmp_path, both)
    assert Way.of(data, ()).next is Step.CHOOSE
    assert Way.of(data, (kept(data, active=False),)).next is Step.USE
    used = Way.of(data, (kept(data, active=True),))
    assert used.next is Step.WATCH
    assert used.states[Step.USE] == "“Careful” 2"
    assert used.states[Step.WATCH] == "1 profile in use"


def test_a_profile_of_other_prompts_does_no_step_of_these(store: RunStore, tmp_path: Path) -> None:
    data = data_set(store, tmp_path, recorded(40))
    other = replace(kept(data, active=True).profile, data_sha256="f" * 64)
    way = Way.of(data, (replace(kept(data, active=True), profile=other),))
    assert way.next is Step.CHOOSE
    assert way.states[Step.WATCH] == "1 profile in use"


def test_a_profile_stays_one_of_its_prompts_when_their_scores_change(store: RunStore, tmp_path: Path) -> None:
    data = data_set(store, tmp_path, recorded(40))
    made = replace(kept(data, active=True), data_set=data.id)
    first, *others = recorded(40)
    weak = first.answers[WEAK]
    scores = {**first.answers, WEAK: replace(weak, score=1.0 - (weak.score or 0.0))}
    marked = data_set(store, tmp_path, [replace(first, answers=scores), *others])
    assert marked.sha256 != data.sha256
    assert Way.of(marked, (made,)).next is Step.WATCH
    assert Way.of(replace(marked, id="another"), (made,)).next is Step.CHOOSE


def test_answers_that_could_not_be_scored_are_no_recording(store: RunStore, tmp_path: Path) -> None:
    unscored = [prompt("a", answer(None), answer(None))]
    assert Way.of(data_set(store, tmp_path, unscored), ()).next is Step.RECORD


def test_the_steps_follow_each_other_to_the_last() -> None:
    assert [following(step) for step in Step] == [*list(Step)[1:], None]
