"""Recording: each prompt once a tier, kept at once, resumed after a stop, told apart by weights."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from app.background.jobs import JobCancelled
from app.prompts.columns import convert, guess
from app.prompts.tables import read_table
from app.quantization.lab import LabError
from app.quantization.tasks import tasks_sha256
from app.router.lab import RouterLab
from app.router.recorded.recording import Checkable, record
from app.router.recorded.timing import TIMED_ALONE
from app.runs.answers import answer_unkept
from app.runs.together import AT_ONCE
from app.store import GoneError, RouterStore, RunStore
from engine import MIXED_FILE, Engine, load_tasks
from engine.errors import ContextLengthError, GearboxError
from engine.evaluation.tasks import Task
from engine.types import GenerationRequest, Precision, Tier
from tests.conftest import SMALL as SMALL_MODEL
from tests.support import cascade
from tests.support.disturbing import DISTURBED, QUIET
from tests.support.fakes import FakeGeneration, FakeLabEngine
from tests.support.stores import new_database

SMALL, LARGE = Tier(model="small", precision=Precision.INT4), Tier(model="large", precision=Precision.INT4)
TASKS = (
    Task(id="sky", category="Facts", prompt="Why is it blue?", checker="contains", expected="sky", max_tokens=8),
    Task(id="moon", category="Facts", prompt="What is it?", checker="contains", expected="moon", max_tokens=3),
    Task(id="open", category="Chat", prompt="How are you?", max_tokens=8),
)
CODE = Task(id="code", category="Code", prompt="f?", checker="code", expected={"tests": "", "entry": "f"}, max_tokens=8)
SET = tasks_sha256(TASKS)


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[RunStore]:
    store = RunStore.open(new_database(tmp_path / "runs.db"))
    yield store
    store.close()


@pytest.fixture
def store(runs: RunStore) -> RouterStore:
    return runs.router


class Reports:
    """Notes what is reported; cancels at a stage, if told to."""

    def __init__(self, cancel_at: str = "never") -> None:
        self.fractions: list[float] = []
        self.stages: list[str] = []
        self.cancel_at = cancel_at

    def __call__(self, stage: str, fraction: float, /, *, loading: float | None = None) -> None:
        self.fractions.append(fraction)
        self.stages.append(stage)
        if self.cancel_at in stage:
            raise JobCancelled


def test_every_prompt_is_asked_once_a_tier_and_checked(store: RouterStore, runs: RunStore, tmp_path: Path) -> None:
    engine, reports = FakeLabEngine(), Reports()
    record(engine, store, "Own", TASKS, [SMALL, LARGE], reports)
    assert [request.config.model for request in engine.requests] == ["small"] * 3 + ["large"] * 3
    kept = store.answers(SET, SMALL.key, engine.WEIGHTS)
    assert {name: found.score for name, found in kept.items()} == {"sky": 1.0, "moon": 0.0, "open": None}
    assert kept["sky"].logprobs == (-0.5,) * 6
    assert kept["moon"].finish_reason == "length"
    assert reports.fractions == sorted(reports.fractions)
    assert reports.fractions[-1] == 1.0
    assert store.recorded(SET)[0].environment["threads"] == 2
    data = RouterLab(runs, tmp_path).data_set(SET)
    assert (data.name, set(data.tiers), data.size) == ("Own", {SMALL.key, LARGE.key}, 3)


def test_an_answer_that_was_disturbed_twice_is_counted(store: RouterStore, runs: RunStore, tmp_path: Path) -> None:
    engine = FakeLabEngine()
    engine.disturbances = [DISTURBED, DISTURBED, DISTURBED, QUIET, QUIET]
    record(engine, store, "Own", TASKS, [SMALL], Reports())
    assert [request.messages[-1].content for request in engine.requests] == [
        task.prompt for task in (TASKS[0], TASKS[0], TASKS[1], TASKS[1], TASKS[2])
    ]
    assert store.recorded(SET)[0].disturbed == 1
    assert RouterLab(runs, tmp_path).data_set(SET).disturbed == {SMALL.key: 1}


def test_of_answers_that_do_not_tell_none_counts_as_undisturbed(
    store: RouterStore, runs: RunStore, tmp_path: Path
) -> None:
    engine = FakeLabEngine()
    record(engine, store, "Own", TASKS, [SMALL], Reports())
    assert store.recorded(SET)[0].disturbed == 0
    for prompt_id, answer in store.answers(SET, SMALL.key, engine.WEIGHTS).items():
        store.keep_answer(SET, prompt_id, SMALL.key, engine.WEIGHTS, answer, {"threads": 2})
    assert store.recorded(SET)[0].disturbed is None
    assert not RouterLab(runs, tmp_path).data_set(SET).disturbed


def test_what_is_recorded_is_not_asked_again_unless_the_weights_changed(store: RouterStore) -> None:
    engine = FakeLabEngine()
    record(engine, store, "Own", TASKS, [SMALL], Reports())
    record(engine, store, "Own", TASKS, [SMALL], Reports())
    assert len(engine.requests) == 3
    engine.WEIGHTS = "cd" * 32
    record(engine, store, "Own", TASKS, [SMALL], Reports())
    assert len(engine.requests) == 6
    assert len(store.recorded(SET)) == 2


def test_a_cancelled_recording_goes_on_where_it_stopped(store: RouterStore) -> None:
    engine = FakeLabEngine()
    with pytest.raises(JobCancelled):
        record(engine, store, "Own", TASKS, [SMALL, LARGE], Reports("large@int4 · prompt 2"))
    assert len(store.answers(SET, LARGE.key, engine.WEIGHTS)) == 1
    resumed = Reports()
    record(engine, store, "Own", TASKS, [SMALL, LARGE], resumed)
    assert len(engine.requests) == 6
    assert resumed.fractions[1] == pytest.approx(4 / 6)


def test_a_part_is_recorded_under_the_whole_set_and_completed_later(
    store: RouterStore, runs: RunStore, tmp_path: Path
) -> None:
    engine = FakeLabEngine()
    record(engine, store, "Own", TASKS, [SMALL], Reports(), only={"moon"})
    assert store.answers(SET, SMALL.key, engine.WEIGHTS).keys() == {"moon"}
    assert RouterLab(runs, tmp_path).data_set(SET).size == 3
    record(engine, store, "Own", TASKS, [SMALL], Reports())
    assert [request.prompt for request in engine.requests] == [TASKS[n].prompt for n in (1, 0, 2)]


def test_recorded_again_each_answer_stays_until_the_new_one_is_there(store: RouterStore) -> None:
    engine = FakeLabEngine()
    record(engine, store, "Own", TASKS, [SMALL], Reports())
    engine.tokens = ["New", "."]
    with pytest.raises(JobCancelled):
        record(engine, store, "Own", TASKS, [SMALL], Reports("prompt 3 of 3"), again=True)
    texts = {name: answer.text for name, answer in store.answers(SET, SMALL.key, engine.WEIGHTS).items()}
    assert texts == {"sky": "New.", "moon": "New.", "open": "The sky scatters blue light."}
    assert store.recorded(SET)[0].to_renew == 1
    record(engine, store, "Own", TASKS, [SMALL], Reports())
    assert {answer.text for answer in store.answers(SET, SMALL.key, engine.WEIGHTS).values()} == {"New."}
    assert store.recorded(SET)[0].to_renew == 0
    assert len(engine.requests) == 6


def test_a_recording_says_what_is_loaded_for_it(models_dir: Path, store: RouterStore) -> None:
    reports = Reports()
    tier = Tier(model=SMALL_MODEL, precision=Precision.INT4)
    with closing(Engine(models_dir)) as engine:
        record(engine, store, "One", TASKS[1:2], [tier], reports)
    assert any(stage.startswith("Loading") for stage in reports.stages), reports.stages


def test_an_answer_to_a_set_that_was_deleted_meanwhile_ends_the_recording(store: RouterStore) -> None:
    class Deleting(Reports):
        def __call__(self, stage: str, fraction: float, /, *, loading: float | None = None) -> None:
            if "prompt 2" in stage and store.sets():
                store.delete_set(SET)

    with pytest.raises(GoneError):
        record(FakeLabEngine(), store, "Own", TASKS, [SMALL], Deleting())


def test_a_failed_run_says_which_prompt_and_keeps_the_others(store: RouterStore) -> None:
    engine = FakeLabEngine()
    record(engine, store, "Own", TASKS, [SMALL], Reports())
    engine.failure = GearboxError("The memory is full.")
    with pytest.raises(LabError, match=r"large@int4 could not answer “sky”: The memory is full"):
        record(engine, store, "Own", TASKS, [LARGE], Reports())
    assert len(store.answers(SET, SMALL.key, engine.WEIGHTS)) == 3


def test_an_answer_that_cannot_be_judged_has_no_score_and_the_recording_goes_on(store: RouterStore) -> None:
    endless = Task(
        id="slow", category="c", prompt="?", checker="regex", expected={"pattern": r"^(\w+\s?)+!$"}, max_tokens=64
    )
    engine = FakeLabEngine(["word "] * 40 + ["."])
    record(engine, store, "Own", [endless, TASKS[0]], [SMALL], Reports())
    kept = store.answers(tasks_sha256([endless, TASKS[0]]), SMALL.key, engine.WEIGHTS)
    assert {name: found.score for name, found in kept.items()} == {"slow": None, "sky": 0.0}


def test_code_is_left_out_where_it_cannot_be_checked_safely(store: RouterStore) -> None:
    tasks = (*TASKS, CODE)
    engine = FakeLabEngine()
    record(engine, store, "Own", tasks, [SMALL], Reports(), sandbox=lambda: "No sandbox here.")
    assert len(engine.requests) == 3
    checkable = Checkable.of(tasks, lambda: "No sandbox here.")
    assert (checkable.left_out, checkable.reason) == (1, "No sandbox here.")
    assert Checkable.of(tasks, lambda: None).left_out == 0


def test_the_sandbox_is_not_tried_without_need() -> None:
    def never() -> str | None:
        raise AssertionError

    assert Checkable.of(TASKS, never).left_out == 0


def test_a_tier_is_told_by_its_key() -> None:
    assert Tier.from_key("a@b@int4") == Tier(model="a@b", precision=Precision.INT4)


def test_a_real_model_is_recorded_with_all_that_a_router_looks_at(engine: Engine, store: RouterStore) -> None:
    tiers = [Tier(model=SMALL_MODEL, precision=Precision.INT4), Tier(model=SMALL_MODEL, precision=Precision.INT8)]
    tasks = tuple(replace(task, max_tokens=6) for task in load_tasks(MIXED_FILE) if task.checker != "code")[:2]
    record(engine, store, "Two prompts", tasks, tiers, Reports())
    for tier in tiers:
        kept = store.answers(tasks_sha256(tasks), tier.key, engine.weights_sha256(SMALL_MODEL))
        assert kept.keys() == {task.id for task in tasks}
        for answer in kept.values():
            assert 0 < len(answer.margins) == len(answer.logprobs) == len(answer.token_ids) <= 6
            assert answer.score in (0.0, 1.0)
            assert answer.e2e_s >= answer.first_token_s > 0


class ChoosyEngine(FakeLabEngine):
    """Takes no prompt with an X, as a model takes none that is too long."""

    def fails(self, request: GenerationRequest) -> GearboxError | None:
        return ContextLengthError(9000, 8192) if "X" in request.prompt else None


def test_a_prompt_that_a_tier_cannot_take_keeps_no_other_from_being_answered(store: RouterStore) -> None:
    tasks = (replace(TASKS[0], id="long", prompt="X"), *TASKS)
    with pytest.raises(LabError, match=r"One prompt was left out .*“long” by small@int4 .The prompt is"):
        record(ChoosyEngine(), store, "Own", tasks, [SMALL], Reports())
    kept = store.answers(tasks_sha256(tasks), SMALL.key, FakeLabEngine.WEIGHTS)
    assert kept.keys() == {"sky", "moon", "open"}


def test_a_set_of_half_characters_is_recorded_whole_and_not_asked_again(store: RouterStore, runs: RunStore) -> None:
    line = (
        r'{"prompt": "half \ud83d", "id": "a\ud83d", "checker": "exact", "expected": "x\ud83d", "category": "\udc00"}'
    )
    table = read_table("own.jsonl", line.encode())
    tasks = convert(table, guess(table)).tasks
    engine = FakeLabEngine()
    record(engine, store, "Own", tasks, [SMALL], Reports())
    record(engine, store, "Own", store.tasks(tasks_sha256(tasks)), [SMALL], Reports())
    assert [request.prompt for request in engine.requests] == ["half \ufffd"]
    data = RouterLab(runs, Path("nowhere")).data_set(tasks_sha256(tasks))
    assert [(prompt.prompt_id, prompt.prompt) for prompt in data.prompts] == [("a\ufffd", "half \ufffd")]


# --- many prompts ---------------------------------------------------------------------------------

MANY = tuple(replace(TASKS[0], id=f"t{n}", prompt=f"Why is {'very ' * n}{n} blue?") for n in range(30))
MANY_SET = tasks_sha256(MANY)


class Company(FakeLabEngine):
    """Counts how many are answered at once."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0

    def generate(self, request: GenerationRequest) -> FakeGeneration:
        generation = super().generate(request)
        beside = [each for each in self.generations if not each.over]
        self.most = max(self.most, len(beside))
        assert not request.exclusive or beside == [generation]
        return generation


def estimated(store: RouterStore, engine: FakeLabEngine) -> set[str]:
    found = store.recorded_answers(MANY_SET, SMALL.key, engine.WEIGHTS)
    return {prompt_id for prompt_id, each in found.items() if each.is_estimated}


def test_of_many_prompts_some_are_timed_alone_and_the_rest_are_answered_together(
    store: RouterStore, runs: RunStore, tmp_path: Path
) -> None:
    engine, reports = Company(), Reports()
    record(engine, store, "Many", MANY, [SMALL], reports)
    alone = [request.prompt for request in engine.requests if request.exclusive]
    assert alone == [request.prompt for request in engine.requests[:TIMED_ALONE]]
    assert len(engine.requests) == len(MANY)
    assert 1 < engine.most <= AT_ONCE
    assert len({request.cache_salt for request in engine.requests}) == 1, "one session, so that others come between"
    assert estimated(store, engine) == {task.id for task in MANY if task.prompt not in alone}
    (tier,) = store.recorded(MANY_SET)
    assert (tier.answers, tier.estimated, tier.timed_alone, tier.disturbed) == (30, 22, TIMED_ALONE, 0)
    assert reports.fractions == sorted(reports.fractions)
    assert reports.fractions[-2] == pytest.approx(1 - 1 / (22 + 2 * TIMED_ALONE))
    data = RouterLab(runs, tmp_path).data_set(MANY_SET)
    assert len(data.prompts) == 30
    assert [prompt.prompt for prompt in data.timed if prompt.answers] == alone


def test_a_recording_of_many_that_was_cancelled_goes_on_and_times_no_more_than_it_needs(store: RouterStore) -> None:
    engine = Company()
    with pytest.raises(JobCancelled):
        record(engine, store, "Many", MANY, [SMALL], Reports("prompt 6 of 30"))
    with pytest.raises(JobCancelled):
        record(engine, store, "Many", MANY, [SMALL], Reports("prompt 16 of 30"))
    assert len(store.answers(MANY_SET, SMALL.key, engine.WEIGHTS)) == 15
    assert all(generation.over for generation in engine.generations)
    record(engine, store, "Many", MANY, [SMALL], Reports())
    assert len(store.answers(MANY_SET, SMALL.key, engine.WEIGHTS)) == 30
    assert len(estimated(store, engine)) == 30 - TIMED_ALONE
    assert sum(request.exclusive for request in engine.requests) == TIMED_ALONE


def test_answers_of_another_machine_and_disturbed_ones_are_not_what_times_are_estimated_from(
    store: RouterStore,
) -> None:
    engine = Company()
    engine.disturbances = [DISTURBED] * 8
    record(engine, store, "Many", MANY, [SMALL], Reports(), only={task.id for task in MANY[:4]})
    for task in MANY[4:8]:
        store.keep_answer(
            MANY_SET, task.id, SMALL.key, engine.WEIGHTS, cascade.answer(), {"cpu": "Z80", "disturbed": None}
        )
    record(engine, store, "Many", MANY, [SMALL], Reports())
    assert sum(request.exclusive for request in engine.requests) == 8 + TIMED_ALONE
    assert store.recorded(MANY_SET)[0].timed_alone == TIMED_ALONE


def test_a_prompt_that_is_refused_is_not_timed_and_another_is_instead(store: RouterStore) -> None:
    long = [replace(task, prompt="X" * 999 + task.prompt) for task in MANY[:20]]
    engine = ChoosyEngine()
    tasks = (*long, *MANY[20:], *(replace(task, id=f"more {task.id}") for task in MANY))
    with pytest.raises(LabError, match="20 prompts were left out"):
        record(engine, store, "Many", tasks, [SMALL], Reports())
    (tier,) = store.recorded(tasks_sha256(tasks))
    assert (tier.answers, tier.estimated) == (40, 40 - TIMED_ALONE)


def test_answers_whose_times_cannot_be_estimated_have_the_engine_alone_too(store: RouterStore) -> None:
    short = [replace(task, max_tokens=1) for task in MANY]
    tasks = (*short, replace(MANY[0], id="long", prompt="Why?"))
    engine = FakeLabEngine()
    by_length = sorted(tasks, key=lambda task: len(task.prompt))
    assert by_length[0].id == "long", "the shortest is none of those that are timed first"
    record(engine, store, "Many", tasks, [SMALL], Reports())
    found = store.recorded_answers(tasks_sha256(tasks), SMALL.key, engine.WEIGHTS)
    assert len(found) == 31
    assert not found["long"].is_estimated
    assert engine.requests[-1].exclusive


def test_a_failure_among_many_keeps_what_was_answered_and_says_which_failed(store: RouterStore) -> None:
    class Failing(Company):
        def fails(self, request: GenerationRequest) -> GearboxError | None:
            return GearboxError("The memory is full.") if request.prompt == MANY[15].prompt else None

    engine = Failing()
    with pytest.raises(LabError, match=r"small@int4 could not answer “t15”: The memory is full"):
        record(engine, store, "Many", MANY, [SMALL], Reports())
    assert len(store.answers(MANY_SET, SMALL.key, engine.WEIGHTS)) >= TIMED_ALONE
    assert all(generation.over for generation in engine.generations)


@pytest.mark.slow
def test_a_real_model_says_the_same_together_as_one_after_the_other(engine: Engine, store: RouterStore) -> None:
    tier = Tier(model=SMALL_MODEL, precision=Precision.INT4)
    fit = [task for task in load_tasks(MIXED_FILE) if task.checker != "code"]
    tasks = tuple(replace(task, max_tokens=min(24, task.max_tokens)) for task in fit[:: len(fit) // 20][:20])
    weights = engine.weights_sha256(SMALL_MODEL)
    record(engine, store, "Together", tasks, [tier], Reports())
    together = store.recorded_answers(tasks_sha256(tasks), tier.key, weights)
    assert sum(each.is_estimated for each in together.values()) == 20 - TIMED_ALONE
    for few in (tasks[:10], tasks[10:]):
        record(engine, store, "Alone", few, [tier], Reports())
        for prompt_id, alone in store.answers(tasks_sha256(few), tier.key, weights).items():
            found = together[prompt_id].answer
            unmeasured = {"prefill_s": 0.0, "ttft_s": None, "e2e_s": 0.0}
            assert replace(found, **unmeasured) == replace(alone, **unmeasured)
            assert 0 < found.prefill_s <= found.first_token_s <= found.e2e_s


@pytest.mark.slow
def test_a_race_comes_between_the_answers_of_a_recording_and_has_the_engine_alone(
    engine: Engine, store: RouterStore
) -> None:
    under_way, enough = threading.Event(), threading.Event()

    def report(stage: str, fraction: float, /, *, loading: float | None = None) -> None:
        if f"prompt {TIMED_ALONE + 4} of" in stage:
            under_way.set()
        if enough.is_set():
            raise JobCancelled

    fit = [task for task in load_tasks(MIXED_FILE) if task.checker != "code"]
    tasks = tuple(replace(task, max_tokens=min(32, task.max_tokens)) for task in fit)
    tier = Tier(model=SMALL_MODEL, precision=Precision.INT4)
    lane = replace(tasks[0].request(SMALL_MODEL, Precision.INT4), cache_salt="person", exclusive=True)
    with ThreadPoolExecutor(1) as pool:
        recording = pool.submit(record, engine, store, "Whole", tasks, [tier], report)
        try:
            assert under_way.wait(120)
            run = answer_unkept(engine, lane, lambda run: None)
            assert not recording.done()
            assert run.metrics
            assert not run.metrics.is_shared
        finally:
            enough.set()
        assert isinstance(recording.exception(60), JobCancelled)
    until = time.monotonic() + 60
    while engine.status().running or engine.status().queued:  # what was closed ends with the pass that it is in
        assert time.monotonic() < until
        time.sleep(0.01)
