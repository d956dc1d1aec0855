"""The Judging page: off by default, chosen and budgeted there, never a score without its audit."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from app.operations.judging.options import Judged, JudgingOptions
from app.store import Candidate, JudgeId, LiveJudgement, RunStore
from tests.support.ui import add_run, open_app

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
