"""A machine's noise: from which runs it is known, and what it decides."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.runs.verdict import UNMEASURED, Figure, Noise, Paired, Rounds
from app.store import Repeats, RunStatus, RunStore
from engine.types import GenerationRequest, Precision, SamplingParams
from tests.support.fakes import make_metrics, make_request
from tests.support.ui import add_run


def measured(sd: float, degrees: int) -> Noise:
    return Noise({figure: Repeats(degrees, degrees * sd**2) for figure in Figure})


def add(store: RunStore, tpot_s: float, request: GenerationRequest | None = None, **changes: object) -> str:
    metrics = replace(make_metrics(tpot_s=tpot_s, completion_tokens=4), **changes)  # type: ignore[arg-type]
    return add_run(store, request, metrics=metrics)


# --- from the store ------------------------------------------------------------------------------------


def test_repeats_of_one_configuration_tell_how_far_apart_they_lie(store: RunStore) -> None:
    for tpot_s in (0.010, 0.011, 0.012):
        add(store, tpot_s)
    logs = [math.log(value) for value in (0.010, 0.011, 0.012)]
    mean = sum(logs) / 3
    found = store.repeats(store.host)
    assert found["tpot_s"].degrees == 2
    assert found["tpot_s"].squares == pytest.approx(sum((value - mean) ** 2 for value in logs))
    assert found["ttft_s"] == Repeats(2, 0.0)


def test_runs_that_did_other_work_are_no_repeats(store: RunStore) -> None:
    add(store, 0.01)
    add(store, 0.02, make_request("Another prompt of five words"))
    add(store, 0.03, make_request(precision=Precision.INT4))
    add(store, 0.04, cached_tokens=4)
    add(store, 0.05, completion_tokens=9)
    add(store, 0.06, queue_s=0.5)
    add_run(store, status=RunStatus.STOPPED, metrics=make_metrics(tpot_s=0.07, completion_tokens=4))
    add(store, 0.08, make_request("Why is the sky blue?", sampling=SamplingParams(max_tokens=9)))
    assert {found.degrees for found in store.repeats(store.host).values()} == {0}


def test_each_configuration_is_held_against_itself(store: RunStore) -> None:
    for tpot_s in (0.01, 0.01):
        add(store, tpot_s)
    for tpot_s in (0.5, 0.5):
        add(store, tpot_s, make_request(precision=Precision.INT4))
    assert store.repeats(store.host)["tpot_s"] == Repeats(2, 0.0)


def test_other_machines_and_the_race_to_be_judged_are_left_out(store: RunStore) -> None:
    for _ in range(2):
        add_run(store, group_id="race")
    assert store.repeats("elsewhere")["e2e_s"].degrees == 0
    assert store.repeats(store.host, without="race")["e2e_s"].degrees == 0
    assert store.repeats(store.host, without="another")["e2e_s"].degrees == 1
    for _ in range(2):
        add(store, 0.01, make_request("Alone, without a group"))
    assert store.repeats(store.host, without="race")["e2e_s"].degrees == 1


def test_runs_of_other_days_are_no_repeats(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    from app.store.runs import writing

    today = writing.now()
    add_run(store)
    monkeypatch.setattr(writing, "now", lambda: today + timedelta(days=2))
    add_run(store)
    assert store.repeats(store.host)["e2e_s"].degrees == 0


def test_the_noise_follows_the_newest_runs(store: RunStore) -> None:
    for n in range(6):
        add(store, 0.01 * (1 + n % 2))
    wide = Noise.of_machine(store)
    for _ in range(60):
        add(store, 0.01, make_request(precision=Precision.INT4))
    narrow = Noise.of_machine(store)
    assert wide.is_measured(Figure.TPOT)
    assert narrow.limit(Figure.TPOT) < wide.limit(Figure.TPOT)
    assert narrow.limit(Figure.TTFT) < UNMEASURED.limit(Figure.TTFT)


# --- what it decides -----------------------------------------------------------------------------------


def test_a_machine_that_was_never_measured_is_assumed_to_vary_by_fifteen_percent() -> None:
    assert UNMEASURED.limit(Figure.E2E) == pytest.approx(0.15)
    assert not UNMEASURED.is_measured(Figure.E2E)
    few = measured(0.5, 3)
    assert not few.is_measured(Figure.E2E)
    assert few.limit(Figure.E2E) == pytest.approx(0.15)


def test_figures_have_noise_of_their_own() -> None:
    noise = Noise({Figure.TTFT: Repeats(40, 0.4), Figure.TPOT: Repeats(40, 0.004)})
    assert noise.limit(Figure.TTFT) > UNMEASURED.limit(Figure.E2E) > noise.limit(Figure.TPOT)


def test_students_t_is_the_tables() -> None:
    from app.runs.verdict.noise import _t

    for degrees, exact in ((1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (6, 2.447), (8, 2.306), (30, 2.042)):
        assert _t(degrees) == pytest.approx(exact, rel=8e-3)


@pytest.mark.parametrize(("rounds", "most"), [(1, 0.10), (3, 0.05), (5, 0.05)])
def test_equal_lanes_are_seldom_called_different(rounds: int, most: float) -> None:
    """On machines as noisy as they are known to be, where each configuration varies by a factor of its own."""
    draw = random.Random(7)
    noise, calls, races = measured(0.05, 30), 0, 4_000
    for _ in range(races):
        sd = 0.05 * draw.choice((0.5, 1.0, 1.5))
        times = [[math.exp(draw.gauss(0, sd)) for _ in range(rounds)] for _ in range(2)]
        calls += Paired.of(Figure.TPOT, *times, noise).call != "tied"
    assert calls / races < most


@pytest.mark.parametrize("rounds", [3, 5])
def test_a_race_far_noisier_than_the_machine_is_known_to_be_calls_no_more(rounds: int) -> None:
    draw = random.Random(7)
    noise, calls, races = measured(0.02, 30), 0, 4_000
    for _ in range(races):
        times = [[math.exp(draw.gauss(0, 0.7)) for _ in range(rounds)] for _ in range(2)]
        calls += Paired.of(Figure.TPOT, *times, noise).call != "tied"
    assert calls / races < 0.06


@pytest.mark.parametrize(("rounds", "faster"), [(1, 1.5), (3, 1.5), (5, 1.2)])
def test_differences_well_beyond_the_noise_are_found(rounds: int, faster: float) -> None:
    draw = random.Random(7)
    noise, calls, races = measured(0.05, 30), 0, 1_000
    for _ in range(races):
        times = [[scale * math.exp(draw.gauss(0, 0.05)) for _ in range(rounds)] for scale in (faster, 1.0)]
        calls += Paired.of(Figure.TPOT, *times, noise).call == "faster"
    assert calls / races > 0.9


def test_a_contrary_round_is_a_tie_however_small_it_is() -> None:
    times = [2.0, 2.0, 2.0, 2.0, 0.9999]
    assert Paired.of(Figure.E2E, times, [1.0] * 5, UNMEASURED).call == "tied"


def test_a_lucky_coincidence_is_not_taken_for_precision() -> None:
    assert Paired.of(Figure.E2E, [1.02, 1.02, 1.02], [1.0] * 3, UNMEASURED).call == "tied"


@given(st.lists(st.floats(1e-4, 1e3), min_size=1, max_size=5))
def test_rounds_lie_between_the_least_and_the_greatest(values: list[float]) -> None:
    rounds = Rounds.of(Figure.TTFT, values, UNMEASURED)
    assert rounds.low <= rounds.median <= rounds.high
    assert rounds.spread > 0
