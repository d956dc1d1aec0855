"""Whole configurations with one click: plain, all gears, and those saved under a name."""

from __future__ import annotations

from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app.doors.person import TAB_ID
from app.store import RunStore
from engine.types import Backend, CacheMode, CascadeConfig, OptimizationConfig, SpeculationConfig
from tests.support.cascading import SMALL
from tests.support.fakes import FakeEngine, make_request
from tests.support.playground import LANE_B, run, words


@pytest.mark.parametrize(
    ("installed", "ladder"),
    [
        (("smollm2-135m",), ["smollm2-135m int4"]),
        (("smollm2-135m", "qwen2.5-coder-0.5b"), ["smollm2-135m int4", "qwen2.5-coder-0.5b int4"]),
        (
            ("smollm2-135m", "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b"),
            ["qwen2.5-coder-0.5b int4", "qwen2.5-coder-1.5b int4"],
        ),
    ],
)
def test_all_gears_is_one_click_and_raced_against_the_same_model_plain(
    playground: Any, installed: tuple[str, ...], ladder: list[str]
) -> None:
    scripted = FakeEngine()
    page = playground(scripted, installed=installed)
    page.number_input(key=LANE_B.key("max-tokens")).set_value(5).run()
    page.button(key="use-all-gears").click().run()
    assert not page.exception
    assert not page.error
    run(page)
    plain, geared = scripted.requests
    assert [str(tier) for tier in geared.config.ladder] == ladder
    gears = geared.config.optimization
    assert (gears.cache_mode, geared.cold, gears.speculation) == (CacheMode.PREFIX, False, SpeculationConfig())
    assert geared.config.sampling.max_tokens == 5
    assert (plain.config.model, plain.config.backend) == (geared.config.model, Backend.LOCAL)
    assert plain.config.optimization == OptimizationConfig()


def test_plain_is_one_click_too(playground: Any) -> None:
    scripted = FakeEngine()
    page = playground(scripted)
    page.button(key="use-all-gears").click().run()
    page.button(key="use-plain").click().run()
    run(page)
    assert [request.config.optimization for request in scripted.requests] == [OptimizationConfig()] * 2
    assert scripted.requests[1].config.model == "qwen2.5-coder-0.5b"


def save(page: AppTest, name: str, lane: str = "b") -> AppTest:
    page.selectbox(key="saved-lane").set_value(lane)
    page.text_input(key="saved-name").set_value(name)
    page.button(key="saved-save").click().run()
    assert not page.exception
    return page


def test_a_lane_is_saved_under_a_name_and_comes_back_with_one_click(playground: Any) -> None:
    scripted = FakeEngine()
    page = playground(scripted)
    assert "Nothing is saved yet." in words(page)
    page.button(key="use-all-gears").click().run()
    page.number_input(key=LANE_B.key("seed")).set_value(7).run()
    save(page, "Mine")
    assert page.selectbox(key="saved-chosen").options == ["Mine"]
    assert page.text_input(key="saved-name").value == ""
    page.button(key="use-plain").click().run()
    page.number_input(key=LANE_B.key("seed")).set_value(0).run()
    page.button(key="saved-use-a").click().run()
    run(page)
    first, other = scripted.requests
    assert [str(tier) for tier in first.config.ladder] == ["smollm2-135m int4", "qwen2.5-coder-0.5b int4"]
    assert (first.config.sampling.seed, first.cold) == (7, False)
    assert other.config.optimization == OptimizationConfig()


def test_a_name_that_is_there_is_overwritten_only_when_asked(playground: Any, store: RunStore) -> None:
    page = save(playground(FakeEngine()), "Mine")
    person = page.session_state[TAB_ID]
    save(page, "Mine", "a")
    assert "“Mine” is there already." in words(page)
    assert store.configurations.saved(person)[0].config["backend"] == "local"
    page.button(key="saved-overwrite-it").click().run()
    assert store.configurations.saved(person)[0].config["backend"] == "reference"
    assert not [button for button in page.button if button.key == "saved-overwrite-it"]


def test_a_saved_configuration_is_renamed_and_deleted(playground: Any, store: RunStore) -> None:
    page = save(save(playground(FakeEngine()), "Mine"), "Other")
    person = page.session_state[TAB_ID]
    (renamed,) = [field for field in page.text_input if field.label == "Name"]
    assert renamed.value == "Other"
    renamed.set_value("Mine").run()
    assert "“Mine” is there already." in words(page)
    (renamed,) = [field for field in page.text_input if field.label == "Name"]
    renamed.set_value("Best").run()
    assert [saved.name for saved in store.configurations.saved(person)] == ["Best", "Mine"]
    page.button(key="saved-delete").click().run()
    assert [saved.name for saved in store.configurations.saved(person)] == ["Mine"]


def test_a_saved_configuration_says_which_model_is_gone_and_others_are_not_shown(
    playground: Any, store: RunStore
) -> None:
    gone = make_request(model="gone", cascade=CascadeConfig(smaller=(SMALL,), thresholds=(0.3,))).config
    store.configurations.save(None, "Theirs", gone.to_dict(), warm=False)
    store.configurations.save("somebody else", "Private", gone.to_dict(), warm=False)
    store.configurations.save("me", "Future", {"model": "m", "sampling": {"unheard_of": 1}}, warm=False)
    page = playground(FakeEngine(), state={TAB_ID: "me"})
    assert page.selectbox(key="saved-chosen").options == ["Future", "Theirs (of the desk)"]
    assert "This version of Gearbox cannot read it." in words(page)
    assert page.button(key="saved-use-b").disabled
    page.selectbox(key="saved-chosen").select_index(1).run()
    assert "Not here: gone" in words(page)
    assert not [button for button in page.button if button.key == "saved-delete"]
    page.button(key="saved-use-b").click().run()
    assert page.selectbox(key=LANE_B.key("model")).value == "gone"
