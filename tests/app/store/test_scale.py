"""A store of 100,000 runs gives right counts, whichever way it is asked."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from app.store import ALL_RUNS, RunFilter, RunSort, RunStatus, RunStore
from tests.benchmarks.store import NEEDLE, NEWEST, ROWS, fill

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunStore]:
    url = f"sqlite:///{tmp_path_factory.mktemp('scale') / 'gearbox.db'}"
    store = RunStore.open(url)
    fill(url, ROWS)
    yield store
    store.close()


@pytest.mark.parametrize(
    ("filter", "count"),
    [
        (ALL_RUNS, ROWS),
        (RunFilter(text=NEEDLE), ROWS // 1_000),
        (RunFilter(tags=("kept",)), ROWS // 10),
        (RunFilter(statuses=(RunStatus.FINISHED,)), ROWS * 17 // 20),
        (RunFilter(since=NEWEST - timedelta(days=1)), 2_881),
        (RunFilter(text=NEEDLE, tags=("kept",), statuses=(RunStatus.FAILED,)), 0),
    ],
)
def test_lists_and_totals_count_alike(store: RunStore, filter: RunFilter, count: int) -> None:
    assert store.page(filter).total == store.totals(filter).runs == count


def test_the_pages_of_a_filter_hold_every_run_once(store: RunStore) -> None:
    filter, seen = RunFilter(tags=("kept",)), set[str]()
    for offset in range(0, ROWS // 10, 1_000):
        seen |= {row.id for row in store.page(filter, RunSort("e2e_s"), limit=1_000, offset=offset).rows}
    assert len(seen) == ROWS // 10


def test_buckets_and_configurations_add_up_to_the_whole(store: RunStore) -> None:
    totals = store.totals()
    buckets = store.over_time(ALL_RUNS, timedelta(hours=1))
    configurations = store.by_configuration()
    for parts in (buckets, configurations):
        assert sum(part.totals.runs for part in parts) == ROWS
        assert sum(part.totals.failed for part in parts) == totals.failed == ROWS // 20
        assert sum(part.totals.completion_tokens for part in parts) == totals.completion_tokens
    assert max(bucket.latency.e2e_s.p99 or 0 for bucket in buckets) >= (store.latency().e2e_s.p99 or 0) > 0


def test_a_deep_page_ends_with_the_oldest_run(store: RunStore) -> None:
    last = store.page(offset=ROWS - 1, limit=50)
    assert [row.created_at for row in last.rows] == [NEWEST - (ROWS - 1) * timedelta(seconds=30)]
