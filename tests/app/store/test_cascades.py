"""What cascades saved, over the runs that are kept."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from app.store import ALL_RUNS, CascadeSums, RunFilter, RunStore
from engine.types import CascadeConfig, GuardState, Precision, Tier
from tests.support.cascading import CASCADE, make_cascade_report
from tests.support.fakes import make_request
from tests.support.ui import add_run

OTHER = CascadeConfig(smaller=(Tier(model="tiny", precision=Precision.INT8),), thresholds=(0.5,))
GUARD = GuardState(
    tier="smollm2-135m int4", mode="aside", needed_share=0.4, recent_share=0.1, recent=10, decisions=30, probe_every=12
)


def cascades(store: RunStore, filter: RunFilter = ALL_RUNS) -> tuple[CascadeSums, ...]:
    edges = [datetime(2020, 1, 1, tzinfo=UTC), datetime(2120, 1, 1, tzinfo=UTC)]
    return store.cascades(store.overview(filter, edges).by_configuration)


def test_what_was_measured_and_what_was_derived_are_summed_apart(store: RunStore) -> None:
    request = make_request(model="m", cascade=CASCADE)
    add_run(store, request, cascade=make_cascade_report(large_alone_s=0.5))
    add_run(store, request, cascade=make_cascade_report(large_alone_s=0.5))
    add_run(
        store, request, cascade=make_cascade_report(went_up=False, large_alone_s=1.0, derived=True, guards=(GUARD,))
    )
    (sums,) = cascades(store)
    assert sums.config_hash == request.config.hash
    assert (sums.runs, sums.went_up) == (3, 2)
    assert (sums.measured_alone_s, sums.derived_alone_s, sums.alone_s) == pytest.approx((1.0, 1.0, 2.0))
    assert (sums.measured_saved_s, sums.derived_saved_s) == pytest.approx((-0.5, 0.75))
    assert sums.saved_s == pytest.approx(0.25)
    assert sums.guards == (GUARD,), "as the latest met it"


def test_runs_of_which_nobody_can_tell_count_into_nothing(store: RunStore) -> None:
    add_run(store, make_request(model="m"))
    add_run(store, make_request(model="m", cascade=CASCADE), cascade=make_cascade_report())
    assert cascades(store) == ()


def test_each_configuration_has_its_own_the_most_used_first_and_filters_hold(store: RunStore) -> None:
    first, second = make_request(model="m", cascade=CASCADE), make_request(model="n", cascade=OTHER)
    for request in (second, first, second):
        add_run(store, request, cascade=make_cascade_report(large_alone_s=0.5))
    assert [(each.config_hash, each.runs) for each in cascades(store)] == [
        (second.config.hash, 2),
        (first.config.hash, 1),
    ]
    assert [each.config_hash for each in cascades(store)[:1]] == [second.config.hash]
    assert [each.config_hash for each in cascades(store, RunFilter(models=("m",)))] == [first.config.hash]
