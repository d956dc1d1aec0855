"""Runs are found, filtered, sorted and paged."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from app.store import RunFilter, RunNotFoundError, RunOutcome, RunSort, RunStatus, RunStore, Viewer
from app.store.runs.statistics import exact
from engine.types import Precision
from tests.support.fakes import make_metrics, make_request
from tests.support.kept_runs import FINISHED, create, finish, ids


def test_an_unknown_run_is_not_found(store: RunStore) -> None:
    for run_id in ("nothing", "", "\ud800", "x" * 10_000):
        with pytest.raises(RunNotFoundError):
            store.get(run_id)
        assert store.timeline(run_id) is None


def test_several_runs_come_in_the_order_asked_for(store: RunStore) -> None:
    first, second, third = (finish(store) for _ in range(3))
    assert [run.id for run in store.get_many([third, "gone", first])] == [third, first]
    assert [run.id for run in store.get_many((first, second))] == [first, second]
    assert store.get_many([]) == ()


def test_pages_cover_all_runs_once_newest_first(store: RunStore) -> None:
    made = [finish(store) for _ in range(7)]
    pages = [store.page(limit=3, offset=offset) for offset in (0, 3, 6, 9)]
    assert [row.id for page in pages for row in page.rows] == made[::-1]
    assert [page.total for page in pages] == [7, 7, 7, 7]


def test_a_list_shows_the_start_of_the_prompt_and_the_record_all_of_it(store: RunStore) -> None:
    prompt = "π" * 5_000
    run_id = finish(store, make_request(prompt))
    assert store.page().rows[0].prompt == prompt[:200]
    assert store.get(run_id).prompt == prompt


def test_text_is_found_in_prompt_answer_note_and_error(store: RunStore) -> None:
    in_prompt = finish(store, make_request("Tell of 100% Zebras"))
    in_answer = finish(store, outcome=replace(FINISHED, text="a zebra_crossing"))
    in_error = finish(store, outcome=RunOutcome(RunStatus.FAILED, "", error="No ZEBRA here."))
    in_note = finish(store)
    store.set_note(in_note, "compare with the zebra run")
    finish(store)
    assert set(ids(store, RunFilter(text="zebra"))) == {in_prompt, in_answer, in_error, in_note}
    assert ids(store, RunFilter(text="100%")) == [in_prompt]
    assert ids(store, RunFilter(text="zebra_")) == [in_answer]
    assert ids(store, RunFilter(text="  zebra_  ")) == [in_answer]
    assert ids(store, RunFilter(text="' OR 1=1 --")) == []
    assert len(ids(store, RunFilter(text="  "))) == 5


def test_filters_narrow_together(store: RunStore) -> None:
    small = finish(store, make_request())
    int4 = finish(store, make_request(precision=Precision.INT4))
    other = finish(store, make_request(model="qwen2.5-coder-0.5b", precision=Precision.INT4))
    failed = finish(store, outcome=RunOutcome(RunStatus.FAILED, "", error="No."))
    store.rate(int4, 1)
    store.set_tags(int4, ["demo", "kept"])
    store.set_tags(other, ["demo"])
    assert set(ids(store, RunFilter(models=("smollm2-135m",)))) == {small, int4, failed}
    assert set(ids(store, RunFilter(precisions=("int4",)))) == {int4, other}
    assert ids(store, RunFilter(models=("smollm2-135m",), precisions=("int4",))) == [int4]
    assert ids(store, RunFilter(statuses=(RunStatus.FAILED, RunStatus.RUNNING))) == [failed]
    assert ids(store, RunFilter(ratings=(1, -1))) == [int4]
    assert set(ids(store, RunFilter(tags=("demo",)))) == {int4, other}
    assert ids(store, RunFilter(tags=("demo", "kept"))) == [int4]
    assert ids(store, RunFilter(backends=("reference",))) == []
    assert ids(store, RunFilter(config_hashes=(store.get(other).config_hash,))) == [other]


def test_runs_of_a_group_a_session_and_a_time_are_found(store: RunStore) -> None:
    first = create(store, group_id="g", person_id="a")
    second = create(store, group_id="g", person_id="b")
    third = create(store, person_id="b")
    assert ids(store, RunFilter(group_id="g")) == [second, first]
    assert ids(store, RunFilter(person_id="b")) == [third, second]
    moment = store.get(second).created_at
    assert ids(store, RunFilter(since=moment)) == [third, second]
    assert ids(store, RunFilter(until=moment)) == [first]
    elsewhere = moment.astimezone(tz=None) + timedelta(microseconds=1)
    assert ids(store, RunFilter(since=moment, until=elsewhere)) == [second]


@pytest.mark.parametrize("descending", [True, False])
def test_runs_without_the_figure_are_sorted_last(store: RunStore, descending: bool) -> None:
    slow = finish(store, outcome=replace(FINISHED, metrics=make_metrics(e2e_s=9.0)))
    running = create(store)
    quick = finish(store, outcome=replace(FINISHED, metrics=make_metrics(e2e_s=1.0)))
    expected = [slow, quick] if descending else [quick, slow]
    assert ids(store, sort=RunSort("e2e_s", descending=descending)) == [*expected, running]


def test_equal_runs_are_sorted_newest_first(store: RunStore) -> None:
    made = [finish(store) for _ in range(4)]
    assert ids(store, sort=RunSort("model", descending=False)) == made[::-1]


def test_facets_are_counted_once_for_all_viewers_until_another_configuration_comes_or_goes(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted, count = [], exact.configurations
    monkeypatch.setattr(exact, "configurations", lambda *given: counted.append(given) or count(*given))
    finish(store)
    for _ in range(3):
        assert len(store.seen_by(Viewer("somebody", sees_all=True)).facets().configurations) == 1
        finish(store)
    assert len(counted) == 1
    other = finish(store, make_request(model="qwen2.5-coder-0.5b"))
    assert store.facets().models == ("qwen2.5-coder-0.5b", "smollm2-135m")
    store.delete([other])
    assert store.facets().models == ("smollm2-135m",)
    assert len(counted) == 3


def test_facets_are_what_is_there(store: RunStore) -> None:
    assert store.facets().models == ()
    finish(store, make_request(precision=Precision.NF4))
    finish(store, make_request(precision=Precision.NF4))
    tagged = finish(store, make_request(model="qwen2.5-coder-0.5b"))
    store.set_tags(tagged, ["b", "a"])
    facets = store.facets()
    assert facets.models == ("qwen2.5-coder-0.5b", "smollm2-135m")
    assert facets.backends == ("local",)
    assert facets.precisions == ("bf16", "nf4")
    assert facets.tags == ("a", "b")
    assert [(one.model, one.precision) for one in facets.configurations] == [
        ("smollm2-135m", "nf4"),
        ("qwen2.5-coder-0.5b", "bf16"),
    ]
