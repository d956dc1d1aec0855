"""The Judging page: off by default, chosen and budgeted there, never a score without its audit."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from app.operations.judging.options import Judged, JudgingOptions
from app.store import Candidate, JudgeId, LiveJudgement, NewRemote, RunStore
from tests.support.ui import add_run, open_app, texts

PAGE = "pages/judging.py"


def say(store: RunStore, run_id: str, score: float, name: str) -> None:
    run = Candidate(
        run_id=run_id, created_at=datetime.now(UTC), config_hash="c", model="m", precision="int4", tier="m int4"
    )
    store.judging.keep(
        LiveJudgement(
            run=run, judge=JudgeId(name, "", 1), score=score, reason="![x](http://evil)", no_verdict=None, detail="",
            seconds=1, prompt_tokens=9, completion_tokens=3, cost=0.5,
        )
    )  # fmt: skip


def test_it_is_off_and_says_how_to_begin(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    app = open_app(monkeypatch, store, PAGE)
    assert "Nothing was judged yet" in app.info[0].value
    assert not JudgingOptions.kept(store.options).on


def test_without_a_judge_it_cannot_be_turned_on(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    app = open_app(monkeypatch, store, PAGE)
    app.toggle(key="live-judging-on").set_value(True)
    app.button[0].click().run()
    assert "Choose a judge" in app.error[0].value
    assert not JudgingOptions.kept(store.options).on


def test_scores_stand_beside_their_audit_and_what_parts(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    JudgingOptions(on=True, judge=Judged("small", "int4"), money_a_day=0.1).keep(store.options)
    run_id = add_run(store)
    say(store, run_id, 0.9, "one")
    say(store, run_id, 0.1, "two")
    store.judging.charge(0.5)
    app = open_app(monkeypatch, store, PAGE)
    assert "budget" in app.warning[0].value
    audits = [frame for frame in app.dataframe if "Limit" in frame.value.columns]
    assert len(audits) == 2
    parts = app.dataframe[-1].value
    assert list(parts["score"]) == [0.9]
    assert parts["run"].iloc[0].endswith(run_id)


def test_who_may_not_administer_sees_the_judge_and_chooses_none(
    monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    JudgingOptions(judge=Judged("small", "int4")).keep(store.options)
    monkeypatch.setattr(RunStore, "may_administer", False)
    app = open_app(monkeypatch, store, PAGE)
    assert "small int4" in texts(app, "caption")
    assert "Only the machine's own desk may change the judge and its budget" in texts(app, "caption")
    assert not [each for each in app.toggle if each.key == "live-judging-on"]


def test_a_server_that_was_added_needs_a_price_to_judge(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    app = open_app(monkeypatch, store, PAGE)
    assert app.number_input("live-judging-read-price").disabled
    store.remotes.add(NewRemote(name="@office", url="http://h/v1", served_name="m"))
    app.run()
    app.toggle("live-judging-on").set_value(True)
    app.selectbox("live-judging-first").set_value("@office")
    app.button[0].click().run()
    assert "@office has no price" in app.error[0].value
    assert not JudgingOptions.kept(store.options).on
    app.number_input("live-judging-read-price").set_value(0.5)
    app.number_input("live-judging-written-price").set_value(2.0)
    app.button[0].click().run()
    assert not app.error
    kept = JudgingOptions.kept(store.options)
    assert (kept.on, kept.judge, kept.read_price, kept.written_price) == (True, Judged("@office", None), 0.5, 2.0)
