"""The Router lab's step of using: one click sets the playground, a chat or a saved configuration."""

from __future__ import annotations

import json

import pytest
from streamlit.testing.v1 import AppTest

from app.router.choosing.scoring import Choice
from app.router.choosing.study import Study
from app.session.labs import router as lab_session
from app.store import RunStore
from engine.cascade import RouterProfile
from tests.support.cascade import STRONG, WEAK, recorded
from tests.support.router_lab import Open, metrics, words


def test_one_click_sets_the_playground_to_the_router(open_lab: Open, store: RunStore) -> None:
    app = open_lab("use", recorded(150))
    app.button(key="router-use-playground").click().run()
    assert not app.exception
    (kept,) = store.router.profiles()
    assert kept.active
    assert "Lane B goes by the router profile “Mixed (comes with Gearbox)” version 1" in words(app)
    state = app.session_state
    assert (state["lane-b-model"], state["lane-b-precision"], state["lane-b-cascade"]) == ("large", "int4", True)
    assert (state["lane-b-cascade-first-model"], state["lane-b-cascade-first-precision"]) == ("small", "int8")
    assert RouterProfile.from_dict(json.loads(state["lane-b-cascade-profile"])) == kept.profile
    assert (state["lane-a-model"], state["lane-a-precision"], state["lane-a-cascade"]) == ("large", "int4", False)
    assert "by “Mixed (comes with Gearbox)”" in words(app)


def test_one_click_begins_a_chat_with_the_router(open_lab: Open, store: RunStore) -> None:
    app = open_lab("use", recorded(150))
    app.button(key="router-use-chat").click().run()
    assert not app.exception
    assert "This new conversation goes by the router profile" in words(app)
    assert app.session_state["chat-new-cascade-profile"]
    assert app.session_state["chat-new-cache-mode"] == "prefix"


def test_one_click_saves_the_router_as_a_configuration(open_lab: Open, store: RunStore) -> None:
    app = open_lab("use", recorded(150))
    app.button(key="router-use-saved").click().run()
    assert not app.exception
    assert app.toast[0].value == "Saved as the configuration “Mixed (comes with Gearbox)”."
    app.switch_page("pages/playground.py").run()
    (option,) = app.selectbox(key="saved-chosen").options
    assert option.startswith("Mixed (comes with Gearbox)")


def picked(open_lab: Open) -> AppTest:
    """Too few prompts for the promise asked for, and the threshold set all the same."""
    app = open_lab("Pick for me", recorded(30))
    app.segmented_control(key="router-target").set_value("Certify a risk").run()
    app.number_input(key="router-target-risk").set_value(5).run()
    app.button(key="router-use").click().run()
    assert "not shown yet, about" in words(app)
    return app


def test_a_promise_that_is_not_shown_is_marked_wherever_it_is_used(open_lab: Open) -> None:
    app = picked(open_lab)
    app.button(key="router-use-playground").click().run()
    assert "not shown yet, about" in words(app)


def test_a_promise_is_not_carried_to_answers_that_did_not_choose(open_lab: Open, store: RunStore) -> None:
    app = picked(open_lab)
    one = recorded(30)[7]
    large = one.answers[STRONG]
    store.router.mark("built-in:mixed", one.prompt_id, STRONG, "", large.text, not large.score)
    app.run()
    assert not app.exception
    assert "not shown yet, about" not in words(app)
    assert "Chosen before answers, scores or costs changed" in words(app)


def test_what_a_hybrid_sends_up_at_once_goes_up_at_the_end_of_the_slider_in_use_too(
    open_lab: Open, store: RunStore
) -> None:
    app = open_lab("use", recorded(300))
    app.selectbox(key="router-choice").set_value(Choice.HYBRID_LEARNED).run()
    study = Study.of(recorded(300), WEAK, STRONG, Choice.HYBRID_LEARNED)
    at_once = float((study.reporting().data.router_score == 1).mean())
    assert at_once > 0
    app.session_state[lab_session.threshold_key(study)] = 1.0
    app.run()
    assert "nothing goes up" not in words(app)
    app.button(key="router-profile-save").click().run()
    (kept,) = store.router.profiles()
    assert kept.profile.boundaries[0].threshold == 1.0
    assert kept.profile.figures["share"] == pytest.approx(at_once)


def test_what_was_chosen_for_prices_is_told_in_prices_where_it_is_used(open_lab: Open, store: RunStore) -> None:
    app = open_lab("Pick for me", recorded(150))
    app.segmented_control(key="router-costs-kind").set_value("Price list").run()
    for tier, price in ((WEAK, 1.0), (STRONG, 9.0)):
        app.number_input(key=f"router-costs-completion-{tier}").set_value(price)
    app.button(key="router-costs-prices").click().run()
    app.button(key="router-use").click().run()
    assert "Money saved" in metrics(app)
    app.button(key="router-profile-save").click().run()
    (kept,) = store.router.profiles()
    assert kept.profile.promise is not None
    evidence = store.router.evidence(kept.id)
    assert evidence is not None
    assert (evidence.unit, evidence.derived_from) == ("$", "a price list")


def test_a_profile_chosen_among_the_gears_brings_its_tiers_along(open_lab: Open, store: RunStore) -> None:
    app = open_lab("use", recorded(150))
    app.button(key="router-use-saved").click().run()
    (kept,) = store.router.profiles()
    app.switch_page("pages/playground.py").run()
    app.toggle(key="lane-b-cascade").set_value(True).run()
    (option,) = app.selectbox(key="lane-b-cascade-profile").options
    assert option == "Mixed (comes with Gearbox) · small int8 → large int4"
    app.selectbox(key="lane-b-cascade-profile").select(option).run()
    assert not app.exception
    state = app.session_state
    assert (state["lane-b-model"], state["lane-b-precision"]) == ("large", "int4")
    assert (state["lane-b-cascade-first-model"], state["lane-b-cascade-first-precision"]) == ("small", "int8")
    assert RouterProfile.from_dict(json.loads(state["lane-b-cascade-profile"])) == kept.profile
    app.selectbox(key="lane-b-cascade-first-precision").set_value("int4").run()
    assert app.session_state["lane-b-cascade-profile"] is None
