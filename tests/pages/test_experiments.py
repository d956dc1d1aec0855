"""The Experiments page: the list, an experiment opened by its address, its verdict and what can be done with it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from app import resources
from app.background.jobs import Jobs
from app.experiments.planning.factorial import factorial
from app.experiments.running.starting import EXPERIMENT, keep_design
from app.literal import literal
from app.session import experiments as session
from app.store import ExperimentState, Pass, RunStore
from engine import Task
from engine.types import CacheMode, OptimizationConfig, Precision, RunConfig
from tests.support.experiments import AnsweringEngine, answered, configuration, design, keep, quality, run, sums
from tests.support.experiments_page import PAGE, RIGHT, N, charts, held, install, opened, words
from tests.support.ui import open_app


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch, jobs: Jobs) -> None:
    """One model, and jobs of this test's own."""
    install(monkeypatch, jobs)


# --- the list -------------------------------------------------------------------------------------------


def test_without_experiments_the_page_says_what_one_is_for_and_offers_the_form(
    monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    app = open_app(monkeypatch, store, PAGE)
    assert "No experiments yet" in app.info[0].value
    assert app.selectbox(key=session.BASELINE.key).value == "smollm2-135m bf16"
    assert app.multiselect(key="experiments-new-candidates").value == ["smollm2-135m int4"]
    assert app.text_input(key="experiments-new-question").placeholder == (
        "Ship smollm2-135m int4 instead of smollm2-135m bf16?"
    )
    assert not app.button(key="experiments-new-start").disabled


def test_a_set_of_runs_that_has_no_prompt_is_told_of(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    app = open_app(monkeypatch, store, PAGE)
    app.selectbox(key=session.PROMPTS.key).set_value("Rated runs").run()
    assert "Choose another set" in words(app)
    assert not [button for button in app.button if button.label == "Start"]


def test_the_list_has_each_with_its_state_and_its_link(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    first = held(store, [1.0] * 4, name="First")
    second = held(store, [1.0] * 3, name="Second", state=ExperimentState.RUNNING)  # its server was killed
    table = open_app(monkeypatch, store, PAGE).dataframe[0].value
    assert [*table["name"]] == ["Second", "First"]
    assert [*table["state"]] == ["Paused", "Done"]
    assert [*table["answers"]] == [12, 16]
    assert [url.endswith(id) for url, id in zip(table["open"], (second, first), strict=True)] == [True, True]


def test_one_that_is_gone_is_told_of_with_the_way_back(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    app = opened(monkeypatch, store, "01ABC")
    assert "There is no such experiment any more." in words(app)
    app.button[0].click().run()
    assert "New experiment" in words(app)
    assert "experiment" not in app.query_params


# --- the verdict ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lost", "kind", "says"),
    [
        (0, "success", "**Yes.**"),
        (20, "error", "**No.**"),
        (2, "info", "**Not shown yet.**"),
    ],
)
def test_the_answer_comes_first_with_its_reasons(
    monkeypatch: pytest.MonkeyPatch, store: RunStore, lost: int, kind: str, says: str
) -> None:
    app = opened(monkeypatch, store, held(store, [0.0] * lost + RIGHT[lost:]))
    (answer,) = app.get(kind)
    assert answer.value.startswith(says)
    assert "faster than 16 bits in E2E" in answer.value
    assert "What would change it:" in words(app)
    metrics = {metric.label: metric.value for metric in app.metric}
    assert metrics["Quality"] == f"{100 * (N - lost) / N:.1f} %"
    assert metrics["Flip rate"] == f"{100 * lost / N:.1f} %"
    assert charts(app)[:2] == ["Quality against the baseline", "Times with the engine alone"]


def test_where_nothing_says_what_is_right_likeness_is_shown(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    task = Task(id="open", category="Chat", prompt="How are you?", max_tokens=8)
    cells = [quality(place, "open", same_text=place == 0, word_f1=1.0 - place / 2) for place in (0, 1)]
    app = opened(monkeypatch, store, keep(store, design([task]), *cells))
    assert app.info[0].value.startswith("**Nothing says which answers are right.**")
    assert {metric.label: metric.value for metric in app.metric}["Same text"] == "0 %"
    assert "KLD from 16 bits: none. It is measured once all answers are there." in words(app)
    assert charts(app) == []


def test_another_margin_turns_the_verdict(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    app = opened(monkeypatch, store, held(store, [0.0] * 2 + RIGHT[2:]))
    assert app.info[0].value.startswith("**Not shown yet.**")
    app.number_input(key=session.MARGIN).set_value(30.0).run()
    assert app.success[0].value.startswith("**Yes.**")


def test_each_experiment_begins_with_its_own_margin_and_categories(
    monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    first, second = held(store, RIGHT), held(store, RIGHT, name="Other", categories=("Red", "Blue"))
    app = opened(monkeypatch, store, first)
    app.number_input(key=session.MARGIN).set_value(15.0).run()
    app.multiselect(key=session.CATEGORIES).set_value(["Easy"]).run()
    app.query_params["experiment"] = second
    app.run()
    assert not app.exception
    assert app.number_input(key=session.MARGIN).value == 10.0
    assert app.multiselect(key=session.CATEGORIES).value == []
    assert "own.csv · 40 prompts" in words(app)


def test_categories_narrow_what_is_compared(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    scores = [float(n % 2 == 0) for n in range(N)]  # all of the hard ones are lost
    app = opened(monkeypatch, store, held(store, scores))
    assert app.error[0].value.startswith("**No.**")
    app.multiselect(key=session.CATEGORIES).set_value(["Easy"]).run()
    assert {metric.label: metric.value for metric in app.metric}["Quality"] == "100.0 %"
    assert not app.error


def test_the_address_names_the_candidate_and_the_section(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    tasks = sums(4)
    three = [configuration("16 bits", Precision.BF16), configuration("int8", Precision.INT8), configuration("int4")]
    cells = [cell for place in range(3) for cell in answered(place, tasks, [1.0] * 4)]
    id = keep(store, design(tasks, three), *cells)
    app = opened(monkeypatch, store, id, candidate="int8")
    assert app.selectbox(key=session.CANDIDATE.key).value == "int8"
    assert app.selectbox(key=session.CANDIDATE.key).options == ["int8", "int4"]
    app.segmented_control(key=session.SECTION.key).set_value("Method").run()
    assert app.query_params["show"] == "Method"


def test_times_of_disturbed_runs_are_pointed_out(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    tasks = sums(4)
    cells = [cell for place in (0, 1) for cell in answered(place, tasks, [1.0] * 4)]
    shaken = [replace(cell, disturbed=True) if cell.key.prompt_id != "sum 0" else cell for cell in cells]
    said = words(opened(monkeypatch, store, keep(store, design(tasks), *shaken)))
    assert "times of 3 prompts are of disturbed runs alone" in said
    quiet = keep(store, design(tasks, name="Quiet"), *cells)
    assert "disturbed" not in words(opened(monkeypatch, store, quiet))


def test_a_day_is_reckoned_at_the_traffic_entered(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    app = opened(monkeypatch, store, held(store, RIGHT))
    before = [*app.dataframe[0].value["A day"]]
    app.number_input(key=session.TRAFFIC).set_value(20_000).run()
    costs = [float(each.removeprefix("$")) for each in (*before, *app.dataframe[0].value["A day"])]
    assert costs[4:] == pytest.approx([2 * each for each in costs[:4]], rel=0.05)
    assert "saves" in words(app)


# --- as it goes on ------------------------------------------------------------------------------------------


def test_one_that_was_not_begun_says_so_and_can_be(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    app = opened(monkeypatch, store, keep_design(store, design()))
    assert "Results appear here as answers come." in app.info[0].value
    assert app.button(key="experiments-go-on").label == "Start"


def test_a_paused_one_shows_what_it_has_and_can_be_resumed(
    monkeypatch: pytest.MonkeyPatch, store: RunStore, jobs: Jobs
) -> None:
    engine = AnsweringEngine()
    id = keep_design(store, design())
    store.experiments.keep_cell(id, quality(0, "sky", 1.0))
    store.experiments.set_state(id, ExperimentState.PAUSED)
    app = opened(monkeypatch, store, id)
    assert "Paused · begun" in words(app)
    assert "1 of 12 answers" in words(app)
    assert "No prompt was answered by both yet." in app.info[0].value
    monkeypatch.setattr(resources, "get_engine", lambda: engine)
    app.button(key="experiments-go-on").click().run()
    assert jobs.state(EXPERIMENT.job_key(id)) is not None


def test_a_failed_one_says_why(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    id = held(store, RIGHT[:4])
    store.experiments.set_state(id, ExperimentState.FAILED, "The weights of *small* are not those it began with.")
    app = opened(monkeypatch, store, id)
    assert app.error[0].value == literal("The weights of *small* are not those it began with.")
    assert app.button(key="experiments-go-on").label == "Resume"


def test_it_can_be_renamed_and_deleted_and_its_runs_stay(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    engine = AnsweringEngine()
    id = run(engine, store, design())
    app = opened(monkeypatch, store, id)
    (name,) = [each for each in app.text_input if each.label == "Name"]
    name.set_value("Better name")
    next(button for button in app.button if button.label == "Rename").click().run()
    assert store.experiments.get(id).name == "Better name"
    app.button(key="experiments-delete").click().run()
    assert not app.exception
    assert store.experiments.all() == ()
    assert "New experiment" in words(app)
    assert store.page().total == 12


# --- other sections ------------------------------------------------------------------------------------------


def test_all_configurations_are_in_a_table_with_units(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    app = opened(monkeypatch, store, held(store, [0.0] * 2 + RIGHT[2:]), "All configurations")
    table = app.dataframe[0].value
    assert [*table["Configuration"]] == ["16 bits (baseline)", "int4"]
    assert [*table["Score"]] == [100.0, 95.0]
    assert [*table["TTFT p50"]] == [255.0, 127.5]


def test_cost_and_energy_stand_in_the_table_and_an_estimate_says_so(
    monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    tasks = sums(4)
    cells = [*answered(0, tasks, [1.0] * 4), *answered(1, tasks, [1.0] * 4, 0.5)]
    metered = [
        replace(cell, energy_j=9.0, energy_by="RAPL") if cell.key.kind is Pass.SPEED else cell for cell in cells[:8]
    ]
    app = opened(monkeypatch, store, keep(store, design(tasks), *metered, *cells[8:]), "All configurations")
    table = app.dataframe[0].value
    assert [*table["Energy"]] == ["9.00 J", "7.65 J, estimated"]
    assert [text.startswith("$") for text in table["Cost"]] == [True, True]
    assert "Energy: measured, RAPL, estimated from 15 W." in words(app)


def test_kld_stands_beside_the_score_or_why_there_is_none(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    tasks = sums(4)
    three = [configuration("16 bits", Precision.BF16), configuration("int4"), configuration("*large*", model="large")]
    cells = [cell for place in range(3) for cell in answered(place, tasks, [1.0] * 4)]
    cells = [replace(cell, kld=0.0125, kld_tokens=9) if cell.key.configuration == 1 else cell for cell in cells]
    id = keep(store, design(tasks, three), *cells)
    app = opened(monkeypatch, store, id, "All configurations")
    assert [*app.dataframe[0].value["KLD"].fillna(-1)] == [-1, 0.0125, -1]
    assert literal("No KLD: “*large*” is another model than “16 bits”.") in words(app)
    metrics = {metric.label: metric.value for metric in opened(monkeypatch, store, id, candidate="int4").metric}
    assert metrics["KLD from 16 bits"] == "0.0125 nats"
    assert "KLD from 16 bits" not in {
        metric.label for metric in opened(monkeypatch, store, id, candidate="*large*").metric
    }


def test_the_method_says_how_it_was_judged(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    said = words(opened(monkeypatch, store, held(store, RIGHT), "Method"))
    for part in ("40 prompts from own.csv", "Quality pass", "Speed pass", "non-inferiority", "Holm"):
        assert part in said


def test_answers_alone_say_nothing_of_a_speed_pass(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    made = design(passes=[Pass.QUALITY])
    cells = [quality(place, name, 1.0) for place in (0, 1) for name in ("sky", "moon")]
    id = keep(store, made, *cells)
    assert "Speed pass" not in words(opened(monkeypatch, store, id, "Method"))
    app = opened(monkeypatch, store, id)
    assert app.button(key="experiments-replay").disabled
    assert "A day" not in words(app)


def test_each_gear_has_its_bar(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    tasks = sums(8)
    gears = OptimizationConfig.at(Precision.INT4, CacheMode.PREFIX)
    sets = factorial(RunConfig(model="small", optimization=gears))
    cells = [cell for place in range(4) for cell in answered(place, tasks, [1.0] * 8, 1.0 / (1 + place))]
    id = keep(store, design(tasks, sets), *cells)
    app = opened(monkeypatch, store, id)
    assert app.segmented_control(key=session.SECTION.key).value == "Each gear"
    assert charts(app) == [
        "E2E, mean", "TTFT, mean", "Memory: weights and KV", "Cost of 1,000 requests", "Quality",
    ]  # fmt: skip
    for chart in app.get("plotly_chart"):
        bars, *_ = json.loads(chart.proto.spec)["data"]
        assert bars["x"] == ["No gears", "KV cache", "int4", "All on"], "the same order in every figure"
    _, intervals = json.loads(app.get("plotly_chart")[0].proto.spec)["data"]
    assert intervals["x"] == ["KV cache", "int4"]
    assert all(reach >= 0 for side in ("array", "arrayminus") for reach in intervals["error_y"][side])
    assert "Shapley" in words(app)


def test_one_configuration_has_nothing_to_be_held_against(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    made = design(configurations=[configuration("alone")])
    app = opened(monkeypatch, store, keep(store, made, quality(0, "sky", 1.0)))
    assert "there is nothing to hold against it" in app.info[0].value
