"""What reuse saved a turn: derived, measured, or left out where nobody can tell."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.chat.savings import LEAST_COMPUTED, derived_saving_s, measured_saving_s, saving_words
from app.store import RunOutcome, RunRecord, RunStatus, RunStore
from engine.types import CacheReport, MissCause
from tests.support.fakes import make_metrics, make_request

COLD = CacheReport(
    cause=MissCause.COLD, nearest_tokens=0, parted_at=None, kept_text="", came_text="", detail="", lost_tokens=0
)


@pytest.fixture
def run(store: RunStore) -> RunRecord:
    """A turn of 340 tokens, 310 of them reused; the rest were read in 20 ms."""
    run_id = store.create_run(make_request(), person_id="s", environment={"weights_sha256": "w", "kernel": "k"})
    store.finish_run(run_id, RunOutcome(RunStatus.FINISHED, "Yes.", metrics=make_metrics()))
    return changed(store.get(run_id), prompt_tokens=340, cached_tokens=310, prefill_s=0.02, ttft_s=0.03)


def changed(run: RunRecord, **figures: float) -> RunRecord:
    assert run.metrics is not None
    return replace(run, metrics=replace(run.metrics, **figures))  # type: ignore[arg-type]


def started_cold(run: RunRecord, ttft_s: float, queue_s: float = 0.0, minutes: int = 1) -> RunRecord:
    cold = changed(run, cached_tokens=0, prefill_s=ttft_s / 2, ttft_s=ttft_s, queue_s=queue_s)
    return replace(cold, cache=COLD, created_at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes))


def test_it_is_derived_from_the_run_that_computed_most(run: RunRecord) -> None:
    first = changed(run, prompt_tokens=200, cached_tokens=0, prefill_s=0.2)
    shorter = changed(run, prompt_tokens=100, cached_tokens=0, prefill_s=0.9)
    assert derived_saving_s(run, [first, shorter]) == pytest.approx(0.31)
    assert saving_words(run, [first], [run]) == "saved about 310 ms"
    own = changed(run, prompt_tokens=350, prefill_s=0.04)
    assert derived_saving_s(own, []) == pytest.approx(0.31)


def test_it_is_left_out_where_it_cannot_be_told(run: RunRecord) -> None:
    short = changed(run, prompt_tokens=LEAST_COMPUTED - 1, cached_tokens=0, prefill_s=0.2)
    long = changed(run, prompt_tokens=200, cached_tokens=0, prefill_s=0.2)
    other = replace(long, environment={**run.environment, "weights_sha256": "others"})
    assert derived_saving_s(run, [short, other, replace(long, precision="nf4")]) is None
    assert derived_saving_s(changed(run, cached_tokens=0), [long]) is None
    assert derived_saving_s(replace(run, metrics=None), [long]) is None
    assert saving_words(run, [], [run]) == ""


@given(st.integers(0, 500), st.integers(1, 500), st.floats(0, 10))
def test_it_is_never_below_zero(cached: int, computed: int, prefill_s: float) -> None:
    metrics = replace(make_metrics(), cached_tokens=cached, prompt_tokens=cached + computed, prefill_s=prefill_s)
    run = RunRecord(
        **dict.fromkeys(RunRecord.__dataclass_fields__)
        | {"model": "m", "metrics": metrics, "gears": make_request().config.optimization, "environment": {}}
    )
    saved = derived_saving_s(run, [])
    assert saved is None or saved >= 0
    assert saved is None or saved == pytest.approx(cached * prefill_s / computed, rel=0.05)


def test_it_is_measured_against_the_latest_cold_answer_with_the_same_settings(run: RunRecord) -> None:
    early, late = started_cold(run, 0.9), started_cold(run, 0.325, minutes=2)
    other = replace(started_cold(run, 0.7, minutes=3), config_hash="another")
    assert measured_saving_s(run, [run, early, late, other]) == pytest.approx(0.295)
    assert measured_saving_s(run, [run, other]) is None
    assert measured_saving_s(late, [run, early]) is None
    waited = started_cold(run, 0.825, queue_s=0.5)
    assert measured_saving_s(run, [waited]) == pytest.approx(0.295)


def test_the_measured_saving_stands_beside_the_derived_one_on_both_answers(run: RunRecord) -> None:
    first, cold = changed(run, prompt_tokens=200, cached_tokens=0, prefill_s=0.2), started_cold(run, 0.325)
    assert saving_words(run, [first], [run, cold]) == "saved about 310 ms, measured 295 ms"
    assert saving_words(cold, [first], [run, cold]) == "reuse saved about 310 ms, measured 295 ms in the other answer"
    assert saving_words(run, [], [run, cold]) == "saved, measured 295 ms"
    assert saving_words(run, [first], [run, started_cold(run, 0.02)]) == "saved about 310 ms, measured nothing"
    assert saving_words(cold, [first], [cold]) == ""
