"""A configuration as a form holds it: it comes back as it went in, through values and through widgets."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from app import resources
from app.background.jobs import Jobs
from app.session.configuration import DEFAULT_CONFIG, cascade_of, config_of, values_of
from app.speculation.drafter_choices import DrafterChoices
from app.store import RunStore
from engine.cascade import BoundaryRouter, RouterProfile, SureBand, TierIdentity
from engine.errors import InvalidRequestError
from engine.types import (
    MAX_GAMMA,
    MIN_WINDOW,
    NEVER,
    PRECISIONS,
    Backend,
    CacheMode,
    CascadeConfig,
    Drafter,
    KVDtype,
    OptimizationConfig,
    Precision,
    RouterKind,
    RunConfig,
    SamplingParams,
    SpeculationConfig,
    Tier,
)
from tests.support.cascading import CASCADE, SMALL
from tests.support.drafting import SpeculatingEngine
from tests.support.ui import ESTIMATES

MODELS = ("smollm2-135m", "a folder/with spaces", "organisation/model", "draft self int4@")
models = st.sampled_from(MODELS)
precisions = st.sampled_from(list(PRECISIONS))
gammas = st.none() | st.integers(0, MAX_GAMMA)
PROFILE = json.dumps(
    RouterProfile(
        name="Careful",
        made_on=date(2026, 1, 1),
        kind=RouterKind.HYBRID,
        ladder=tuple(
            TierIdentity(model=tier.model, precision=tier.precision, weights_sha256="ab" * 32)
            for tier in (SMALL, Tier(model="m", precision=Precision.BF16))
        ),
        boundaries=(BoundaryRouter(threshold=0.42, band=SureBand(keep_below=0.2, up_from=0.8)),),
        data_sha256="",
        prompts=0,
        figures={},
    ).to_dict()
)


@st.composite
def cascades(draw: st.DrawFn) -> CascadeConfig:
    tiers = st.builds(Tier, model=models, precision=precisions)
    smaller = tuple(draw(st.lists(tiers, min_size=1, max_size=2, unique=True)))
    keep_tier, guard = draw(st.booleans()), draw(st.booleans())
    if len(smaller) == 1 and draw(st.booleans()):
        return CascadeConfig(
            smaller=smaller,
            router=RouterKind.HYBRID,
            thresholds=(0.42,),
            profile=PROFILE,
            keep_tier=keep_tier,
            guard=guard,
        )
    router = draw(st.sampled_from([kind for kind in RouterKind if kind not in (RouterKind.HYBRID, RouterKind.ORACLE)]))
    early = draw(st.none() | st.integers(1, 32_768)) if router is RouterKind.ESCALATE else None
    fixed = {RouterKind.ALWAYS_SMALL: NEVER, RouterKind.ALWAYS_LARGE: 0.0}
    thresholds = tuple(fixed.get(router, draw(st.floats(0, 1))) for _ in smaller)
    return CascadeConfig(
        smaller=smaller,
        router=router,
        thresholds=thresholds,
        after_tokens=early,
        keep_tier=keep_tier,
        guard=guard,
    )


speculations = st.one_of(
    st.builds(SpeculationConfig, drafter=st.sampled_from([Drafter.AUTO, Drafter.NGRAM]), gamma=gammas),
    st.builds(SpeculationConfig.with_self, st.sampled_from([Precision.INT4, Precision.NF4]), gammas),
    st.builds(SpeculationConfig.with_model, models, gamma=gammas),
)


@st.composite
def gears(draw: st.DrawFn) -> OptimizationConfig:
    mode = draw(st.sampled_from(list(CacheMode)))
    kept = mode is not CacheMode.OFF
    try:
        return OptimizationConfig.at(
            draw(precisions),
            mode,
            draw(st.sampled_from(list(KVDtype))) if kept else KVDtype.BF16,
            draw(st.none() | st.integers(MIN_WINDOW, 131_072)) if kept else None,
            draw(st.none() | speculations),
            draw(st.none() | cascades()),
        )
    except InvalidRequestError:  # a drafter that does not fit
        assume(False)
        raise


samplings = st.builds(
    SamplingParams,
    temperature=st.floats(0, 5),
    top_p=st.floats(0.01, 1),
    top_k=st.integers(0, 1_000),
    repetition_penalty=st.floats(0.1, 5),
    seed=st.integers(0, 2**53 - 1),
    max_tokens=st.integers(1, 32_768),
    stop=st.lists(st.text(min_size=1), max_size=3).map(tuple),
)


@st.composite
def configs(draw: st.DrawFn) -> RunConfig:
    backend = draw(st.sampled_from(list(Backend)))
    optimization = draw(gears()) if backend is Backend.LOCAL else OptimizationConfig()
    try:
        return RunConfig(model=draw(models), backend=backend, optimization=optimization, sampling=draw(samplings))
    except InvalidRequestError:  # a tier in front of itself
        assume(False)
        raise


@given(configs())
@settings(deadline=None)
def test_a_configuration_comes_back_from_its_values(config: RunConfig) -> None:
    assert config_of(values_of(config)) == config


@given(configs(), configs())
@settings(deadline=None)
def test_what_gears_that_are_off_are_set_to_changes_nothing(config: RunConfig, other: RunConfig) -> None:
    values, others = values_of(config), values_of(other)
    local = config.backend is Backend.LOCAL
    for gear, settings_of_it in {
        "quantization": ("precision",),
        "kv-cache": ("cache-mode", "kv-int8", "kv-window"),
        "speculation": ("drafter", "gamma"),
        "cascade": tuple(setting for setting in values if setting.startswith("cascade-")),
    }.items():
        if not (local and values[gear]):
            values |= {setting: others[setting] for setting in settings_of_it}
    assert config_of(values) == config


def test_the_reference_backend_has_no_gears_whatever_their_toggles_say() -> None:
    on = {"quantization": True, "kv-cache": True, "speculation": True, "cascade": True}
    config = config_of({**values_of(DEFAULT_CONFIG), **on, "backend": Backend.REFERENCE})
    assert config.optimization == OptimizationConfig()


def test_a_window_and_8_bits_need_a_cache() -> None:
    config = RunConfig(model="m", optimization=OptimizationConfig.at(Precision.INT4, CacheMode.KV, KVDtype.INT8, 64))
    without = config_of({**values_of(config), "cache-mode": CacheMode.OFF})
    assert without.optimization == OptimizationConfig.at(Precision.INT4, CacheMode.OFF)


@pytest.mark.parametrize("router", [RouterKind.ALWAYS_SMALL, RouterKind.ALWAYS_LARGE])
def test_a_router_that_judges_nothing_is_one_configuration_whatever_the_sliders_say(router: RouterKind) -> None:
    values = {**with_cascade(CASCADE), "cascade-router": router}
    one, other = (cascade_of({**values, "cascade-first-threshold": t}) for t in (0.1, 0.9))
    assert one == other
    assert cascade_of(with_cascade(one)) == one


def test_a_profile_brings_its_router_and_thresholds() -> None:
    gear = cascade_of({**with_cascade(CASCADE), "cascade-profile": PROFILE, "cascade-after-tokens": 8})
    assert (gear.router, gear.thresholds, gear.after_tokens) == (RouterKind.HYBRID, (0.42,), None)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"cascade-second-model": SMALL.model}, "are the same"),
        ({"cascade-first-model": None}, "has no model"),
        ({"model": "  "}, "Choose a model"),
        ({"model": None}, "Choose a model"),
        ({"model": SMALL.model}, "in front of itself"),
    ],
)
def test_what_cannot_run_is_refused_in_words(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidRequestError, match=says):
        config_of({**with_cascade(CASCADE), "cascade": True, **changed})


def with_cascade(gear: CascadeConfig) -> dict[str, Any]:
    return values_of(RunConfig(model="m", optimization=OptimizationConfig.at(SMALL.precision, cascade=gear)))


# --- through the widgets ----------------------------------------------------------------------------


def lane() -> None:
    import streamlit as st

    from app.session.configuration import Form
    from app.views.gears.editor import edit_lane

    form = Form("form", st.session_state["config"])
    edit_lane(form, ("smollm2-135m",), warm_key="warm", disabled=False)
    st.session_state["read"] = form.config()


def conversation() -> None:
    import streamlit as st

    from app.session.configuration import Form
    from app.views.gears.editor import edit_conversation

    form = Form("form", st.session_state["config"])
    edit_conversation(form, ("smollm2-135m",), disabled=False)
    st.session_state["read"] = form.config()


def config(*gears: Any, model: str = "m", backend: Backend = Backend.LOCAL, **sampling: Any) -> RunConfig:
    optimization = OptimizationConfig.at(*gears) if gears else OptimizationConfig()
    return RunConfig(model=model, backend=backend, optimization=optimization, sampling=SamplingParams(**sampling))


SHOWN = {
    "reference": config(backend=Backend.REFERENCE, temperature=0.7, seed=3, stop=("\n", "END")),
    "plain": config(Precision.BF16),
    "every gear": config(
        Precision.INT8,
        CacheMode.PREFIX,
        KVDtype.INT8,
        256,
        SpeculationConfig.with_model("small", gamma=3),
        CascadeConfig(
            smaller=(SMALL, Tier(model="middle", precision=Precision.NF4)),
            router=RouterKind.ROUTE,
            thresholds=(0.25, 0.5),
            keep_tier=True,
        ),
        max_tokens=7,
        repetition_penalty=1.1,
        top_p=0.5,
        top_k=40,
    ),
    "no cache, copies": config(
        Precision.NF4, CacheMode.OFF, KVDtype.BF16, None, SpeculationConfig(drafter=Drafter.NGRAM, gamma=0)
    ),
    "judged early": config(
        Precision.LLM_INT8,
        CacheMode.KV,
        KVDtype.INT8,
        None,
        SpeculationConfig.with_self(),
        CascadeConfig(smaller=(SMALL,), thresholds=(0.4,), after_tokens=8, guard=False),
    ),
    "never": config(
        Precision.INT4,
        CacheMode.KV,
        KVDtype.BF16,
        None,
        None,
        CascadeConfig(smaller=(SMALL,), router=RouterKind.ALWAYS_SMALL, thresholds=(NEVER,)),
    ),
}


@pytest.fixture
def open_form(store: RunStore, jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    """Open an editor on a configuration."""
    choices = DrafterChoices(SpeculatingEngine(), jobs, tmp_path)
    monkeypatch.setattr(resources, "get_store", lambda: store)
    monkeypatch.setattr(resources, "get_engine", SpeculatingEngine)
    monkeypatch.setattr(resources, "get_estimates", lambda: ESTIMATES)
    monkeypatch.setattr(resources, "get_drafter_choices", lambda: choices)

    def open_page(page: Callable[[], None], config: RunConfig) -> AppTest:
        app = AppTest.from_function(page, default_timeout=60)
        app.session_state["config"] = config
        app.run()
        assert not app.exception
        return app

    return open_page


@pytest.mark.parametrize("page", [lane, conversation])
@pytest.mark.parametrize("name", SHOWN)
def test_the_editor_shows_a_configuration_and_gives_it_back(
    open_form: Callable[..., AppTest], page: Callable[[], None], name: str
) -> None:
    app = open_form(page, SHOWN[name])
    assert app.session_state["read"] == SHOWN[name]
    app.run()
    assert app.session_state["read"] == SHOWN[name]
    offered = {element.key for element in [*app.segmented_control, *app.toggle]}
    assert ("form-backend" in offered) == (page is lane)
    assert "form-cascade-keep-tier" not in offered or page is conversation


def test_a_gear_turned_on_in_the_editor_is_read(open_form: Callable[..., AppTest]) -> None:
    app = open_form(conversation, DEFAULT_CONFIG)
    app.toggle(key="form-speculation").set_value(True).run()
    app.selectbox(key="form-drafter").set_value("ngram")
    app.number_input(key="form-gamma").set_value(4).run()
    assert not app.exception
    gear = app.session_state["read"].optimization
    assert gear == OptimizationConfig.at(Precision.INT4, speculation=SpeculationConfig(drafter=Drafter.NGRAM, gamma=4))
