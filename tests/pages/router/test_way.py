"""The Router lab's way and its address; every section empty, full, and with data that can show nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from app.router.choosing.scoring import Choice
from tests.support.cascade import STRONG, WEAK, answer, prompt, recorded
from tests.support.router_lab import Open, metrics, words

SECTIONS = ("record", "Threshold", "Curve", "Pick for me", "Calibration", "use", "Tier consistency")
"""Steps of the way, and the sections of the step of choosing."""


@pytest.mark.parametrize("section", SECTIONS)
def test_an_empty_lab_offers_to_record(open_lab: Open, section: str) -> None:
    app = open_lab(section)
    assert "No answers are recorded yet" in words(app)
    assert not app.button(key="router-record").disabled


def test_without_a_model_the_lab_shows_the_way_to_one(open_lab: Open) -> None:
    app = open_lab("record", installed={})
    assert "No model is installed yet" in words(app)
    assert all(str(button.key).startswith("router-step-") for button in app.button)


@pytest.mark.parametrize("section", SECTIONS[1:])
def test_one_tier_alone_makes_no_router(open_lab: Open, section: str) -> None:
    alone = [replace(p, answers={WEAK: p.answers[WEAK]}) for p in recorded(20)]
    assert f"Only {WEAK} is recorded" in words(open_lab(section, alone))


@pytest.mark.parametrize("section", SECTIONS)
def test_nothing_that_both_answered_with_a_score_says_so(open_lab: Open, section: str) -> None:
    app = open_lab(section, [prompt("a", answer(None), answer(None, e2e_s=4.0))])
    assert section == "record" or "No prompt has an answer with a score of both" in words(app)


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("choice", list(Choice))
def test_every_section_shows_every_router(open_lab: Open, section: str, choice: Choice) -> None:
    app = open_lab(section, recorded(150))
    if section != "record":
        app.selectbox(key="router-choice").set_value(choice).run()
    assert not app.exception
    assert not app.error
    assert not any("nan" in value.lower() for value in metrics(app).values())


ODD = {
    "ten prompts": recorded(10),
    "one prompt": recorded(1),
    "labels all the same": [prompt(f"p{n}", answer(1.0), answer(1.0, e2e_s=4.0)) for n in range(60)],
    "never right": [prompt(f"p{n}", answer(0.0), answer(0.0, e2e_s=4.0)) for n in range(60)],
    "the large one worse": recorded(60, weak=0.9, strong=0.3),
    "no token": [prompt(f"p{n}", answer(0.0, (), text=""), answer(1.0, e2e_s=4.0)) for n in range(30)],
}


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("odd", list(ODD))
def test_odd_data_breaks_no_section(open_lab: Open, section: str, odd: str) -> None:
    app = open_lab(section, ODD[odd])
    if section != "record":
        app.selectbox(key="router-choice").set_value(Choice.HYBRID_LEARNED).run()
    assert not app.exception
    assert not any("nan" in value.lower() for value in metrics(app).values())


def test_equal_scores_leave_pgr_undefined_and_say_why(open_lab: Open) -> None:
    app = open_lab("Threshold", ODD["labels all the same"])
    assert metrics(app)["PGR"] == "–"
    assert "Both models score the same on these prompts" in words(app)
    curve = open_lab("Curve", ODD["labels all the same"])
    rows = curve.dataframe[0].value.set_index("Figure")
    assert rows.loc["APGR, area", "Value"] == "–"
    assert "no gap to recover" in rows.loc["APGR, area", "Says"]


def test_a_broken_file_is_named_and_leaves_the_rest_usable(open_lab: Open, tmp_path: Path) -> None:
    (tmp_path / "pairs").mkdir()
    (tmp_path / "pairs" / "a-broken.jsonl").write_text("{}\n")
    app = open_lab("Threshold", recorded(60))
    assert "“a-broken.jsonl”" in app.error[0].value
    assert "No answers are recorded yet" not in words(app)
    app.selectbox(key="router-data-set").set_value("built-in:mixed").run()
    assert not app.error
    assert metrics(app)["Quality kept"]


def test_the_next_step_is_offered(open_lab: Open) -> None:
    app = open_lab("record", recorded(40))
    app.button(key="router-next").click().run()
    assert app.button(key="router-step-choose").value is False
    assert app.query_params["step"] == "choose"
    app.button(key="router-next").click().run()
    app.button(key="router-next").click().run()
    assert app.query_params["step"] == "watch"
    assert "No profile is in use" in words(app)


def test_the_address_names_the_threshold(open_lab: Open) -> None:
    app = open_lab("Threshold", recorded(150))
    app.slider[0].set_value(0.25).run()
    assert app.query_params["threshold"] == "0.250"
    app.query_params["threshold"] = "0.75"
    app.run()
    assert app.slider[0].value == 0.75


def test_an_address_of_a_data_set_that_is_gone_says_so(open_lab: Open) -> None:
    app = open_lab("use", recorded(150))
    app.query_params["data"] = "0123456789ab"
    app.run()
    assert "The data set 0123456789ab is not here" in words(app)


def test_swapped_tiers_stay_swapped_and_say_so(open_lab: Open) -> None:
    app = open_lab("Threshold", recorded(60))
    app.button(key="router-swap").click().run()
    assert (app.selectbox(key="router-weak").value, app.selectbox(key="router-strong").value) == (STRONG, WEAK)
    assert "you swapped them" in words(app)
