"""The cascading gear of a lane, its tiers and its receipt."""

from __future__ import annotations

from typing import Any

from streamlit.testing.v1 import AppTest

from app.background.jobs import Jobs
from app.store import RunStore
from engine.types import RouterKind
from tests.support.cascading import SMALL, CascadingEngine
from tests.support.fakes import FakeEngine
from tests.support.playground import LANE_B, run, set_rounds, words
from tests.support.ui import settle


def test_turning_the_cascade_on_chooses_two_models_that_make_one(playground: Any) -> None:
    scripted = FakeEngine()
    page = playground(scripted)
    page.toggle(key=LANE_B.key("cascade")).set_value(True).run()
    assert ":red[" not in words(page)
    run(page)
    assert [str(tier) for tier in scripted.requests[1].config.ladder] == [
        "smollm2-135m int4",
        "qwen2.5-coder-0.5b int4",
    ]
    page.toggle(key=LANE_B.key("cascade")).set_value(False).run()
    page.toggle(key=LANE_B.key("cascade")).set_value(True).run()
    assert page.selectbox(key=LANE_B.key("model")).value == "qwen2.5-coder-0.5b"


def test_a_model_alone_makes_no_cascade_and_the_toggle_says_what_is_missing(playground: Any) -> None:
    page = playground(FakeEngine(), installed=("smollm2-135m",))
    toggle = page.toggle(key=LANE_B.key("cascade"))
    assert toggle.disabled
    assert "needs a second model" in toggle.help


def set_cascade(page: AppTest) -> AppTest:
    """Lane B asks smollm2-135m in front of qwen2.5-coder-0.5b."""
    page.toggle(key=LANE_B.key("cascade")).set_value(True).run()
    page.selectbox(key=LANE_B.key("model")).set_value("qwen2.5-coder-0.5b").run()
    assert not page.exception
    return page


def test_the_cascading_gear_reaches_the_engine_as_it_is_set(playground: Any) -> None:
    scripted = CascadingEngine()
    page = set_cascade(playground(scripted))
    page.slider(key=LANE_B.key("cascade-first-threshold")).set_value(0.45).run()
    assert "mean probability of its tokens is 55 % or less" in words(page)
    page.number_input(key=LANE_B.key("cascade-after-tokens")).set_value(8).run()
    assert "its first 8 tokens" in words(page)
    run(page)
    config = scripted.requests[1].config
    gear = config.optimization.cascade
    assert gear is not None
    assert (gear.smaller, gear.thresholds, gear.after_tokens) == ((SMALL,), (0.45,), 8)
    assert gear.router is RouterKind.ESCALATE
    assert config.model == "qwen2.5-coder-0.5b"
    assert scripted.requests[0].config.optimization.cascade is None


def test_two_smaller_tiers_have_a_threshold_each(playground: Any) -> None:
    scripted = CascadingEngine()
    page = set_cascade(playground(scripted, installed=("smollm2-135m", "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b")))
    page.selectbox(key=LANE_B.key("cascade-second-model")).set_value("qwen2.5-coder-0.5b").run()
    page.selectbox(key=LANE_B.key("model")).set_value("qwen2.5-coder-1.5b").run()
    page.slider(key=LANE_B.key("cascade-second-threshold")).set_value(0.2).run()
    page.segmented_control(key=LANE_B.key("cascade-router")).set_value(RouterKind.RANDOM).run()
    run(page)
    config = scripted.requests[1].config
    assert [str(tier) for tier in config.ladder] == [
        "smollm2-135m int4",
        "qwen2.5-coder-0.5b int4",
        "qwen2.5-coder-1.5b int4",
    ]
    assert config.optimization.cascade is not None
    assert config.optimization.cascade.thresholds == (0.3, 0.2)


def test_a_ladder_that_makes_no_sense_is_refused_in_words(playground: Any) -> None:
    page = playground(FakeEngine())
    page.toggle(key=LANE_B.key("cascade")).set_value(True).run()
    page.selectbox(key=LANE_B.key("model")).set_value("smollm2-135m").run()
    assert "smollm2-135m int4 cannot be a smaller tier in front of itself." in words(page)
    assert "smollm2-135m int4 is the model above: choose a larger one there." in words(page)
    run(page)
    assert page.error[0].value == "smollm2-135m int4 cannot be a smaller tier in front of itself."


def test_a_lane_shows_who_answered_and_what_the_other_tier_said(playground: Any, store: RunStore, jobs: Jobs) -> None:
    page = run(set_cascade(playground(CascadingEngine("No idea ."))))
    assert [text.value for text in page.text] == ["Yes, light."] * 2
    assert "Answered by qwen2.5-coder-0.5b int4" in words(page)
    figures = {metric.label: metric.value for metric in page.metric}
    assert figures["Thrown away"] == "3 tokens"
    assert figures["Tried in vain"] == "250 ms"
    assert figures["Large model alone"] == "30.0 ms"
    assert "250 ms lost" in {metric.delta for metric in page.metric}
    (tiers,) = (table.value for table in page.dataframe if "Tier" in table.value)
    assert list(tiers["Tier"]) == ["smollm2-135m int4", "qwen2.5-coder-0.5b int4"]
    assert list(tiers["Answer"]) == ["3 tokens thrown away", "2 tokens kept"]
    assert tiers["Score"].tolist() == ["0.62 ≥ 0.30", "–"]
    # the small answer was written out, so nobody needs to be asked again
    assert "one says yes, the other no" in words(page)
    assert not [button for button in page.button if "Ask" in button.label]
    kept = store.get(store.page(limit=1).rows[0].id)
    assert kept.cascade is not None


def test_a_tier_whose_answer_was_cut_short_is_asked_in_the_background(
    playground: Any, store: RunStore, jobs: Jobs
) -> None:
    scripted = CascadingEngine()
    page = set_cascade(playground(scripted))
    page.number_input(key=LANE_B.key("cascade-after-tokens")).set_value(3).run()
    run(page)
    scripted.tokens = ("No", ", dust.")
    (button,) = (button for button in page.button if button.label == "Ask smollm2-135m int4 too")
    button.click().run()
    page = settle(page, jobs)
    asked = scripted.requests[-1]
    assert (asked.config.model, asked.config.optimization.cascade) == ("smollm2-135m", None)
    assert asked.prompt == scripted.requests[1].prompt
    assert "one says yes, the other no" in words(page)
    assert store.page().total == 2


def test_a_guard_that_is_turned_off_is_asked_for_and_named(playground: Any) -> None:
    scripted = CascadingEngine()
    page = set_cascade(playground(scripted))
    page.toggle(key=LANE_B.key("cascade-guard")).set_value(False).run()
    assert "never steps aside" in words(page)
    run(page)
    gear = scripted.requests[1].config.optimization.cascade
    assert gear is not None
    assert not gear.guard


def test_rounds_are_not_led_by_what_a_cascade_learns(playground: Any) -> None:
    scripted = CascadingEngine()
    page = run(set_cascade(playground(scripted)))
    assert [request.unguarded for request in scripted.requests] == [False, False]
    run(set_rounds(page, 3))
    assert all(request.unguarded for request in scripted.requests[2:])


def test_a_run_page_keeps_the_receipt(playground: Any, store: RunStore) -> None:
    page = run(set_cascade(playground(CascadingEngine())))
    page.switch_page("pages/runs.py")
    page.query_params["run"] = store.page(limit=1).rows[0].id
    page.run()
    assert not page.exception
    (section,) = (control for control in page.segmented_control if control.label == "Show")
    section.set_value("Cascade").run()
    assert not page.exception
    assert "Answered by qwen2.5-coder-0.5b int4" in words(page)
    assert "Tried in vain" in {metric.label for metric in page.metric}
