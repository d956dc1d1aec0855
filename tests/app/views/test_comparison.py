from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from app.runs.verdict import UNMEASURED
from app.store import RunStore, Timeline
from app.views.compare.comparison import LETTERS, Compared, bars, compared_metrics, differences
from app.views.compare.picker import started_together
from app.views.reports.metrics import E2E, TPOT, WEIGHTS
from engine.types import RunMetrics
from tests.support.fakes import make_metrics
from tests.support.ui import add_run


def compared(tmp_path: Path, *metrics: RunMetrics) -> list[Compared]:
    store = RunStore.open(f"sqlite:///{tmp_path / 'runs.db'}")
    runs = store.get_many([add_run(store, words=("a",) * each.completion_tokens, metrics=each) for each in metrics])
    timelines = [store.timeline(run.id) or Timeline() for run in runs]
    store.close()
    return [Compared(letter, "x", *found) for letter, *found in zip(LETTERS, runs, timelines, strict=False)]


def test_only_keys_that_differ_are_listed_with_all_their_values() -> None:
    plain = {"model": "m", "optimization": {}, "sampling": {"seed": 0, "stop": ["."]}}
    packed = {
        "model": "m",
        "optimization": {"quantization": {"precision": "int4"}},
        "sampling": {"seed": 1, "stop": ["."]},
    }
    found = {row.key: row.values for row in differences([plain, packed, plain])}
    assert found == {
        "sampling.seed": ("0", "1", "0"),
        "optimization.quantization.precision": ("off", "int4", "off"),
    }


def test_equal_configurations_have_no_differences() -> None:
    assert differences([{"a": {"b": 1}}, {"a": {"b": 1}}]) == ()
    assert [row.key for row in differences([{"a": {"b": 1}}, {"a": {"b": 1}}], alike=True)] == ["a.b"]


def test_bars_say_how_a_run_compares_with_the_first(tmp_path: Path) -> None:
    first, quick = make_metrics(tpot_s=0.06), replace(make_metrics(tpot_s=0.02), weights_bytes=75_000_000)
    runs = compared(tmp_path, first, quick, make_metrics(tpot_s=None, completion_tokens=1))
    assert [bar.text for bar in bars(TPOT, runs, UNMEASURED)] == ["60 ms", "20 ms · 3.0× faster", "–"]
    assert [bar.value for bar in bars(TPOT, runs, UNMEASURED)] == [60.0, 20.0, None]
    assert bars(WEIGHTS, runs, UNMEASURED)[1].text.endswith("50 % less")
    assert bars(WEIGHTS, runs, UNMEASURED)[2].text.endswith("the same")


def test_bars_call_no_run_faster_whose_figures_contradict_each_other(tmp_path: Path) -> None:
    sound = make_metrics(tpot_s=0.06)
    runs = compared(tmp_path, sound, replace(make_metrics(tpot_s=0.02), cached_tokens=99))
    assert [bar.text for bar in bars(TPOT, runs, UNMEASURED)] == ["60 ms", "20 ms · not a result"]


def test_whole_answers_are_timed_against_each_other_only_at_equal_length(tmp_path: Path) -> None:
    even = compared(tmp_path, make_metrics(completion_tokens=6), make_metrics(completion_tokens=6))
    assert E2E in compared_metrics([item.run for item in even])
    uneven = compared(tmp_path, make_metrics(completion_tokens=6), make_metrics(completion_tokens=7))
    assert E2E not in compared_metrics([item.run for item in uneven])


def test_runs_are_grouped_in_the_order_they_were_started(tmp_path: Path) -> None:
    store = RunStore.open(f"sqlite:///{tmp_path / 'runs.db'}")
    old = [add_run(store, group_id="old") for _ in range(2)]
    add_run(store)
    new = [add_run(store, group_id="new") for _ in range(3)]
    add_run(store, group_id="single")
    groups = started_together(store.page().rows)
    store.close()
    assert [[run.id for run in group] for group in groups] == [new, old]
