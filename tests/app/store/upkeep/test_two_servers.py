"""Two servers on one database do everything once between them, also where both do it at the same time."""

import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import pytest

from app.store import RetentionRule, RunFilter, RunOutcome, RunStatus, RunStore, StoreError
from app.store.runs import writing
from tests.support.fakes import make_metrics, make_request
from tests.support.searching import found

RUNS = 40
RULE = RetentionRule(keep_days=30)


def run_one(store: RunStore, text: str) -> str:
    run_id = store.create_run(make_request(), person_id="p", environment={})
    store.finish_run(run_id, RunOutcome(RunStatus.FINISHED, text, metrics=make_metrics()))
    return run_id


def patiently(step: Callable[[], bool]) -> None:
    """Until there is nothing left to do; whoever finds the database busy tries again, as a server does."""
    more = True
    while more:
        with suppress(StoreError):
            more = step()


def both(*steps: Callable[[], bool]) -> None:
    threads = [threading.Thread(target=patiently, args=(step,)) for step in steps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_what_both_do_at_once_is_done_once(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    other = RunStore.open(store._database.url.render_as_string(hide_password=False))
    began = writing.now()
    for number in range(RUNS):
        moment = began - timedelta(days=40, minutes=number)
        monkeypatch.setattr(writing, "now", lambda moment=moment: moment)
        run_one(store, f"answer {number}")
    monkeypatch.undo()
    stays = run_one(other, "answer of today")

    both(lambda: store.sum_up(most=1), lambda: other.sum_up(most=1))
    both(store.texts.add_some, other.texts.add_some)
    assert store.texts.waiting() == 0
    assert len(found(other, "answer")) == RUNS + 1
    assert store.overview(RunFilter(), [began - timedelta(days=50), began + timedelta(days=1)]).totals.runs == RUNS + 1

    both(
        lambda: store.retention.prune_some(RULE) is not None,
        lambda: other.retention.prune_some(RULE) is not None,
    )
    pruned = store.retention.pruned
    assert pruned is not None
    assert pruned.runs == RUNS
    assert found(store, "answer") == {stays}
    assert other.overview(RunFilter(), [began - timedelta(days=50), began + timedelta(days=1)]).totals.runs == RUNS + 1
    other.close()
