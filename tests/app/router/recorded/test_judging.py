"""A model as judge of recorded answers: which one, what is kept of it, and that it is never asked twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.background.jobs import JobCancelled
from app.quantization.tasks import tasks_sha256
from app.router.lab import RouterLab
from app.router.recorded.forks import edited, keep_fork
from app.router.recorded.judging import doubts, judge_among, left_to_judge
from app.router.recorded.recording import record
from app.store import GoneError, RunStore, Viewer
from engine import JUDGED, Task, Verdict
from engine.types import GenerationRequest, Precision, Tier
from tests.support.cascade import answer
from tests.support.fakes import FakeLabEngine

JUDGE = Tier(model="judge", precision=Precision.INT4)
OTHER = Tier(model="other", precision=Precision.INT4)


@dataclass(frozen=True)
class Model:
    name: str
    parameters: int | None = 1
    installed: bool = True


def silent(stage: str, fraction: float, /, *, loading: float | None = None) -> None:
    """Reports that nobody reads."""


def test_the_largest_installed_model_judges_at_int4() -> None:
    models = [Model("small", 1), Model("large", 9), Model("gone", 99, installed=False), Model("unknown", None)]
    assert judge_among(models) == Tier(model="large", precision=Precision.INT4)
    assert judge_among([Model("unknown", None)]) is None
    assert judge_among([]) is None


@pytest.mark.parametrize(
    ("models", "tiers", "said"),
    [
        (["a", "judge"], [OTHER], ""),
        (["a", "judge"], [OTHER, JUDGE], "flatters itself."),
        (["a", "judge"], [Tier(model="judge", precision=Precision.BF16)], "flatters itself."),
        (["judge"], [JUDGE], "No second model is installed"),
    ],
)
def test_a_model_that_judges_its_own_answers_is_warned_of(models: Sequence[str], tiers: list[Tier], said: str) -> None:
    found = doubts(JUDGE, [Model(name) for name in models], tiers)
    assert said in found
    assert bool(found) == bool(said)


# --- recorded answers -------------------------------------------------------------------------------

TIERS = (Tier(model="small", precision=Precision.INT4), Tier(model="large", precision=Precision.INT4))
TASKS = (
    Task(id="why", category="Open", prompt="Why is it blue?", checker=JUDGED, expected="Rayleigh", max_tokens=8),
    Task(id="sky", category="Facts", prompt="What is blue?", checker="contains", expected="sky", max_tokens=8),
)
SET = tasks_sha256(TASKS)


def left(lab: RouterLab, tiers: Sequence[str], weights_sha256: str | None) -> int:
    data = lab.data_set(SET)
    return left_to_judge([("why", tier) for tier in tiers], data.judged, JUDGE, weights_sha256)


class JudgingEngine(FakeLabEngine):
    """Tiers say what they are, and the judge is content with the large one."""

    def says(self, request: GenerationRequest) -> list[str]:
        if request.config.model == JUDGE.model:
            return ["Yes" if "> by large" in request.messages[-1].content else "No"]
        return [f"by {request.config.model}"]

    def asked(self, model: str) -> int:
        """How often a model was."""
        return sum(request.config.model == model for request in self.requests)


def scores(store: RunStore, folder: Path) -> dict[str, float | None]:
    (prompt,) = (each for each in RouterLab(store, folder).data_set(SET).prompts if each.prompt_id == "why")
    return {tier: answer.score for tier, answer in prompt.answers.items()}


def test_what_is_recorded_is_judged_and_the_verdict_is_the_score(store: RunStore, tmp_path: Path) -> None:
    engine, fractions = JudgingEngine(), list[float]()

    def report(stage: str, fraction: float, /, *, loading: float | None = None) -> None:
        fractions.append(fraction)

    record(engine, store.router, "Own", TASKS, TIERS, report, judge=JUDGE)
    assert [request.config.model for request in engine.requests] == ["small", "small", "large", "large", *["judge"] * 2]
    assert "Correct answer:\n> Rayleigh" in engine.requests[-1].messages[-1].content
    assert scores(store, tmp_path) == {TIERS[0].key: 0.0, TIERS[1].key: 1.0}
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    record(engine, store.router, "Own", TASKS, TIERS, silent, judge=JUDGE)
    assert len(engine.requests) == 6


def test_answers_without_a_verdict_have_no_score_until_a_judge_is_there(store: RunStore, tmp_path: Path) -> None:
    engine = JudgingEngine()
    record(engine, store.router, "Own", TASKS, TIERS, silent)
    assert scores(store, tmp_path) == {tier.key: None for tier in TIERS}
    lab = RouterLab(store, tmp_path)
    keys = [tier.key for tier in TIERS]
    assert left(lab, keys, None) == 2
    record(engine, store.router, "Own", TASKS, TIERS[:1], silent, judge=JUDGE)
    assert scores(store, tmp_path) == {TIERS[0].key: 0.0, TIERS[1].key: None}
    assert left(lab, keys, None) == 1
    assert left(lab, keys, "other weights") == 2


def test_judging_goes_on_where_it_was_cancelled(store: RunStore, tmp_path: Path) -> None:
    def cancel(stage: str, fraction: float, /, *, loading: float | None = None) -> None:
        if "judges · answer 2" in stage:
            raise JobCancelled

    engine, fractions = JudgingEngine(), list[float]()
    with pytest.raises(JobCancelled):
        record(engine, store.router, "Own", TASKS, TIERS, cancel, judge=JUDGE)
    assert len(store.router.verdicts(SET)) == 1

    def report(stage: str, fraction: float, /, *, loading: float | None = None) -> None:
        fractions.append(fraction)

    record(engine, store.router, "Own", TASKS, TIERS, report, judge=JUDGE)
    assert engine.asked("judge") == 3  # one of the two that were under way was not kept
    assert fractions[1] == pytest.approx(5 / 6)
    assert None not in scores(store, tmp_path).values()


def test_an_answer_recorded_anew_is_judged_anew_where_it_differs(store: RunStore, tmp_path: Path) -> None:
    engine = JudgingEngine()
    record(engine, store.router, "Own", TASKS, TIERS, silent, judge=JUDGE)
    record(engine, store.router, "Own", TASKS, TIERS, silent, judge=JUDGE, again=True)
    assert engine.asked("judge") == 2
    store.router.keep_answer(SET, "why", TIERS[0].key, engine.WEIGHTS, answer(None, text="by large too"), {})
    assert scores(store, tmp_path)[TIERS[0].key] is None
    record(engine, store.router, "Own", TASKS, TIERS, silent, judge=JUDGE)
    assert scores(store, tmp_path)[TIERS[0].key] == 1.0


def test_what_somebody_says_counts_over_the_judge_and_both_are_kept(store: RunStore, tmp_path: Path) -> None:
    engine = JudgingEngine()
    record(engine, store.router, "Own", TASKS, TIERS, silent, judge=JUDGE)
    store.router.mark(SET, "why", TIERS[0].key, engine.WEIGHTS, "by small", True)
    found = RouterLab(store, tmp_path).data_set(SET).judged["why", TIERS[0].key]
    assert (found.how, found.automatic) == ("mark", 0.0)
    assert found.verdicts[-1].judge == JUDGE
    assert scores(store, tmp_path)[TIERS[0].key] == 1.0


def test_a_fork_takes_verdicts_along_and_a_deleted_set_leaves_none(store: RunStore) -> None:
    record(JudgingEngine(), store.router, "Own", TASKS, TIERS, silent, judge=JUDGE)
    fork = keep_fork(store.router, SET, "Fork", TASKS, TASKS)
    assert store.router.verdicts(fork) == store.router.verdicts(SET)
    changed = [edited(TASKS[0], "row 1", prompt=TASKS[0].prompt, category="", expected=" "), TASKS[1]]
    assert changed[0].expected is None
    assert not store.router.verdicts(keep_fork(store.router, SET, "Other", changed, TASKS))
    store.router.delete_set(SET)
    assert not store.router.verdicts(SET)
    with pytest.raises(GoneError):
        store.router.keep_verdict(SET, "why", "t", "x", JUDGE, "w", Verdict(True))


def test_verdicts_on_somebodys_set_are_theirs(store: RunStore) -> None:
    ann = store.seen_by(Viewer("ann", sees_all=False)).router
    record(JudgingEngine(), ann, "Own", TASKS, TIERS, silent, judge=JUDGE)
    assert len(ann.verdicts(SET)) == ann.judged_until(SET)[0] == 2
    bob = store.seen_by(Viewer("bob", sees_all=False)).router
    assert not bob.verdicts(SET)
    assert bob.judged_until(SET) == (0, None)
