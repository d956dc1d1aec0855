"""What the labs keep: nothing is lost, results are found again, a measurement goes on where it stopped."""

from __future__ import annotations

import tempfile
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from app.store import AlarmLimits, LabStore, RunStore, StoreError, TaskAnswer
from app.store.labs.packing import pack_divergence, unpack_divergence
from engine import Corpus, CorpusPrompt, DivergenceStats, Window, WindowDivergence
from tests.support.cascading import make_cascade_report
from tests.support.drafting import make_report
from tests.support.fakes import make_divergence, make_metrics, make_request
from tests.support.stores import new_database
from tests.support.ui import add_run

CORPUS = Corpus(name="Sea", text="The sea, the sea.")
IDENTITY = {"model": "small", "weights_sha256": "w", "precision": "int4", "corpus_sha256": CORPUS.sha256}
TASKS = {"model": "small", "weights_sha256": "w", "precision": "int4", "tasks_sha256": "t"}
SPEED: dict[str, Any] = {
    "model": "small",
    "weights_sha256": "w",
    "precision": "int4",
    "tokens_per_second": 99.5,
    "ttft_s": 0.2,
    "weights_bytes": 90 << 20,
    "environment": {"cpu": "x", "threads": 2},
}


@pytest.fixture
def lab(store: RunStore) -> LabStore:
    store.lab.keep_corpus(CORPUS)
    return store.lab


def same(first: WindowDivergence, other: WindowDivergence) -> bool:
    """Bit for bit, NaNs included."""
    return all(getattr(first, f.name).tobytes() == getattr(other, f.name).tobytes() for f in fields(first))


# --- packing --------------------------------------------------------------------------------------


@given(st.lists(st.tuples(*[st.floats(width=32)] * 4, st.booleans())))
def test_per_token_figures_come_back_bit_for_bit(tokens: list[tuple[float, float, float, float, bool]]) -> None:
    columns = list(zip(*tokens, strict=True)) or [()] * 5
    kld, delta_p, nll_ref, nll_cand = (np.asarray(column, dtype=np.float32) for column in columns[:4])
    figures = WindowDivergence(
        kld=kld,
        delta_p=delta_p,
        same_top=np.asarray(columns[4], dtype=np.bool_),
        nll_ref=nll_ref,
        nll_cand=nll_cand,
    )
    assert same(unpack_divergence(pack_divergence(figures)), figures)


# --- corpora --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "corpus",
    [
        Corpus(name="Text", text="Snow ☃, NUL \x00."),
        Corpus(name="Prompts", prompts=(CorpusPrompt("Why?"), CorpusPrompt("How?", "Be brief."))),
    ],
)
def test_a_corpus_comes_back_whole_under_its_hash(store: RunStore, corpus: Corpus) -> None:
    store.lab.keep_corpus(corpus)
    store.lab.keep_corpus(corpus)
    assert store.lab.corpus(corpus.sha256) == corpus
    assert [(kept.sha256, kept.name) for kept in store.lab.corpora()] == [(corpus.sha256, corpus.name)]
    assert store.lab.corpus("nothing") is None


def test_answers_are_kept_by_weights_corpus_and_place(lab: LabStore) -> None:
    windows = (Window((1, 2, 3), 1), Window((4, 5), 1))
    lab.keep_answer("w", CORPUS.sha256, 0, windows)
    lab.keep_answer("w", CORPUS.sha256, 4, ())
    lab.keep_answer("other", CORPUS.sha256, 0, windows[:1])
    assert lab.answers("w", CORPUS.sha256) == {0: windows, 4: ()}
    assert lab.answers("w", "another corpus") == {}


# --- divergence -----------------------------------------------------------------------------------


def test_an_unfinished_result_is_gone_on_with_and_a_finished_one_is_reused(lab: LabStore) -> None:
    first = lab.begin_corpus_result(**IDENTITY, windows=2)
    lab.keep_window(first, 1, make_divergence([0.1]))
    assert lab.begin_corpus_result(**IDENTITY, windows=2) == first
    (known,) = lab.corpus_results("small")
    assert (known.scored, known.windows, known.stats, known.corpus_name) == (1, 2, None, "Sea")

    lab.keep_window(first, 0, make_divergence([0.2]))
    stats = DivergenceStats.from_tokens(WindowDivergence.concatenate(list(lab.windows(first).values())))
    lab.finish_corpus_result(first, stats)
    assert lab.begin_corpus_result(**IDENTITY, windows=2) == first
    assert lab.corpus_results("small")[0].stats == stats


def test_measuring_again_leaves_the_figures_in_place_until_the_new_ones_are_finished(lab: LabStore) -> None:
    old, new_stats = _finished(lab, 0.1), DivergenceStats.from_tokens(make_divergence([0.3]))
    new = lab.begin_corpus_result(**IDENTITY, windows=1, again=True)
    assert new != old
    assert lab.begin_corpus_result(**IDENTITY, windows=1, again=True) == new
    assert lab.begin_corpus_result(**IDENTITY, windows=1) == old
    assert lab.corpus_results("small")[0].id == old
    lab.finish_corpus_result(new, new_stats)
    assert [(r.id, r.stats) for r in lab.corpus_results("small")] == [(new, new_stats)]
    assert lab.windows(old)


@pytest.mark.parametrize(
    "change", [{"weights_sha256": "v"}, {"precision": "nf4"}, {"corpus_sha256": Corpus(name="x", text="y").sha256}]
)
def test_another_identity_is_another_result(lab: LabStore, change: dict[str, str]) -> None:
    lab.keep_corpus(Corpus(name="x", text="y"))
    first = _finished(lab, 0.1)
    other = lab.begin_corpus_result(**(IDENTITY | change), windows=1)
    assert other != first
    assert {result.id for result in lab.corpus_results()} == {first, other}


def test_a_result_of_a_corpus_that_was_not_kept_is_refused(store: RunStore) -> None:
    with pytest.raises(StoreError, match=r"(?i)foreign key"):
        store.lab.begin_corpus_result(**IDENTITY, windows=1)


def _finished(lab: LabStore, kld: float) -> str:
    result_id = lab.begin_corpus_result(**IDENTITY, windows=1)
    lab.keep_window(result_id, 0, make_divergence([kld]))
    lab.finish_corpus_result(result_id, DivergenceStats.from_tokens(make_divergence([kld])))
    return result_id


# --- speed and tasks ------------------------------------------------------------------------------


def test_the_newest_speed_of_each_weights_and_precision_counts(lab: LabStore) -> None:
    lab.add_speed(**SPEED)
    lab.add_speed(**(SPEED | {"tokens_per_second": 120.0}))
    lab.add_speed(**(SPEED | {"precision": "nf4"}))
    lab.add_speed(**(SPEED | {"model": "large"}))
    assert [(s.precision, s.tokens_per_second) for s in lab.speeds("small")] == [("nf4", 99.5), ("int4", 120.0)]
    assert lab.speeds("small")[0].environment == {"cpu": "x", "threads": 2}


def test_task_answers_accumulate_until_the_result_is_finished(lab: LabStore) -> None:
    first = lab.begin_task_result(**TASKS, tasks=2)
    lab.keep_task_answer(first, "a", TaskAnswer("42", True))
    assert lab.begin_task_result(**TASKS, tasks=2) == first
    assert not lab.task_results("small")[0].finished
    lab.keep_task_answer(first, "b", TaskAnswer("", False))
    assert lab.begin_task_result(**TASKS, tasks=2) == first
    (result,) = lab.task_results("small")
    assert result.finished
    assert result.answers == {"a": TaskAnswer("42", True), "b": TaskAnswer("", False)}

    again = lab.begin_task_result(**TASKS, tasks=2, again=True)
    assert again != first
    assert lab.task_results("small")[0].id == first
    for task in ("a", "b"):
        lab.keep_task_answer(again, task, TaskAnswer("7", False))
    assert lab.task_results("small")[0].id == again
    assert lab.task_answers(first)["a"] == TaskAnswer("42", True)


def test_limits_have_defaults_and_stay_as_they_are_set(lab: LabStore) -> None:
    assert lab.limits() == AlarmLimits(kld_mean=0.15, same_top=0.85)
    lab.set_limits(AlarmLimits(kld_mean=0.5, same_top=0.7))
    lab.set_limits(AlarmLimits(kld_mean=0.25, same_top=0.7))
    assert lab.limits() == AlarmLimits(kld_mean=0.25, same_top=0.7)


def test_recent_runs_tell_a_precisions_speed_and_memory(store: RunStore) -> None:
    for tpot_s in (0.01, 0.02, 0.09):
        add_run(store, make_request(model="small"), metrics=make_metrics(tpot_s=tpot_s))
    add_run(store, make_request(model="large"), metrics=make_metrics(tpot_s=5.0))
    add_run(store, make_request(model="small"), metrics=make_metrics(tpot_s=None))
    add_run(store, make_request(model="small"), metrics=make_metrics(tpot_s=5.0), cascade=make_cascade_report())
    speeds = store.recent_speeds("small")
    assert (speeds["bf16"].runs, speeds["bf16"].tpot_s, speeds["bf16"].weights_bytes) == (3, 0.02, 150_000_000)
    assert speeds.keys() == {"bf16"}


def test_weights_of_models_that_drafted_are_none_of_a_precisions(store: RunStore) -> None:
    add_run(store, make_request(model="small"), metrics=make_metrics())
    drafted = replace(make_metrics(), weights_bytes=250_000_000)
    add_run(store, make_request(model="small"), metrics=drafted, speculation=make_report())
    assert store.recent_speeds("small")["bf16"].weights_bytes == 150_000_000
    add_run(store, make_request(model="other"), metrics=drafted, speculation=make_report())
    assert store.recent_speeds("other")["bf16"].weights_bytes is None


# --- nothing is ever lost -------------------------------------------------------------------------


class NothingIsLost(RuleBasedStateMachine):
    """Whatever is begun, kept, finished, begun again and reopened: all windows kept are there."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.url = new_database(Path(self.folder.name, "runs.db"))
        self.store = RunStore.open(self.url)
        self.store.lab.keep_corpus(CORPUS)
        self.kept: dict[str, dict[int, WindowDivergence]] = {}
        self.finished: set[str] = set()

    @rule(precision=st.sampled_from(["int4", "nf4"]), again=st.booleans(), place=st.integers(0, 2), kld=st.floats(0, 9))
    def score(self, precision: str, again: bool, place: int, kld: float) -> None:
        identity = IDENTITY | {"precision": precision}
        result_id = self.store.lab.begin_corpus_result(**identity, windows=3, again=again)
        assert not again or result_id not in self.finished
        figures = make_divergence([kld, kld / 2])
        self.store.lab.keep_window(result_id, place, figures)
        self.kept.setdefault(result_id, {})[place] = figures

    @rule()
    def finish(self) -> None:
        for result in self.store.lab.corpus_results():
            if result.scored == result.windows and result.stats is None:
                self.store.lab.finish_corpus_result(result.id, DivergenceStats.from_tokens(make_divergence([0.5])))
                self.finished.add(result.id)

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = RunStore.open(self.url)

    @invariant()
    def all_windows_are_there(self) -> None:
        for result_id, windows in self.kept.items():
            found = self.store.lab.windows(result_id)
            assert found.keys() == windows.keys()
            assert all(same(found[place], figures) for place, figures in windows.items())

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()


TestNothingIsLost = NothingIsLost.TestCase
TestNothingIsLost.settings = settings(max_examples=10, stateful_step_count=15)
