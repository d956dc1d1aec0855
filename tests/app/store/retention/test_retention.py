"""Which runs are pruned, which stay, and that sums over them stay too."""

from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy.orm import Session

from app.store import RunFilter, RunOutcome, RunStatus, RunStore
from app.store.runs import writing
from app.store.runs.retention import repository
from app.store.runs.retention.records import RetentionRule
from app.store.runs.rollups import buckets, making
from app.store.runs.rollups.parts import Parts
from app.store.runs.schema import RunTag
from tests.support.fakes import make_metrics, make_request
from tests.support.searching import found, index_all

NOW = datetime(2026, 3, 29, 12, 7, tzinfo=UTC)
A_MONTH = RetentionRule(keep_days=30)
DAYS = [NOW + timedelta(days=day) for day in range(-45, 2)]
"""Where a day begins and the one before ends."""
FINISHED = RunOutcome(RunStatus.FINISHED, "an answer", metrics=make_metrics(e2e_s=2.0, ttft_s=1.0))

Create = Callable[..., str]


@pytest.fixture
def create(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> Create:
    """Makes a finished run of so many days ago."""
    moment = [NOW]
    monkeypatch.setattr(writing, "now", lambda: moment[0])
    for module in (buckets, repository):
        monkeypatch.setattr(module, "now", lambda: NOW)

    def create(days: float, *, outcome: RunOutcome | None = FINISHED) -> str:
        moment[0] = NOW - timedelta(days=days)
        run_id = store.create_run(make_request(), person_id="p", environment={})
        if outcome is not None:
            store.finish_run(run_id, outcome)
        return run_id

    create(0)  # the one that stays to tell what the configuration was
    return create


def prune(store: RunStore, rule: RetentionRule = A_MONTH) -> int:
    while store.sum_up(most=50):
        pass
    gone = 0
    while (more := store.retention.prune_some(rule)) is not None:
        gone += more
    return gone


def kept(store: RunStore) -> set[str]:
    return {run.id for run in store.page(limit=1_000).rows}


def test_old_runs_go_with_all_that_is_theirs(store: RunStore, create: Create) -> None:
    old, new = create(31), create(29)
    index_all(store)
    assert store.retention.would_go(A_MONTH) == store.retention.old_enough(A_MONTH) == 1
    assert prune(store) == 1
    assert old not in kept(store)
    assert new in kept(store)
    assert found(store, "an answer") == kept(store)
    pruned = store.retention.pruned
    assert pruned is not None
    assert (pruned.runs, pruned.before) == (1, NOW - timedelta(days=31) + timedelta(microseconds=1))
    assert prune(store) == 0


def test_all_but_so_many_go(store: RunStore, create: Create) -> None:
    ids = [create(days) for days in (1, 2, 3, 4)]
    assert prune(store, RetentionRule(keep_runs=3)) == 2
    assert kept(store) > set(ids[:2])
    assert kept(store).isdisjoint(ids[2:])


def test_where_both_are_set_a_run_must_satisfy_both(store: RunStore, create: Create) -> None:
    ids = [create(days) for days in (1, 2, 3, 40)]
    assert prune(store, RetentionRule(keep_days=30, keep_runs=100)) == 1
    assert prune(store, RetentionRule(keep_days=30, keep_runs=2)) == 2
    assert kept(store) & set(ids) == {ids[0]}


def test_what_somebody_marked_or_refers_to_stays(store: RunStore, create: Create) -> None:
    tagged, rated, noted, asked, running, plain = (
        *(create(40) for _ in range(4)),
        create(41, outcome=None),
        create(40),
    )
    store.set_tags(tagged, ["kept"])
    store.rate(rated, -1)
    store.set_note(noted, "look here")
    chat_id = store.chat.create("T", make_request().config.to_dict())
    question = store.chat.append(chat_id, None, "user", "x")
    store.chat.append(chat_id, question, "assistant", "y", token_ids=(1,), run_id=asked)
    assert prune(store) == 1
    assert kept(store) >= {tagged, rated, noted, asked, running}
    assert plain not in kept(store)


def test_every_table_that_refers_to_a_run_is_looked_at(store: RunStore) -> None:
    text = " ".join(str(condition) for condition in repository._may_go())
    for column in (
        "run_tags.run_id",
        "conversation_messages.run_id",
        "experiment_cells.run_id",
        "router_judgements.run_id",
        "golden_prompts.run_id",
    ):
        assert column in text
    for table in ("run_contents", "run_timelines", "live_judgement", "golden_answers"):
        assert table not in text


def test_one_run_of_each_configuration_stays(store: RunStore, create: Create) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "now", lambda: NOW - timedelta(days=50))
        only = store.create_run(make_request(precision="int4"), person_id="p", environment={})
    store.finish_run(only, FINISHED)
    assert prune(store) == 0
    assert only in kept(store)


def test_what_is_not_summed_up_yet_stays(store: RunStore, create: Create) -> None:
    create(40)
    assert store.retention.prune_some(A_MONTH) == 0
    assert store.retention.prune_some(A_MONTH) is None
    assert prune(store) == 1


def test_sums_over_pruned_runs_stay(store: RunStore, create: Create) -> None:
    for days in (40, 40, 35, 2):
        create(days)
    marked = create(40)
    store.rate(marked, 1)
    whole = store.overview(RunFilter(), DAYS)
    assert prune(store) == 3
    after = store.overview(RunFilter(), DAYS)
    assert after.totals == whole.totals
    assert [bucket.totals for bucket in after.over_time] == [bucket.totals for bucket in whole.over_time]
    # what happens later to runs that stayed makes no sum anew from the few that are left
    store.delete([marked])
    assert prune(store) == 0
    assert store.overview(RunFilter(), DAYS).totals == whole.totals


def test_the_sums_of_a_configuration_tell_what_it_was_without_a_run_of_it(store: RunStore, create: Create) -> None:
    create(40)
    assert prune(store) == 1
    store.delete(list(kept(store)))
    (found,) = store.overview(RunFilter(), DAYS).by_configuration
    request = make_request()
    assert found.totals.runs == 1
    assert found.configuration.config_hash == request.config.hash
    assert (found.configuration.model, found.configuration.precision) == (request.config.model, "bf16")


def test_a_run_that_is_tagged_meanwhile_stays(
    file: Path, store: RunStore, create: Create, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, holding = create(40), repository.holding_among
    while store.sum_up(most=50):
        pass

    def tag_first(session: Session, of: Collection[int]) -> set[int]:
        session.add(RunTag(run_id=old, tag="kept"))
        session.flush()
        return holding(session, of)

    monkeypatch.setattr(repository, "holding_among", tag_first)
    assert store.retention.prune_some(A_MONTH) == 0
    assert old in kept(store)


@pytest.mark.parametrize("rule", [{"keep_days": 0}, {"keep_runs": -1}, {"keep_days": 10**9}])
def test_a_rule_out_of_all_reason_is_refused(rule: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="whole number from 1 to"):
        RetentionRule(**rule)


def test_the_rule_is_kept_and_the_administrators_goes_before_it(store: RunStore) -> None:
    assert not store.retention.rule
    store.retention.set_rule(RetentionRule(keep_days=7))
    assert store.retention.rule == RetentionRule(7, None)
    store.retention.fixed = RetentionRule(keep_runs=5)
    assert store.retention.rule == RetentionRule(None, 5)


def test_the_background_prunes_by_the_rule_that_is_set(store: RunStore, create: Create) -> None:
    old = create(40)
    while store.sum_up(most=50):
        pass
    assert not store._prune()
    assert old in kept(store)
    store.retention.set_rule(A_MONTH)
    assert not store._prune()  # only a server prunes, not every command that opens the database
    store.retention.prune_in_background()
    while store._prune():
        pass
    assert old not in kept(store)


def test_a_rule_that_is_taken_back_deletes_no_more(
    store: RunStore, create: Create, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository, "AT_ONCE", 1)
    for days in (40, 39, 38):
        create(days)
    while store.sum_up(most=50):
        pass
    store.retention.set_rule(A_MONTH)
    assert store.retention.prune_some() == 1
    other = RunStore.open(store._database.url.render_as_string(hide_password=False))
    other.retention.set_rule(RetentionRule())
    other.close()
    assert store.retention.prune_some() is None
    assert len(kept(store)) == 3


def test_a_quarter_of_an_hour_with_a_run_under_way_stays(store: RunStore, create: Create) -> None:
    create(40)
    running = create(40, outcome=None)
    assert prune(store) == 0
    store.finish_run(running, FINISHED)
    assert prune(store) == 2
    assert store.overview(RunFilter(), DAYS).totals.runs == 3


def test_sums_of_what_was_pruned_meanwhile_are_not_made_again(
    store: RunStore, create: Create, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody sums up a quarter of an hour, and another prunes it before that is written."""
    for _ in range(3):
        create(40)
    summed, pruned = making._summed, []

    def prune_first(session: Session, width: int, number: int) -> tuple[int, Parts]:
        found = summed(session, width, number)
        if not pruned:
            pruned.append(True)
            assert prune(store) == 3
            return found[0], Parts.of_runs([], np.zeros(0, dtype=np.int64))  # as if read after that
        return found

    monkeypatch.setattr(making, "_summed", prune_first)
    store.sum_up(most=50)
    assert store.overview(RunFilter(), DAYS).totals.runs == 4


def test_a_run_of_a_quarter_of_an_hour_that_was_pruned_counts_once(store: RunStore, create: Create) -> None:
    """The clock is set back to a time of which runs are there no more."""
    for _ in range(3):
        create(40)
    assert prune(store) == 3
    late = create(40)
    running = create(40, outcome=None)
    assert store.overview(RunFilter(), DAYS).totals.runs == 5
    for _ in range(2):
        store.finish_run(running, FINISHED)
    store.delete([late])  # as before: what was pruned and what was not are one sum
    for _ in range(2):
        found = store.overview(RunFilter(), DAYS).totals
        assert (found.runs, found.finished) == (6, 6)
        prune(store)  # sums up hours and days anew, and takes the late ones too
    assert len(kept(store)) == 1


def test_a_run_that_died_in_a_quarter_of_an_hour_that_was_pruned_counts(
    store: RunStore, create: Create, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(40)
    assert prune(store) == 1
    create(40, outcome=None)
    monkeypatch.setattr(writing.Owner, "is_gone", lambda *_, **__: True)
    store.look_around()
    assert store.overview(RunFilter(), DAYS).totals.interrupted == 1
