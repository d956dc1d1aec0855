"""The Router lab's profiles: saved, used, taken back, imported, joined."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date

import pytest
from streamlit.testing.v1 import AppTest

from app import resources
from app.router.choosing.scoring import Choice
from app.router.lab import RouterLab
from app.store import RunStore
from engine.cascade import RouterProfile
from tests.support.cascade import STRONG, WEAK, answer, recorded
from tests.support.router_lab import WEIGHTS, Open, words


def save(app: AppTest, name: str) -> AppTest:
    app.text_input(key="router-profile-name built-in:mixed").set_value(name).run()
    app.button(key="router-profile-save").click().run()
    assert not app.exception
    return app


def test_a_router_is_saved_used_and_taken_back(open_lab: Open, store: RunStore) -> None:
    app = open_lab("use", recorded(150))
    assert "No profile is saved yet" in words(app)
    save(save(app, "Careful"), "Careful")
    assert len(store.router.profiles()) == 1, "the same one is not kept twice"
    app.selectbox(key="router-choice").set_value(Choice.ESCALATE_LEARNED).run()
    save(app, "Careful")
    assert list(app.dataframe[0].value["Profile"]) == ["Careful · version 2", "Careful · version 1"]
    for version in (0, 1):
        app.selectbox(key="router-profile").set_value(store.router.profiles()[version].id).run()
        app.button(key="router-profile-use-saved").click().run()
    assert not app.error
    assert [kept.active for kept in store.router.profiles()] == [False, True]
    app.button(key="router-profile-revert").click().run()
    assert [kept.active for kept in store.router.profiles()] == [True, False]
    (profile,) = {kept.profile.ladder for kept in store.router.profiles()}
    assert {tier.weights_sha256 for tier in profile} == set(WEIGHTS.values())


def test_a_profile_says_of_which_prompts_it_is_and_on_how_many_it_reports(open_lab: Open, store: RunStore) -> None:
    app = save(open_lab("use", recorded(150)), "Careful")
    assert list(app.dataframe[0].value["Made from"]) == ["150 prompts of “Mixed (comes with Gearbox)”"]
    assert "Its figures are of the 75 of 150 prompts that had no part in choosing." in words(app)
    (kept,) = store.router.profiles()
    store.router.keep_profile(replace(kept.profile, name="Other", data_sha256="d" * 64))
    app.run()
    assert app.dataframe[0].value["Made from"][0] == "150 prompts that are not here (dddddddd)"
    one = recorded(150)[7].answers[STRONG]
    store.router.mark("built-in:mixed", recorded(150)[7].prompt_id, STRONG, "", one.text, not one.score)
    app.run()
    assert app.dataframe[0].value["Made from"][1] == "150 prompts of “Mixed (comes with Gearbox)”, before a change"


@pytest.mark.parametrize(
    ("installed", "says"),
    [
        ({"small": "c" * 64, "large": "b" * 64}, "was made for other weights of small"),
        ({"small": "a" * 64}, "needs large, which is not installed"),
    ],
)
def test_a_profile_for_other_weights_is_refused(
    open_lab: Open, store: RunStore, installed: dict[str, str], says: str
) -> None:
    app = save(open_lab("use", recorded(150), installed=installed), "Careful")
    app.button(key="router-profile-use-playground").click().run()
    assert says in app.error[0].value
    assert not store.router.profiles()[0].active


def test_a_profile_needs_a_name(open_lab: Open, store: RunStore) -> None:
    app = open_lab("use", recorded(150))
    app.text_input(key="router-profile-name built-in:mixed").set_value("  ").run()
    assert "Give it a name first" in words(app)
    assert app.button(key="router-profile-save").disabled
    assert store.router.profiles() == ()


def test_the_oracle_cannot_be_used(open_lab: Open) -> None:
    app = open_lab("use", recorded(150))
    app.selectbox(key="router-choice").set_value(Choice.ORACLE).run()
    assert "is a yardstick and cannot answer" in words(app)
    assert not any(str(button.key).startswith("router-use-") for button in app.button)


def test_answers_of_unknown_weights_are_taken_as_those_installed(open_lab: Open, store: RunStore) -> None:
    save(open_lab("use", recorded(150), weights=None), "Careful")
    assert [tier.weights_sha256 for tier in store.router.profiles()[0].profile.ladder] == ["a" * 64, "b" * 64]


def profile_file(precision: str, lab: RouterLab) -> bytes:
    study = lab.study(lab.data_set("built-in:mixed"), WEAK, STRONG, Choice.ESCALATE)
    tree = study.profile("Theirs", 0.4, WEIGHTS, "", date(2026, 3, 14)).to_dict()
    tree["ladder"][0]["precision"] = precision
    RouterProfile.from_dict(tree)
    return json.dumps(tree).encode()


@pytest.mark.parametrize(
    ("precision", "says"),
    [("int8", ""), ("int4", "made for small in int4, not in int8"), ("?", "is no router profile")],
)
def test_a_profile_for_another_precision_is_not_imported(
    open_lab: Open, store: RunStore, precision: str, says: str
) -> None:
    app = open_lab("use", recorded(150))
    lab = resources.get_router_lab()
    data = b"{}}" if precision == "?" else profile_file(precision, lab)
    app.file_uploader(key="router-profile-file").set_value([("theirs.json", data, "application/json")])
    app.button(key="router-profile-import-run").click().run()
    assert not app.exception
    if says:
        assert says in app.error[0].value
        assert precision == "?" or "choose a threshold anew" in app.error[0].value
        assert store.router.profiles() == ()
    else:
        assert [kept.profile.name for kept in store.router.profiles()] == ["Theirs"]
        assert app.toast[0].value == "“Theirs” is imported."
        app.file_uploader(key="router-profile-file").set_value([("theirs.json", data, "application/json")])
        app.button(key="router-profile-import-run").click().run()
        assert app.toast[0].value == "“Theirs” is here already."
        assert len(store.router.profiles()) == 1


def test_two_routers_that_continue_each_other_are_joined(open_lab: Open, store: RunStore) -> None:
    largest = "largest@int4"
    prompts = [
        replace(each, answers={**each.answers, largest: answer(1.0, (-0.1,) * 12, e2e_s=9.0)}) for each in recorded(150)
    ]
    app = open_lab("use", prompts, weights={**WEIGHTS, largest: "c" * 64})
    for name, weak, strong in (("Lower", WEAK, STRONG), ("Upper", STRONG, largest)):
        app.selectbox(key="router-weak").set_value(weak).run()
        app.selectbox(key="router-strong").set_value(strong).run()
        save(app, name)
    app.text_input(key="router-profile-name-joined").set_value("Three")
    app.button(key="router-profile-join-run").click().run()
    assert not app.exception
    assert not app.error
    joined = next(kept for kept in store.router.profiles() if kept.profile.name == "Three")
    assert joined.ladder == f"{WEAK} → {STRONG} → {largest}"
    assert joined.profile.figures["quality_kept"] is not None
    exported = json.dumps({**joined.profile.to_dict(), "name": "Theirs of three"}).encode()
    app.file_uploader(key="router-profile-file").set_value([("three.json", exported, "application/json")])
    app.button(key="router-profile-import-run").click().run()
    assert not app.error
    assert {"Three", "Theirs of three"} <= {kept.profile.name for kept in store.router.profiles()}
