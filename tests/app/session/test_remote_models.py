"""Models of servers in a form: what they bring along, and which gears cannot be turned for them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from app import resources
from app.cascade.cascades import alone_config
from app.session.configuration import DEFAULT_CONFIG, config_of, values_of
from app.store import NewRemote, RunStore
from app.views.runs.naming import config_name
from engine.types import (
    Backend,
    CascadeConfig,
    OptimizationConfig,
    Precision,
    RunConfig,
    SamplingParams,
    Tier,
)
from tests.support.fakes import FakeEngine
from tests.support.ui import ESTIMATES

SMALL = Tier(model="smollm2-135m", precision=Precision.INT4)
OFFICE, HOME = (Tier(model=name, precision=Precision.UNKNOWN) for name in ("@office", "@home"))


def cascade(*smaller: Tier) -> OptimizationConfig:
    return OptimizationConfig(cascade=CascadeConfig(smaller=smaller, thresholds=(0.3,) * len(smaller)))


ALONE = RunConfig(model="@office", backend=Backend.REMOTE, sampling=SamplingParams(temperature=0.5, seed=3))
BEHIND = RunConfig(model="@office", backend=Backend.REMOTE, optimization=cascade(SMALL, HOME))
IN_FRONT = RunConfig(model="qwen2.5-coder-0.5b", optimization=cascade(OFFICE))


@pytest.mark.parametrize("config", [ALONE, BEHIND, IN_FRONT])
def test_a_configuration_comes_back_from_a_forms_values(config: RunConfig) -> None:
    assert config_of(values_of(config)) == config


def test_a_model_of_this_machine_chosen_instead_is_run_here() -> None:
    here = config_of({**values_of(ALONE), "model": "smollm2-135m", "quantization": True, "precision": Precision.INT4})
    assert (here.backend, here.precision) == (Backend.LOCAL, Precision.INT4)


def test_gears_that_are_set_do_not_go_to_a_server() -> None:
    there = config_of({**values_of(DEFAULT_CONFIG), "model": "@office", "speculation": True, "kv-cache": True})
    assert there.optimization == OptimizationConfig()
    assert (there.backend, there.precision) == (Backend.REMOTE, Precision.UNKNOWN)


@pytest.mark.parametrize(
    ("config", "tier", "backend"),
    [
        (BEHIND, SMALL, Backend.LOCAL),
        (BEHIND, HOME, Backend.REMOTE),
        (IN_FRONT, OFFICE, Backend.REMOTE),
        (IN_FRONT, IN_FRONT.ladder[-1], Backend.LOCAL),
    ],
)
def test_each_tier_can_be_asked_by_itself(config: RunConfig, tier: Tier, backend: Backend) -> None:
    alone = alone_config(config, str(tier))
    assert (alone.ladder, alone.backend) == ((tier,), backend)


def test_it_is_called_by_its_name_and_no_precision() -> None:
    assert config_name(ALONE) == "@office"
    assert config_name(BEHIND).startswith("smollm2-135m int4 → @home → @office, escalate")


# --- through the widgets ----------------------------------------------------------------------------


def lane() -> None:
    import streamlit as st

    from app.session.configuration import Form
    from app.views.gears.editor import edit_lane

    form = Form("form", st.session_state["config"])
    edit_lane(form, ("smollm2-135m",), warm_key="warm", disabled=False)
    st.session_state["read"] = form.config()


@pytest.fixture
def open_lane(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> Callable[[RunConfig], AppTest]:
    """Open a lane's editor where two servers were added."""
    for name in ("@office", "@home"):
        store.remotes.add(NewRemote(name=name, url="http://h/v1", served_name="m"))
    monkeypatch.setattr(resources, "get_store", lambda: store)
    monkeypatch.setattr(resources, "get_engine", FakeEngine)
    monkeypatch.setattr(resources, "get_estimates", lambda: ESTIMATES)

    def open_page(config: RunConfig) -> AppTest:
        app = AppTest.from_function(lane, default_timeout=60)
        app.session_state["config"] = config
        app.run()
        assert not app.exception
        return app

    return open_page


def test_gears_that_the_server_alone_can_turn_are_greyed_with_the_reason(
    open_lane: Callable[[RunConfig], AppTest],
) -> None:
    app = open_lane(ALONE)
    assert app.session_state["read"] == ALONE
    for gear in ("quantization", "kv-cache", "speculation"):
        toggle = app.toggle(key=f"form-no-{gear}")
        assert toggle.disabled
        assert not toggle.value
        assert "set where it runs" in toggle.help
    assert not app.toggle(key="form-cascade").disabled
    assert app.segmented_control(key="form-no-backend").disabled
    assert "form-no-precision" not in {each.key for each in app.segmented_control}


def test_servers_are_offered_as_models_and_as_tiers_but_not_as_drafters(
    open_lane: Callable[[RunConfig], AppTest],
) -> None:
    app = open_lane(DEFAULT_CONFIG)
    assert {"@office", "@home"} <= set(app.selectbox(key="form-model").options)
    app.toggle(key="form-speculation").set_value(True).run()
    assert not any("@" in option.rpartition(" ")[0] for option in app.selectbox(key="form-drafter").options)
    app.toggle(key="form-speculation").set_value(False)
    app.selectbox(key="form-model").set_value("@office").run()
    app.toggle(key="form-cascade").set_value(True).run()
    assert not app.exception
    assert app.session_state["read"].ladder == (SMALL, OFFICE)
    app.selectbox(key="form-cascade-first-model").set_value("@home").run()
    assert not app.exception
    assert app.session_state["read"].ladder == (HOME, OFFICE)
    app.selectbox(key="form-model").set_value("smollm2-135m").run()
    assert not app.exception
    assert app.session_state["read"].ladder == (HOME, SMALL)
