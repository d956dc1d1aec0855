"""The lab's work on a corpus: what it keeps, where it goes on, what it reuses, and how it ends when something fails."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from app.background.jobs import JobCancelled, Jobs, Report
from app.quantization.corpus import SPEED_EFFORT, SPEED_RUNS, WINDOW_EFFORT, measure_corpus
from app.quantization.lab import LabError
from app.store import LabStore, RunStore
from engine import Corpus, CorpusPrompt, Window
from engine.errors import CorpusError, GearboxError
from engine.models.sources.progress import Progress, silent
from engine.types import GenerationRequest, Precision
from tests.support.disturbing import DISTURBED, QUIET, WHY
from tests.support.fakes import FakeGeneration, FakeLabEngine
from tests.support.quantization_lab import BOTH, MODEL, PROMPTS, TEXT, ChoosyEngine, Reports, wait_until


def test_a_corpus_is_measured_whole(lab: LabStore) -> None:
    engine, reports = FakeLabEngine(n_windows=3, klds={"int4": 0.2}), Reports()
    measure_corpus(engine, lab, MODEL, BOTH, TEXT, reports)
    results = {result.precision: result for result in lab.corpus_results(MODEL)}
    assert results["int4"].stats is not None
    assert results["int4"].stats.tokens == 6
    assert results["int4"].stats.kld_mean == pytest.approx(0.2)
    assert results["bf16"].stats is not None
    assert results["bf16"].stats.kld_max == 0
    speeds = {speed.precision: speed for speed in lab.speeds(MODEL)}
    assert speeds["int4"].tokens_per_second == pytest.approx(100)
    assert speeds["int4"].environment["threads"] == 2
    assert len(engine.requests) == 2 * SPEED_RUNS
    assert reports.fractions == sorted(reports.fractions)
    assert (reports.stages[-1], reports.fractions[-1]) == ("Done", 1.0)


def test_prompts_are_answered_once_for_the_weights(lab: LabStore) -> None:
    engine = FakeLabEngine()
    measure_corpus(engine, lab, MODEL, [Precision.INT4], PROMPTS, Reports())
    assert engine.answered == list(PROMPTS.prompts)
    measure_corpus(engine, lab, MODEL, [Precision.NF4], PROMPTS, Reports())
    assert engine.answered == list(PROMPTS.prompts)
    assert {window for _, window in engine.compared} == {
        window for windows in lab.answers(engine.WEIGHTS, PROMPTS.sha256).values() for window in windows
    }


def test_what_is_finished_is_reused_unless_asked_for_again(lab: LabStore) -> None:
    engine = FakeLabEngine(n_windows=3)
    measure_corpus(engine, lab, MODEL, BOTH, TEXT, Reports())
    compared, asked = len(engine.compared), len(engine.requests)
    measure_corpus(engine, lab, MODEL, BOTH, TEXT, Reports())
    assert (len(engine.compared), len(engine.requests)) == (compared, asked)
    measure_corpus(engine, lab, MODEL, BOTH, TEXT, Reports(), again=True)
    assert (len(engine.compared), len(engine.requests)) == (2 * compared, 2 * asked)


@pytest.mark.parametrize(
    "cancel_at", ["Answering in 16 bits · prompt 2", "int4 · window 2", "bf16 · speed, run 3", "int4 · speed, run 2"]
)
def test_cancelled_work_goes_on_where_it_stopped_even_after_a_restart(
    tmp_path: Path, store: RunStore, lab: LabStore, cancel_at: str
) -> None:
    engine, reports = FakeLabEngine(), Reports(cancel_at)
    with pytest.raises(JobCancelled):
        measure_corpus(engine, lab, MODEL, BOTH, PROMPTS, reports)
    stopped_at = reports.fractions[-1]
    store.close()
    reopened = RunStore.open(f"sqlite:///{tmp_path / 'gearbox.db'}")
    resumed = Reports()
    measure_corpus(engine, reopened.lab, MODEL, BOTH, PROMPTS, resumed)
    assert engine.answered == list(PROMPTS.prompts)
    assert len(engine.compared) == len(set(engine.compared)) == 2 * len(PROMPTS.prompts)
    # speed runs of a precision are kept together: a broken-off set is run again
    assert resumed.fractions[0] == pytest.approx(stopped_at, abs=SPEED_RUNS / 15)
    assert resumed.fractions[0] > 0
    assert all(result.stats for result in reopened.lab.corpus_results(MODEL))
    reopened.close()


def test_a_disturbed_speed_is_measured_once_more_and_stays_out_of_the_median(lab: LabStore) -> None:
    engine = FakeLabEngine()
    # the first run twice, the second once more, the third at once
    engine.disturbances = [DISTURBED, DISTURBED, DISTURBED, QUIET, QUIET]
    measure_corpus(engine, lab, MODEL, [Precision.INT4], TEXT, Reports())
    assert len(engine.requests) == SPEED_RUNS + 2
    (speed,) = lab.speeds(MODEL)
    assert (speed.disturbed, speed.tokens_per_second) == (None, pytest.approx(100))


def test_a_speed_whose_runs_were_all_disturbed_says_so(lab: LabStore) -> None:
    engine = FakeLabEngine()
    engine.disturbances = [DISTURBED] * (2 * SPEED_RUNS)
    measure_corpus(engine, lab, MODEL, [Precision.INT4], TEXT, Reports())
    (speed,) = lab.speeds(MODEL)
    assert (speed.disturbed, speed.tokens_per_second) == (WHY, pytest.approx(25))


@pytest.mark.parametrize("again", [False, True])
def test_two_servers_at_the_same_job_store_its_speeds_once(tmp_path: Path, store: RunStore, again: bool) -> None:
    if again:
        measure_corpus(FakeLabEngine(n_windows=3), store.lab, MODEL, BOTH, TEXT, Reports())
    other = RunStore.open(f"sqlite:///{tmp_path / 'gearbox.db'}")
    begun = threading.Barrier(2)

    class Together(Reports):
        def __call__(self, stage: str, fraction: float) -> None:
            if stage.endswith("window 1 of 3") and stage.startswith(BOTH[0]):
                begun.wait(timeout=60)  # both have begun the same result
            super().__call__(stage, fraction)

    def measure(server: RunStore) -> None:
        measure_corpus(FakeLabEngine(n_windows=3), server.lab, MODEL, BOTH, TEXT, Together(), again=again)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(measure, server) for server in (store, other)]:
            done.result(timeout=120)
    with closing(sqlite3.connect(tmp_path / "gearbox.db")) as beside:
        kept = beside.execute("SELECT precision, count(*) FROM lab_speeds GROUP BY precision").fetchall()
        measured = beside.execute("SELECT precision, count(*) FROM lab_corpus_results GROUP BY precision").fetchall()
    times = 2 if again else 1
    assert dict(kept) == dict(measured) == {"bf16": times, "int4": times}
    assert len(store.lab.speeds(MODEL)) == len(store.lab.corpus_results(MODEL)) == 2
    other.close()


def test_a_server_that_comes_late_to_a_job_stores_no_second_speed(tmp_path: Path, store: RunStore) -> None:
    other = RunStore.open(f"sqlite:///{tmp_path / 'gearbox.db'}")

    class Overtaken(Reports):
        """While this server measures its first speed, another one does the whole job."""

        def __call__(self, stage: str, fraction: float) -> None:
            super().__call__(stage, fraction)
            if stage.endswith(f"speed, run {SPEED_RUNS} of {SPEED_RUNS}") and len(other.lab.speeds(MODEL)) == 0:
                measure_corpus(FakeLabEngine(n_windows=3), other.lab, MODEL, BOTH, TEXT, Reports())

    measure_corpus(FakeLabEngine(n_windows=3), store.lab, MODEL, BOTH, TEXT, Overtaken())
    with closing(sqlite3.connect(tmp_path / "gearbox.db")) as beside:
        kept = beside.execute("SELECT precision, count(*) FROM lab_speeds GROUP BY precision").fetchall()
    assert dict(kept) == {"bf16": 1, "int4": 1}
    other.close()


def test_a_speed_measured_on_another_machine_stands_beside_the_first(lab: LabStore) -> None:
    engine = FakeLabEngine(n_windows=3)
    measure_corpus(engine, lab, MODEL, [Precision.INT4], TEXT, Reports())
    there = lab.speeds(MODEL)[0]
    for device in ("cuda", "cpu"):
        lab.add_speed(
            model=MODEL, weights_sha256=there.weights_sha256, precision="int4", tokens_per_second=1.0, ttft_s=1.0,
            weights_bytes=1, environment={}, measurement=f"x {device}",
        )  # fmt: skip
    lab.add_speed(
        model=MODEL, weights_sha256=there.weights_sha256, precision="int4", tokens_per_second=2.0, ttft_s=1.0,
        weights_bytes=1, environment={}, measurement="x cpu",
    )  # fmt: skip
    assert lab.speeds(MODEL)[0].tokens_per_second == 1.0


def test_a_failed_run_is_an_error_for_the_user_and_keeps_what_was_measured(lab: LabStore) -> None:
    engine = FakeLabEngine(n_windows=3, failure=GearboxError("The memory is full."))
    with pytest.raises(LabError, match="The memory is full"):
        measure_corpus(engine, lab, MODEL, [Precision.INT4], TEXT, Reports())
    assert lab.corpus_results(MODEL)[0].stats
    assert lab.speeds(MODEL) == ()


def test_a_corpus_that_cannot_be_cut_says_why(lab: LabStore, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeLabEngine()

    def refuse(*_: object) -> None:
        raise CorpusError("The corpus is shorter than a window.")

    monkeypatch.setattr(engine, "windows", refuse)
    with pytest.raises(CorpusError, match="shorter than a window"):
        measure_corpus(engine, lab, MODEL, BOTH, TEXT, Reports())


def test_a_model_that_answers_nothing_leaves_nothing_to_score(lab: LabStore) -> None:
    engine = FakeLabEngine(n_windows=0)
    with pytest.raises(LabError, match="nothing to score"):
        measure_corpus(engine, lab, MODEL, BOTH, TEXT, Reports())


def test_two_jobs_at_once_both_finish(lab: LabStore, jobs: Jobs) -> None:
    meeting = threading.Barrier(2, timeout=20)
    met: set[Precision] = set()

    def meet(precision: Precision) -> None:
        if precision not in met:
            met.add(precision)
            meeting.wait()

    engine = FakeLabEngine(n_windows=4, before_window=meet)
    for key, precision, corpus in (("one", Precision.INT4, TEXT), ("two", Precision.NF4, PROMPTS)):

        def work(
            report: Callable[[str, float], None], precision: Precision = precision, corpus: Corpus = corpus
        ) -> None:
            measure_corpus(engine, lab, MODEL, [precision], corpus, report)

        assert jobs.submit(key, work)
    wait_until(lambda: all((job := jobs.state(key)) is not None and not job.running for key in ("one", "two")))
    assert [jobs.state(key).status for key in ("one", "two")] == ["done", "done"]  # type: ignore[union-attr]
    assert {(r.precision, r.scored) for r in lab.corpus_results(MODEL)} == {("int4", 4), ("nf4", 3)}


def test_a_cancelled_job_can_be_resumed_and_reckons_its_time_from_there(lab: LabStore, jobs: Jobs) -> None:
    gate, reached = threading.Event(), threading.Event()
    engine = FakeLabEngine(n_windows=4)

    def hold(_: Precision) -> None:
        if len(engine.compared) == 2 and not gate.is_set():
            reached.set()
            gate.wait(20)

    engine.before_window = hold
    assert jobs.submit("job", partial(measure_corpus, engine, lab, MODEL, [Precision.INT4], TEXT))
    assert reached.wait(20)
    jobs.cancel("job")
    gate.set()
    wait_until(lambda: not jobs.state("job").running)  # type: ignore[union-attr]
    assert jobs.state("job").status == "cancelled"  # type: ignore[union-attr]
    (result,) = lab.corpus_results(MODEL)
    assert 2 <= result.scored < 4

    begun: list[float] = []

    def go_on(report: Report) -> None:
        def noted(stage: str, fraction: float, *, loading: float | None = None) -> None:
            begun.append(fraction)
            report(stage, fraction, loading=loading)

        measure_corpus(engine, lab, MODEL, [Precision.INT4], TEXT, noted)

    assert jobs.submit("job", go_on)
    wait_until(lambda: not jobs.state("job").running)  # type: ignore[union-attr]
    state = jobs.state("job")
    assert state is not None
    assert state.status == "done"
    window, speed = WINDOW_EFFORT["text"], SPEED_RUNS * SPEED_EFFORT
    assert begun[0] == pytest.approx(result.scored * window / (4 * window + speed))
    assert len(set(engine.compared)) == 4


def test_a_prompt_that_the_model_cannot_take_is_left_out_and_said_and_does_not_come_back(lab: LabStore) -> None:
    corpus = Corpus(name="Odd", prompts=tuple(map(CorpusPrompt, ("One", "X", "half \ud83d"))))
    assert corpus.prompts[2].prompt == "half \ufffd"
    engine = ChoosyEngine()
    with pytest.raises(LabError, match=r"One prompt was left out .*prompt 2 \(The prompt is"):
        measure_corpus(engine, lab, MODEL, BOTH, corpus, Reports())
    assert {result.scored for result in lab.corpus_results(MODEL)} == {2}
    assert all(result.stats for result in lab.corpus_results(MODEL))
    measure_corpus(engine, lab, MODEL, BOTH, corpus, Reports())
    assert len(engine.compared) == 4


class Slow(FakeLabEngine):
    """On a clock of its own: loading takes 35 s, an answer 6 s, a window 3 s, a run for the speed 5 s."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0
        self.before_window = lambda _: self.pass_time(3.0)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    def windows(self, model: str, corpus: Corpus, progress: Progress = silent) -> tuple[Window, ...]:
        self.pass_time(6.0 if self.answered else 41.0)
        return super().windows(model, corpus, progress)

    def generate(self, request: GenerationRequest) -> FakeGeneration:
        self.pass_time(5.0)
        return super().generate(request)


def test_the_time_left_of_a_corpus_is_within_a_factor_from_when_it_is_first_said(
    lab: LabStore, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, corpus = Slow(), Corpus(name="Many", prompts=tuple(CorpusPrompt(f"Question {n}?") for n in range(21)))
    monkeypatch.setattr("app.background.jobs.monotonic", lambda: engine.now)
    said: list[tuple[float, float]] = []

    def work(report: Report) -> None:
        def noted(stage: str, fraction: float, /, *, loading: float | None = None) -> None:
            report(stage, fraction, loading=loading)
            state = jobs.state("job")
            if state and state.remaining_s is not None and fraction < 0.95:
                said.append((engine.now, state.remaining_s))

        measure_corpus(engine, lab, MODEL, BOTH, corpus, noted)

    assert jobs.submit("job", work)
    wait_until(lambda: not jobs.state("job").running)  # type: ignore[union-attr]
    assert len(said) > 50
    assert all(0.5 < left / (engine.now - now) < 2.0 for now, left in said)
