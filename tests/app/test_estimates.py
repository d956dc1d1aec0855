"""How long an answer will take: by what this machine has measured, and nothing where it has not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.estimates import AnswerTime, answer_times
from app.store import RunSource, RunStore
from engine import machine_environment
from engine.types import Disturbance, Precision
from tests.support.fakes import make_metrics, make_request
from tests.support.ui import add_run

HELD_UP = Disturbance(seconds=2.0, cores=2, threads=2, programs_s=1.5, threads_s=0.0, ran_s=2.0, waited_s=1.9)


def add(store: RunStore, *, source: RunSource = RunSource.CHAT, held_up: bool = False, **given: Any) -> None:
    figures: dict[str, Any] = {
        "tpot_s": 0.05,
        "prefill_s": 1.2,
        "prompt_tokens": 40,
        "cached_tokens": 0,
        "load_s": 0.0,
    } | given
    metrics = replace(make_metrics(), **figures)
    request = make_request(model="small", precision=Precision.INT4)
    add_run(store, request, metrics=metrics, source=source, disturbance=HELD_UP if held_up else None)


def test_an_answer_takes_its_prefill_and_its_steps() -> None:
    time = AnswerTime(step_s=0.05, read_s=0.01)
    assert time.seconds(30, 20) == pytest.approx(0.3 + 1.0)
    assert time.seconds("four" * 30, 20) == pytest.approx(0.3 + 1.0)


def test_nobody_knows_what_was_never_run(store: RunStore) -> None:
    add(store)
    assert set(answer_times(store, "small", "cpu")) == {"int4"}
    assert answer_times(store, "large", "cpu") == {}


def test_medians_of_undisturbed_runs_count_and_no_labs(store: RunStore) -> None:
    for tpot_s in (0.04, 0.05, 0.06):
        add(store, tpot_s=tpot_s, load_s=3.0 if tpot_s == 0.05 else 0.01)
    for _ in range(5):
        add(store, tpot_s=0.5, held_up=True)
        add(store, tpot_s=0.2, source=RunSource.LAB)
    assert answer_times(store, "small", "cpu")["int4"] == AnswerTime(
        pytest.approx(0.05), pytest.approx(0.03), pytest.approx(3.0)
    )


def test_what_was_found_in_the_cache_was_not_read(store: RunStore) -> None:
    add(store, prefill_s=0.1, prompt_tokens=1000, cached_tokens=990)
    assert answer_times(store, "small", "cpu")["int4"].read_s == pytest.approx(0.01)


def test_the_labs_speed_stands_in_where_it_is_of_this_machine(store: RunStore) -> None:
    for precision, elsewhere in (("int8", {}), ("bf16", {"cpu": "another processor"})):
        store.lab.add_speed(
            model="small",
            weights_sha256="w",
            precision=precision,
            tokens_per_second=20.0,
            ttft_s=0.4,
            weights_bytes=1,
            environment=machine_environment() | elsewhere,
        )
    times = answer_times(store, "small", "cpu")
    assert set(times) == {"int8"}
    assert (times["int8"].step_s, times["int8"].read_s) == (pytest.approx(0.05), pytest.approx(0.01))


def test_runs_of_another_machine_say_nothing_of_this_one(store: RunStore) -> None:
    add(store)
    assert store.recent_speeds("small", host="elsewhere") == {}
    assert set(store.recent_speeds("small", host=store.host)) == {"int4"}
