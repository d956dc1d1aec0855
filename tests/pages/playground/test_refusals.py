"""What cannot run is refused in words; what other tabs of the same person run."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from app import resources
from app.doors.person import TAB_ID
from app.runs.race import Race
from app.session import playground as session
from app.store import RunStatus, RunStore, StoreError
from engine.errors import ModelNotInstalledError
from tests.support.fakes import FakeEngine, make_request
from tests.support.playground import LANE_A, LANE_B, RUN, STOP, Lanes, run, words


@pytest.mark.parametrize("prompt", ["", "  \n "])
def test_empty_prompt_is_refused_and_nothing_runs(playground: Any, store: RunStore, prompt: str) -> None:
    scripted = FakeEngine()
    page = playground(scripted)
    page.text_area(key=session.PROMPT).set_value(prompt)
    run(page)
    assert "The prompt is empty" in words(page)
    assert (scripted.requests, store.page().total) == ([], 0)


def test_blank_model_is_refused_and_the_page_stays_usable(playground: Any) -> None:
    scripted = FakeEngine()
    page = playground(scripted, state={LANE_A.key("model"): "  ", LANE_B.key("model"): None})
    assert words(page).count("Choose a model.") == 2
    run(page)
    assert [error.value for error in page.error] == ["Choose a model."]
    assert scripted.requests == []


def test_failed_lane_does_not_hold_up_the_other(playground: Any, store: RunStore) -> None:
    failing = FakeEngine(failure=ModelNotInstalledError("Install it first."))
    page = run(playground(Lanes(failing, FakeEngine(["Fine"]))))
    assert "Install it first." in words(page)
    assert "No comparison: Lane A failed." in words(page)
    assert [text.value for text in page.text] == ["Fine"]
    assert [row.status for row in store.page().rows] == [RunStatus.FINISHED, RunStatus.FAILED]


def test_store_that_cannot_be_written_is_told_in_each_lane(
    playground: Any, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise StoreError("The run database is locked.")

    page = playground(FakeEngine())
    monkeypatch.setattr(store, "create_run", refuse)
    run(page)
    assert [error.value for error in page.error] == ["The run database is locked."] * 2


def test_missing_model_is_explained_with_a_way_out(playground: Any) -> None:
    page = playground(FakeEngine(), installed=())
    assert "Not installed yet: SMOLLM2-135M" in words(page)
    assert page.button(key=RUN).disabled
    assert [link.proto.page for link in page.get("page_link")] == ["model-library"]


def test_stop_is_offered_only_while_lanes_run(playground: Any) -> None:
    page = playground(FakeEngine())
    assert page.button(key=STOP).disabled
    assert not page.button(key=RUN).disabled
    run(page)
    assert page.button(key=STOP).disabled
    assert not page.button(key=RUN).disabled


def start_elsewhere(store: RunStore, answer: list[str], *, held_s: float) -> Race:
    """Another tab of the same person runs both lanes; after their first token they are held for a while."""
    gate = threading.Event()
    race = Race.between({lane: make_request() for lane in session.LANES})
    scripted = FakeEngine(answer, gate=gate)
    resources.get_races().start(race, person="me", place="playground", engine=scripted, store=store)
    threading.Timer(held_s, gate.set).start()
    return race


def test_a_tab_that_is_opened_while_lanes_run_follows_them_to_their_end(playground: Any, store: RunStore) -> None:
    page = playground(FakeEngine(), state={TAB_ID: "me"})
    race = start_elsewhere(store, ["Still", " here"], held_s=0.5)
    page.run()
    assert not page.exception
    assert race.over.is_set()
    assert [text.value for text in page.text] == ["Still here"] * 2
    assert "Lane B against Lane A" in words(page)
    page.text_area(key=session.PROMPT).set_value("Another one.").run()
    assert "The lanes answer: “Why is the sky blue?”" in words(page)
    stranger = playground(FakeEngine(), state={TAB_ID: "you"})
    assert not stranger.text


def test_a_second_race_is_refused_in_words_while_one_runs(playground: Any, store: RunStore) -> None:
    scripted = FakeEngine()
    page = playground(scripted, state={TAB_ID: "me"})
    race = start_elsewhere(store, ["Still", " here"], held_s=0.5)
    run(page)
    assert "still being answered, so nothing was started" in words(page)
    assert scripted.requests == []
    assert race.over.is_set()
    run(page)
    assert "still being answered" not in words(page)
    assert len(scripted.requests) == 2


def test_a_race_that_nobody_looked_at_says_why_it_ended(playground: Any, store: RunStore) -> None:
    page = playground(FakeEngine(), state={TAB_ID: "me"})
    race = start_elsewhere(store, ["Still", " here"], held_s=30)
    race.stop("It was stopped because nobody had looked at it for 60 s.")
    page.run()
    assert "nobody had looked at it for 60 s" in words(page)
    assert not page.button(key=RUN).disabled
