"""The Speculation lab, opened through the entry: empty, running, full, and refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from streamlit.testing.v1 import AppTest

import engine as engine_package
from app import resources
from app.background.jobs import Jobs
from app.prompts.choosing import some_of_each
from app.session import playground
from app.speculation import drafter_choices
from app.speculation.drafter_choices import DrafterChoices
from app.speculation.lab import GAMMAS, PAIRS, lab_prompts
from app.speculation.measuring import measure_drafters
from app.store import RunStore
from engine.errors import GearboxError
from engine.types import TEXT_DRAFTERS, Drafter, Precision, SpeculationConfig
from tests.support.drafting import SpeculatingEngine, make_report
from tests.support.ui import open_app, settle, texts

PAGE = "pages/speculation.py"
MODEL = "smollm2-135m"
NGRAM = SpeculationConfig(drafter=Drafter.NGRAM)
CATEGORIES, GAMMA, MATCHMAKER = "By category", "Against γ", "Matchmaker"

Open = Callable[..., AppTest]


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch, store: RunStore, jobs: Jobs, tmp_path: Path) -> Open:
    """Open the page on a section, the engine asked for its drafters."""

    def open_lab(
        scripted: SpeculatingEngine,
        section: str = "",
        *,
        precision: Precision = Precision.INT8,
        installed: tuple[str, ...] = (MODEL, "qwen2.5-coder-0.5b"),
    ) -> AppTest:
        models = [
            SimpleNamespace(
                name=name, title=name, in_catalog=True, installed=name in installed, problem=None, parameters=None
            )
            for name in (MODEL, "qwen2.5-coder-0.5b")
        ]
        choices = DrafterChoices(scripted, jobs, tmp_path)
        monkeypatch.setattr(engine_package, "list_models", lambda _: models)
        monkeypatch.setattr(drafter_choices, "list_models", lambda _: models)
        monkeypatch.setattr(resources, "get_jobs", lambda: jobs)
        monkeypatch.setattr(resources, "get_drafter_choices", lambda: choices)
        app = open_app(monkeypatch, store, PAGE, {"speculation": section} if section else None, engine=scripted)
        if installed:
            app.segmented_control(key="speculation-precision").set_value(precision).run()
            settle(app, jobs)
        return app

    return open_lab


def words(app: AppTest) -> str:
    return texts(app, "info", "warning", "error", "caption", "markdown", "text", "subheader", "title")


def ignore(stage: str, fraction: float) -> None:
    """A job's report that nobody reads."""


def test_without_a_model_the_page_shows_the_way_to_one(lab: Open) -> None:
    app = lab(SpeculatingEngine(), installed=())
    assert "No model is installed yet" in app.info[0].value
    assert [link.proto.page for link in app.get("page_link")] == ["model-library"]
    assert not app.button


def test_a_model_that_is_gone_is_told_of_and_another_can_be_chosen(lab: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    app = lab(SpeculatingEngine())
    left = [
        SimpleNamespace(name=name, title=name, in_catalog=True, installed=name != MODEL, problem=None)
        for name in (MODEL, "qwen2.5-coder-0.5b")
    ]
    monkeypatch.setattr(engine_package, "list_models", lambda _: left)
    app.run()
    assert f"Not installed yet: {MODEL}" in [info.proto.title for info in app.info]
    assert "or choose another model above" in words(app)
    assert not app.button
    app.selectbox(key="speculation-model").select("qwen2.5-coder-0.5b").run()
    assert not app.info
    assert not app.button(key="speculation-run").disabled


@pytest.mark.parametrize(
    ("section", "button"),
    [
        ("", "speculation-run"),
        (CATEGORIES, "speculation-categories-run"),
        (GAMMA, "speculation-gamma-run"),
        (MATCHMAKER, "speculation-matchmaker-run"),
    ],
)
def test_an_empty_section_offers_one_button_and_runs_nothing(lab: Open, section: str, button: str) -> None:
    scripted = SpeculatingEngine()
    app = lab(scripted, section)
    assert not app.button(key=button).disabled
    assert scripted.requests == []


# --- on my prompt ---------------------------------------------------------------------------------


def test_a_prompt_shows_where_its_tokens_came_from(lab: Open, store: RunStore, jobs: Jobs) -> None:
    app = lab(SpeculatingEngine())
    app.button(key="speculation-run").click().run()
    settle(app, jobs)
    figures = {metric.label: metric.value for metric in app.metric}
    assert figures["Speed-up"] == "1.50×"
    assert "Drafted against plain, per token: 1.50× faster (over 3 pairs)." in words(app)
    assert (figures["Acceptance rate"], figures["Acceptance length"]) == ("50 %", "2.00 tokens")
    assert figures["Tokens a pass"] == "1.50 tokens"
    assert "Identical to plain decoding: checked, 6/6 tokens" in words(app)
    (notes,) = app.dataframe
    assert list(notes.value["Now"]) == ["paused"]
    assert store.page().total == 2 * PAIRS


def test_a_speed_up_above_tokens_a_pass_is_shown_as_a_fault_and_no_result(lab: Open, jobs: Jobs) -> None:
    app = lab(SpeculatingEngine(speedup=4.4))
    app.button(key="speculation-run").click().run()
    settle(app, jobs)
    assert {metric.label: metric.value for metric in app.metric}["Speed-up"] == "–"
    assert [error.proto.title for error in app.error] == ["Measurement fault: this is not a result"]
    assert "4.4× the time a token of the drafted one, whose passes gave 1.67 tokens each" in app.error[0].value


@pytest.mark.parametrize("section", [CATEGORIES, GAMMA, MATCHMAKER])
def test_no_section_counts_a_speed_up_that_cannot_be(lab: Open, store: RunStore, section: str) -> None:
    scripted = SpeculatingEngine(speedup=4.4)
    gears = [replace(NGRAM, gamma=2)] if section == GAMMA else [NGRAM]
    measure_drafters(scripted, store.drafts, MODEL, Precision.INT8, gears, lab_prompts()[:1], ignore)
    app = lab(scripted, section)
    assert [error.proto.title for error in app.error] == ["Measurement fault: this is not a result"]
    assert "4.4× the time" in app.error[0].value
    assert "4.4×" not in texts(app, "caption", "info", "markdown", "metric")
    for table in app.dataframe:
        assert "4.4×" not in table.value.to_string()
    assert not [button for button in app.button if button.key == "speculation-use"]


def test_an_impossible_drafter_is_refused_in_words(lab: Open) -> None:
    scripted = SpeculatingEngine()
    app = lab(scripted, precision=Precision.INT4)
    app.selectbox(key="speculation-drafter").set_value("self int4").run()
    assert "A copy would draft no faster." in words(app)
    app.button(key="speculation-run").click().run()
    assert "The model is in int4 already" in words(app)
    assert scripted.requests == []


def test_a_run_that_fails_says_why(lab: Open, jobs: Jobs) -> None:
    app = lab(SpeculatingEngine(failure=GearboxError("No room.")))
    app.button(key="speculation-run").click().run()
    assert "No room." in words(settle(app, jobs))


# --- by category ----------------------------------------------------------------------------------


def test_categories_are_measured_in_the_background_and_kept(lab: Open, store: RunStore, jobs: Jobs) -> None:
    app = lab(SpeculatingEngine(), CATEGORIES)
    assert "Nothing was measured for smollm2-135m in int8 yet." in words(app)
    app.button(key="speculation-categories-run").click().run()
    settle(app, jobs)
    table = app.dataframe[0].value
    assert list(table["Category"]) == list(dict.fromkeys(prompt.category for prompt in lab_prompts()))
    assert set(table["Speed-up"]) == {"1.50×"}
    assert set(table["Against plain"]) == {"faster"}
    assert set(table["Identical"]) == {"18/18 tokens"}
    assert app.button(key="speculation-categories-run").label == "Measure again"
    assert len(store.drafts.results(MODEL, "int8")) == len(lab_prompts())


def test_a_measurement_that_was_cut_short_is_offered_to_resume(lab: Open, store: RunStore) -> None:
    scripted = SpeculatingEngine()
    measure_drafters(scripted, store.drafts, MODEL, Precision.INT8, [NGRAM], lab_prompts()[:4], ignore)
    app = lab(scripted, CATEGORIES)
    assert app.button(key="speculation-categories-run").label == "Resume"
    assert list(app.dataframe[0].value["Prompts"]) == ["3 of 3", "1 of 3"]


def test_refused_drafters_are_not_offered(lab: Open) -> None:
    app = lab(SpeculatingEngine(), CATEGORIES)
    free = [drafter.info.label for drafter in TEXT_DRAFTERS]
    assert app.multiselect[0].options == ["Auto", *free, "int4 copy of itself"]
    assert "N-grams" in free


# --- against γ ------------------------------------------------------------------------------------


def test_gammas_are_measured_beside_the_formula(lab: Open, store: RunStore, jobs: Jobs) -> None:
    app = lab(SpeculatingEngine(), GAMMA)
    app.button(key="speculation-gamma-run").click().run()
    settle(app, jobs)
    assert "Fastest at γ 1: 1.50× faster (over 3 pairs), where α is 67 %" in words(app)
    results = store.drafts.results(MODEL, "int8")
    assert [result.speculation.gamma for result in results] == list(GAMMAS)
    assert all(result.figures.predicted for result in results)


# --- matchmaker -----------------------------------------------------------------------------------


def test_the_matchmaker_says_who_suits_and_why_not(lab: Open) -> None:
    table = lab(SpeculatingEngine(), MATCHMAKER).dataframe[0].value.set_index("Drafter")
    assert table["Suits"]["qwen2.5-coder-0.5b"] == "qwen cannot draft: other tokenizer."
    assert table["Relative cost"]["int4 copy"] == "40 %, estimated"
    assert table["Expected speed-up"]["int4 copy"] == "1.3× at γ 3"
    assert set(table["Measured speed-up"]) == {"–"}


def test_the_best_drafter_is_set_in_the_playground(lab: Open, store: RunStore, jobs: Jobs) -> None:
    app = lab(SpeculatingEngine(), MATCHMAKER)
    app.button(key="speculation-matchmaker-run").click().run()
    settle(app, jobs)
    assert len(store.drafts.results(MODEL, "int8")) == 2 * len(some_of_each(lab_prompts(), 1))
    table = app.dataframe[0].value.set_index("Drafter")
    assert table["Measured speed-up"]["n-grams"] == "1.50× faster"
    assert app.button(key="speculation-use").label == "Use n-grams in the Playground"
    app.button(key="speculation-use").click().run()
    assert "Lane B is set to smollm2-135m in int8, drafts: n-grams." in texts(app, "success")
    app.switch_page("pages/playground.py").run()
    assert not app.exception
    assert app.toggle(key=playground.lane_form("b").key("speculation")).value
    assert app.selectbox(key=playground.lane_form("b").key("drafter")).value == "ngram"
    assert app.segmented_control(key=playground.lane_form("b").key("precision")).value == Precision.INT8


def test_drafters_that_are_slower_than_plain_decoding_are_called_so(lab: Open, store: RunStore, jobs: Jobs) -> None:
    scripted = SpeculatingEngine(speedup=0.8)
    measure_drafters(scripted, store.drafts, MODEL, Precision.INT8, [NGRAM], some_of_each(lab_prompts(), 1), ignore)
    app = lab(scripted, MATCHMAKER)
    said = words(app)
    assert "None of them is faster than plain decoding on these prompts. The nearest is n-grams: 1.25× slower" in said


def test_a_drafter_within_the_noise_is_no_gain(lab: Open, store: RunStore, jobs: Jobs) -> None:
    scripted = SpeculatingEngine(speedup=1.03)
    measure_drafters(scripted, store.drafts, MODEL, Precision.INT8, [NGRAM], some_of_each(lab_prompts(), 1), ignore)
    app = lab(scripted, MATCHMAKER)
    assert "None of them is faster than plain decoding on these prompts. The nearest is n-grams: tied" in words(app)


# --- kept runs ------------------------------------------------------------------------------------


def test_a_kept_run_shows_its_drafts(lab: Open, store: RunStore, jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    app = lab(SpeculatingEngine(report=replace(make_report(), unavailable=("m cannot draft.",))))
    app.button(key="speculation-run").click().run()
    settle(app, jobs)
    drafted = store.page().rows[0]
    app = open_app(monkeypatch, store, "pages/runs.py", {"run": drafted.id}, engine=SpeculatingEngine())
    app.segmented_control(key=f"section-{drafted.id}").set_value("Speculation").run()
    assert not app.exception
    assert "Identical to plain decoding" in words(app)
    assert "m cannot draft." in words(app)
    assert "Acceptance rate" in [metric.label for metric in app.metric]


def test_the_matchmakers_sizes_go_on_from_one_another(lab: Open, store: RunStore, jobs: Jobs) -> None:
    app = lab(SpeculatingEngine(), MATCHMAKER)
    for size, prompts in (("Quick", 3), ("Standard", 6)):
        app.segmented_control(key="speculation-matchmaker-size").set_value(size).run()
        app.button(key="speculation-matchmaker-run").click().run()
        settle(app, jobs)
        assert len(store.drafts.results(MODEL, "int8")) == 2 * prompts
        assert f"{prompts} of {prompts}" in set(app.dataframe[0].value["Prompts"])
    app.segmented_control(key="speculation-matchmaker-size").set_value("Full").run()
    assert "6 of 18" in set(app.dataframe[0].value["Prompts"])
    assert app.button(key="speculation-matchmaker-run").label == "Resume"
