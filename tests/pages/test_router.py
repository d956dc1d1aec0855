"""The Router lab, opened through the entry: empty, full in each section, with data that can show nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import engine as engine_package
from app import resources
from app.jobs import Jobs
from app.quantization.tasks import tasks_sha256
from app.router.choosing.scoring import Choice
from app.router.choosing.study import Study
from app.router.lab import RouterLab
from app.router.operation import profiles as router_profiles
from app.router.operation.live import LiveScores
from app.router.way import Step
from app.session import router as lab_session
from app.store import RunStore
from app.views.router import judge as router_judge
from app.views.router.data import record as router_record
from app.views.router.data import recorded as router_recorded
from engine import JUDGED
from engine.cascade import RoutedPrompt, RouterProfile, write_prompts
from engine.evaluation.tasks import MIXED_FILE, Task, load_tasks
from engine.types import GenerationRequest
from tests.app.router.operation.test_watch import add as add_live_run
from tests.app.router.operation.test_watch import profile as live_profile
from tests.support.cascade import STRONG, WEAK, answer, prompt, recorded
from tests.support.fakes import FakeGeneration, FakeLabEngine
from tests.support.ui import open_app, settle, texts

PAGE = "pages/router.py"
MOMENT = datetime(2026, 3, 14, 12, tzinfo=UTC)
SECTIONS = ("record", "Threshold", "Curve", "Pick for me", "Calibration", "use", "Tier consistency")
"""Steps of the way, and the sections of the step of choosing."""
WEIGHTS = {WEAK: "a" * 64, STRONG: "b" * 64}
TASKS = (
    Task(id="sky", category="Facts", prompt="Why is it blue?", checker="contains", expected="sky", max_tokens=8),
    Task(id="moon", category="Facts", prompt="What is it?", checker="contains", expected="moon", max_tokens=8),
)

Open = Callable[..., AppTest]


@pytest.fixture
def open_lab(monkeypatch: pytest.MonkeyPatch, store: RunStore, jobs: Jobs, tmp_path: Path) -> Open:
    """Open the page on a section, with recorded answers and installed models."""

    def open_page(
        section: str,
        prompts: Sequence[RoutedPrompt] = (),
        *,
        weights: dict[str, str] | None = WEIGHTS,
        installed: dict[str, str] | None = None,
        scripted: FakeLabEngine | None = None,
    ) -> AppTest:
        folder = tmp_path / "pairs"
        folder.mkdir(exist_ok=True)
        if prompts:
            write_prompts(folder / "mixed.jsonl", prompts)
            (folder / "mixed.json").write_text(json.dumps({"title": "Mixed", "weights_sha256": weights or {}}))
        here = {"small": "a" * 64, "large": "b" * 64} if installed is None else installed
        models = [
            SimpleNamespace(name=name, title=name, installed=True, in_catalog=False, problem=None, parameters=size)
            for size, name in enumerate(here, start=1)
        ]
        lab = RouterLab(store, folder)
        monkeypatch.setattr(engine_package, "list_models", lambda _: models)
        for module in (router_record, router_judge):
            monkeypatch.setattr(module, "list_models", lambda _: models)
        for module in (router_profiles, router_record, router_recorded, router_judge):
            monkeypatch.setattr(module, "installed_weights", lambda model, _: here.get(model))
        monkeypatch.setattr(resources, "get_jobs", lambda: jobs)
        monkeypatch.setattr(resources, "get_router_lab", lambda: lab)
        place = {"step": section} if section in list(Step) else {"step": "choose", "router-section": section}
        return open_app(monkeypatch, store, PAGE, place, engine=scripted or FakeLabEngine())

    return open_page


def words(app: AppTest) -> str:
    return texts(app, "info", "warning", "error", "success", "caption", "markdown", "text", "subheader", "title")


def metrics(app: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in app.metric}


# --- without anything -----------------------------------------------------------------------------


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


# --- every section --------------------------------------------------------------------------------


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


# --- data -----------------------------------------------------------------------------------------


def test_the_data_section_tells_what_is_recorded_of_each_tier(open_lab: Open) -> None:
    lacking = [replace(p, answers={WEAK: p.answers[WEAK]}) for p in recorded(40)[:10]]
    app = open_lab("record", [*lacking, *recorded(40)[10:]])
    rows = app.dataframe[0].value.set_index("Tier")
    assert rows.loc[WEAK, "Answered"] == "40 of 40"
    assert rows.loc[STRONG, "Answered"] == "30 of 40"
    assert rows.loc[STRONG, "Time per prompt"] == "4.00 s"
    assert "3 categories: Code, Facts, Sums" in words(app)


def test_the_interval_of_scores_in_part_is_about_their_mean(open_lab: Open) -> None:
    alike = [replace(p, answers={**p.answers, WEAK: replace(p.answers[WEAK], score=0.6)}) for p in recorded(40)]
    row = open_lab("record", alike).dataframe[0].value.set_index("Tier").loc[WEAK]
    assert row["Mean score"] == "60 %"
    low, high = (int(end.strip(" %")) for end in row["95 % interval"].split("to"))
    assert low < 60 < high


HERE = {"small": FakeLabEngine.WEIGHTS, "large": FakeLabEngine.WEIGHTS}


def open_own(open_lab: Open, store: RunStore, **options: object) -> AppTest:
    store.router.keep_set(tasks_sha256(TASKS), "Own prompts", TASKS)
    return open_lab("record", installed=HERE, **options)


def record(app: AppTest, jobs: Jobs) -> AppTest:
    app.multiselect(key="router-tiers").set_value(["small@int4", "large@int4"]).run()
    app.button(key="router-record").click().run()
    return settle(app, jobs)


def test_a_recording_runs_and_shows_its_data_set(open_lab: Open, store: RunStore, jobs: Jobs) -> None:
    app = record(open_own(open_lab, store), jobs)
    assert app.selectbox(key="router-data-set").value == tasks_sha256(TASKS)
    assert list(app.dataframe[0].value["Answered"]) == ["2 of 2", "2 of 2"]
    assert "0 answers to record · all of it is there" in words(app)
    assert app.button(key="router-record").label == "Record again"
    assert not app.warning


def test_tiers_are_added_to_a_recording_that_runs(open_lab: Open, store: RunStore, jobs: Jobs) -> None:
    gate = threading.Event()
    scripted = FakeLabEngine(gate=gate)
    app = open_own(open_lab, store, scripted=scripted)
    app.multiselect(key="router-tiers").set_value(["small@int4"]).run()
    app.button(key="router-record").click().run()
    assert app.button(key="router-record").disabled
    app.multiselect(key="router-tiers").set_value(["small@int4", "large@int4"]).run()
    assert app.button(key="router-record").label == "Add to the recording"
    app.button(key="router-record").click().run()
    assert "Being recorded for you: small@int4; then you: small@int4, large@int4" in words(app).replace("\\", "")
    gate.set()
    app = settle(app, jobs)
    assert [request.config.model for request in scripted.requests] == ["small", "small", "large", "large"]
    assert list(app.dataframe[0].value["Answered"]) == ["2 of 2", "2 of 2"]


def test_what_is_recorded_can_be_recorded_again(open_lab: Open, store: RunStore, jobs: Jobs) -> None:
    scripted = FakeLabEngine()
    app = record(open_own(open_lab, store, scripted=scripted), jobs)
    asked = len(scripted.requests)
    app.button(key="router-record").click().run()
    app = settle(app, jobs)
    assert len(scripted.requests) == 2 * asked
    assert all(not tier.to_renew for tier in store.router.recorded(tasks_sha256(TASKS)))


def test_answers_of_weights_that_are_no_longer_installed_say_so(open_lab: Open, store: RunStore, jobs: Jobs) -> None:
    record(open_own(open_lab, store), jobs)
    app = open_lab("record", installed={**HERE, "large": "c" * 64})
    assert "large@int4: recorded with other weights than installed now" in words(app).replace("\\", "")
    app.multiselect(key="router-tiers").set_value(["small@int4", "large@int4"]).run()
    assert "2 answers to record" in words(app)


def test_a_recording_on_two_machines_is_marked(open_lab: Open, store: RunStore) -> None:
    identity = tasks_sha256(TASKS)
    store.router.keep_set(identity, "Own prompts", TASKS)
    for task, cpu in zip(TASKS, ("Xeon", "Epyc"), strict=True):
        store.router.keep_answer(identity, task.id, WEAK, "w", answer(), {"cpu": cpu, "threads": 2})
    app = open_lab("record")
    assert "recorded on more than one machine or setting" in words(app)
    assert "Xeon, 2 threads" in words(app)


def test_a_larger_set_offers_sizes_with_their_times(open_lab: Open, store: RunStore, jobs: Jobs) -> None:
    tasks = tuple(replace(TASKS[n % 2], id=f"t{n}", category=f"c{n % 3}", prompt=f"{n}?") for n in range(40))
    store.router.keep_set(tasks_sha256(tasks), "Forty", tasks)
    app = record(open_lab("record", installed=HERE), jobs)
    assert list(app.dataframe[0].value["Answered"]) == ["30 of 40", "30 of 40"]
    app.segmented_control(key="router-size").set_value("Full").run()
    assert "40 prompts, 20 answers to record" in words(app)
    assert app.button(key="router-record").label == "Resume"


def manage(app: AppTest, action: str) -> AppTest:
    """Choose from the menu of what can be done with the data set: the rest is in a dialog."""
    return app.get("menu_button")[0].click(action).run()


def test_the_set_is_renamed_and_deleted(open_lab: Open, store: RunStore) -> None:
    app = manage(open_own(open_lab, store), "rename")
    app.text_input(key="router-rename").set_value("Better name")
    app.button(key="router-rename-do").click().run()
    assert [kept.name for kept in store.router.sets()] == ["Better name"]
    manage(app, "delete").button(key="router-delete-do").click().run()
    assert store.router.sets() == ()
    assert not app.exception


def test_a_set_keeps_its_name_where_none_is_given(open_lab: Open, store: RunStore) -> None:
    app = manage(open_own(open_lab, store), "rename")
    app.text_input(key="router-rename").set_value("  ")
    app.button(key="router-rename-do").click().run()
    assert [kept.name for kept in store.router.sets()] == ["Own prompts"]


def test_what_is_being_recorded_cannot_be_deleted(open_lab: Open, store: RunStore, jobs: Jobs) -> None:
    gate = threading.Event()
    app = open_own(open_lab, store, scripted=FakeLabEngine(gate=gate))
    app.multiselect(key="router-tiers").set_value(["small@int4"]).run()
    app.button(key="router-record").click().run()
    assert manage(app, "delete").button(key="router-delete-do").disabled
    gate.set()
    settle(app, jobs)
    assert not manage(app, "delete").button(key="router-delete-do").disabled


def test_of_prompts_that_come_with_gearbox_only_recordings_can_be_deleted(open_lab: Open, store: RunStore) -> None:
    mixed = load_tasks(MIXED_FILE)
    store.router.keep_set(tasks_sha256(mixed), "Mixed", mixed)
    store.router.keep_answer(tasks_sha256(mixed), mixed[0].id, WEAK, "w", answer(), {})
    app = open_lab("record")
    options = app.get("menu_button")[0].options
    assert [option.rpartition(": ")[2] for option in options] == ["Fork", "Delete a recording"]
    manage(app, "delete recording").button(key="router-delete-recording").click().run()
    assert store.router.recorded(tasks_sha256(mixed)) == ()


def test_a_fork_shows_the_prompts_to_change(open_lab: Open, store: RunStore) -> None:
    app = manage(open_own(open_lab, store), "fork")
    assert not app.exception
    assert app.text_input(key="router-fork-name").value == "Own prompts, changed"
    assert app.button(key="router-fork-do").label == "Fork"


def test_changes_to_one_category_of_a_fork_are_none_to_another(open_lab: Open, store: RunStore) -> None:
    tasks = tuple(replace(TASKS[0], id=name, prompt=f"{name}?", category=name) for name in ("sums", "facts"))
    store.router.keep_set(tasks_sha256(tasks), "Two kinds", tasks)
    app = open_lab("record", installed=HERE)
    editors = set()
    for category in ("sums", "facts"):
        app.session_state["router-fork-categories"] = [category]
        manage(app, "fork")
        assert app.multiselect(key="router-fork-categories").value == [category]
        editors |= {frame.proto.id for frame in app.dataframe if "router-fork-rows" in frame.proto.id}
    assert len(editors) == 2


# --- bring ----------------------------------------------------------------------------------------


def bring(app: AppTest, name: str, data: bytes) -> AppTest:
    uploader = next(each for each in app.get("file_uploader") if each.key.startswith("router-bring-file"))
    uploader.set_value([(name, data, "text/plain")])
    app.run()
    assert not app.exception
    return app


CAPITALS = b"question;answer\nCapital of France?;Paris\n;Rome\nCapital of Spain?;Madrid\n"


def test_a_file_is_previewed_kept_and_chosen(open_lab: Open, store: RunStore) -> None:
    app = bring(open_lab("bring"), "capitals.csv", CAPITALS)
    shown = app.dataframe[-1].value
    assert list(shown["As it is asked"]) == ["Capital of France?", "Capital of Spain?"]
    assert list(shown["Right is"]) == ["“Paris” in it", "“Madrid” in it"]
    assert "Row 3 has no text in column “question”" in words(app)
    assert "router-next" not in {button.key for button in app.button}, "to go on would be to go on without the file"
    app.button(key="router-bring-keep").click().run()
    assert "router-next" in {button.key for button in app.button}
    assert "“capitals” is kept: 2 prompts, 2 checked by contains, 1 row left out" in app.success[0].value
    (kept,) = store.router.sets()
    assert app.selectbox(key="router-data-set").value == kept.sha256
    assert [task.expected for task in store.router.tasks(kept.sha256)] == ["Paris", "Madrid"]


def test_the_checker_that_was_guessed_can_be_changed(open_lab: Open, store: RunStore) -> None:
    app = bring(open_lab("bring"), "capitals.csv", CAPITALS)
    checker = next(each for each in app.selectbox if each.label == "Checked by")
    assert checker.value == "contains"
    checker.set_value("none").run()
    assert set(app.dataframe[-1].value["Right is"]) == {"likeness to the large model's answer"}
    app.button(key="router-bring-keep").click().run()
    (kept,) = store.router.sets()
    assert {task.checker for task in store.router.tasks(kept.sha256)} == {None}


def test_facts_and_sums_in_one_file_are_checked_each_in_its_way(open_lab: Open) -> None:
    mixed = CAPITALS + b"Capital of Italy?;Rome\nCapital of Cuba?;Havana\nCapital of Peru?;Lima\nWhat is 6 * 7?;42\n"
    app = bring(open_lab("bring"), "mixed.csv", mixed)
    assert "Numbers among the expected answers: 1 of 6" in words(app)
    next(each for each in app.selectbox if each.label == "Checked by").set_value("number or contains").run()
    assert list(app.dataframe[-1].value["Checked by"]) == ["contains"] * 4 + ["number"]
    assert "Numbers among" not in words(app)
    bring(app, "capitals.csv", CAPITALS)
    (checker,) = (each for each in app.selectbox if each.label == "Checked by")
    assert "Number or contains" not in checker.options


def test_a_checker_that_fits_nothing_says_so_and_keeps_nothing(open_lab: Open, store: RunStore) -> None:
    app = bring(open_lab("bring"), "capitals.csv", CAPITALS)
    next(each for each in app.selectbox if each.label == "Checked by").set_value("number").run()
    assert "cannot be checked by column “answer”: “Paris” is no number" in words(app)
    assert "router-bring-keep" not in {button.key for button in app.button}


def test_the_same_file_again_says_that_it_is_there_and_goes_on(open_lab: Open, store: RunStore) -> None:
    app = bring(open_lab("bring"), "capitals.csv", CAPITALS)
    app.button(key="router-bring-keep").click().run()
    app = bring(app, "capitals again.csv", CAPITALS)
    assert "These prompts are here already, as “capitals”, since" in words(app)
    app.button(key="router-bring-open").click().run()
    assert "“capitals” is chosen" in app.success[0].value
    assert len(store.router.sets()) == 1


def test_a_file_that_cannot_be_read_says_why(open_lab: Open) -> None:
    app = bring(open_lab("bring"), "own.csv", "prompt,answer\nGrüße,x\n".encode("latin-1"))
    assert "Save it as UTF-8" in app.error[0].value


# --- threshold ------------------------------------------------------------------------------------


def test_moving_the_slider_changes_the_figures_and_shows_who_moved(open_lab: Open) -> None:
    app = open_lab("Threshold", recorded(150))
    assert "Next to change sides" in words(app)
    before = metrics(app)
    slider = app.slider[0]
    assert slider.value < 1
    slider.set_value(1.0).run()
    assert not app.exception
    after = metrics(app)
    assert before["Sent to the large model"] in ("40 %", "41 %")
    assert after["Sent to the large model"] == "0 %"
    assert "Changed sides between" in words(app)
    assert set(app.dataframe[0].value["Answered by"]) == {"small"}
    assert len(app.dataframe[0].value) in (60, 61)
    app.slider[0].set_value(0.0).run()
    assert metrics(app)["Quality kept"] == "1.00×"


def test_all_prompts_that_changed_sides_are_shown(open_lab: Open) -> None:
    app = open_lab("Threshold", recorded(600))
    app.slider[0].set_value(1.0).run()
    assert 230 < len(app.dataframe[0].value) < 250


def test_a_threshold_is_told_in_words(open_lab: Open) -> None:
    app = open_lab("Threshold", recorded(150))
    said = app.markdown[0].value
    assert said.startswith(f"**{app.slider[0].value:.3f}:**")
    assert "% of prompts the small model is least sure of go to the large one" in said


# --- pick for me ----------------------------------------------------------------------------------


def test_a_picked_threshold_is_used_by_the_slider(open_lab: Open) -> None:
    app = open_lab("Pick for me", recorded(300))
    assert "keep at least 95 % of the large model's score (90 % confidence)" in words(app)
    assert "On the 150 prompts that had no part in choosing" in words(app)
    used = app.button(key="router-use")
    threshold = float(used.label.rpartition("(")[2].rstrip(")"))
    used.click().run()
    assert f"Escalate at {threshold:.3f}" in words(app)
    app.button(key="router-step-choose").click().run()
    app.segmented_control(key="router-section").set_value("Threshold").run()
    assert app.slider[0].value == pytest.approx(threshold, abs=0.001)


def test_too_few_prompts_cannot_certify_and_say_how_many_more_would(open_lab: Open) -> None:
    app = open_lab("Pick for me", recorded(20))
    app.segmented_control(key="router-target").set_value("Certify a risk").run()
    app.number_input(key="router-target-risk").set_value(5).run()
    assert not app.exception
    assert "Not shown yet: about 98 more prompts" in words(app)
    assert not app.success
    # too few block no use: the threshold is set, and marked
    app.button(key="router-use").click().run()
    assert "not shown yet, about 98 more prompts" in words(app)
    app.button(key="router-step-choose").click().run()
    app.segmented_control(key="router-section").set_value("Threshold").run()
    assert "Not shown yet, about 98 more prompts" in words(app)
    app.slider[0].set_value(0.5).run()
    assert "Not shown yet" not in words(app)


def test_where_no_threshold_pays_the_verdict_says_so_and_nothing_else_pretends_success(open_lab: Open) -> None:
    # the small model is never right, and its tries are paid for
    hopeless = recorded(120, weak=0.0)
    app = open_lab("Pick for me", hopeless)
    assert not app.exception
    assert "Always use large" in words(app)
    assert not app.success


def test_a_third_tier_is_chosen_for_and_saved(open_lab: Open, store: RunStore) -> None:
    largest = "largest@int4"
    prompts = [
        replace(each, answers={**each.answers, largest: answer(1.0, (-0.1,) * 12, e2e_s=9.0)}) for each in recorded(150)
    ]
    app = open_lab("Pick for me", prompts, weights={**WEIGHTS, largest: "c" * 64})
    app.selectbox(key="router-weak").set_value(WEAK).run()
    app.selectbox(key="router-strong").set_value(largest).run()
    app.selectbox(key="router-third-tier").set_value(STRONG).run()
    assert not app.exception
    app.text_input(key="router-ladder-name").set_value("Three")
    app.button(key="router-ladder-save").click().run()
    assert not app.error
    (kept,) = store.router.profiles()
    assert kept.ladder == f"{WEAK} → {STRONG} → {largest}"
    assert kept.profile.promise is not None
    evidence = store.router.evidence(kept.id)
    assert evidence is not None
    assert evidence.held_out == 75


def test_a_threshold_is_chosen_for_prices_and_marked_as_derived(open_lab: Open) -> None:
    app = open_lab("Pick for me", recorded(150))
    app.segmented_control(key="router-costs-kind").set_value("Price list").run()
    for tier, price in ((WEAK, 1.0), (STRONG, 9.0)):
        app.number_input(key=f"router-costs-completion-{tier}").set_value(price)
    app.button(key="router-costs-prices").click().run()
    assert not app.exception
    assert "Derived, not measured" in words(app)
    assert "of the cost saved" in words(app)
    app.segmented_control(key="router-section").set_value("Threshold").run()
    assert "Derived, not measured" in words(app)
    assert "Cost saved" in metrics(app)
    assert "Time to first token" not in metrics(app)
    app.segmented_control(key="router-section").set_value("Pick for me").run()
    app.segmented_control(key="router-costs-kind").set_value("As recorded").run()
    app.button(key="router-costs-none").click().run()
    assert "Derived, not measured" not in words(app)


def test_a_machines_times_are_taken_from_a_file_and_refused_in_words(open_lab: Open) -> None:
    app = open_lab("Pick for me", recorded(60))
    app.segmented_control(key="router-costs-kind").set_value("Another machine").run()
    rates = {"per_answer": 0.0, "per_prompt_token": 0.001, "per_completion_token": 0.1}
    for tiers, says in (({"other@int4": rates}, "says nothing of small@int8"), ({WEAK: rates, STRONG: rates}, "")):
        data = json.dumps({"format": 1, "name": "server", "unit": "s", "tiers": tiers}).encode()
        app.file_uploader(key="router-costs-file").set_value([("times.json", data, "application/json")]).run()
        app.button(key="router-costs-machine").click().run()
        assert not app.exception
        assert (says in words(app)) if says else ("times of server" in words(app))


# --- calibration ----------------------------------------------------------------------------------


def test_another_set_with_other_scores_raises_the_drift_warning(open_lab: Open, store: RunStore) -> None:
    tasks = tuple(replace(TASKS[0], id=f"t{n}") for n in range(60))
    store.router.keep_set(tasks_sha256(tasks), "Strange prompts", tasks)
    rng = np.random.default_rng(0)
    for task in tasks:
        strange = answer(1.0, tuple(-rng.uniform(5, 9, 8).round(3)))
        store.router.keep_answer(tasks_sha256(tasks), task.id, WEAK, "a" * 64, strange, {})
    app = open_lab("Calibration", recorded(150))
    assert "Nothing to compare yet" in words(app)
    app.selectbox(key="router-drift-data").set_value(tasks_sha256(tasks)).run()
    assert "Record new pairs and recalibrate" in words(app)
    assert metrics(app)["Scores compared"] == "60"


# --- profiles -------------------------------------------------------------------------------------


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


# --- drift ------------------------------------------------------------------------------------------


def test_drift_looks_at_what_cascades_scored(open_lab: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_lab("Calibration", recorded(150))
    app.selectbox(key="router-drift-data").set_value("cascades").run()
    assert "Nothing to compare yet" in words(app)
    monkeypatch.setattr(RouterLab, "cascade_scores", lambda self, study: LiveScores((MOMENT,) * 40, np.full(40, 0.99)))
    app.run()
    assert metrics(app)["Scores compared"] == "40"
    assert "40 scores of “Your latest cascades with this router, 2026-03-14”" in words(app)
    assert app.warning


# --- consistency ----------------------------------------------------------------------------------


def test_contradictions_come_first(open_lab: Open) -> None:
    rows = open_lab("Tier consistency", recorded(60)).dataframe[0].value
    first = rows.iloc[0]
    assert {first["Small"], first["Large"]} == {"✓ right", "✗ wrong"}
    assert first["Small's answer"] in ("Four.", "Five.")
    assert len(rows) == 60


# --- reading --------------------------------------------------------------------------------------


def select_row(app: AppTest, key: str, row: int) -> AppTest:
    """What a click leaves; the testing framework has no way to click."""
    app.session_state[key] = {"selection": {"rows": [], "columns": [], "cells": [(row, "Prompt")]}}
    return app.run()


def test_an_answer_is_read_where_it_is_marked_wrong_and_marked_right(
    open_lab: Open, store: RunStore, jobs: Jobs
) -> None:
    app = record(open_own(open_lab, store), jobs)
    app.toggle(key="router-read").set_value(True).run()
    app = select_row(app, "router-recorded", 1)
    assert "What is it?" in words(app)
    assert "The sky scatters blue light." in words(app)
    assert "Expected: “moon” in it" in words(app)
    assert "It does not say “moon” as words of their own." in words(app)
    app.button(key="router-recorded-Mark as right-moon-small@int4").click().run()
    assert not app.exception
    assert app.dataframe[0].value.set_index("Tier").loc["small@int4", "Mean score"] == "100 %"
    app = select_row(app, "router-recorded", 1)
    assert "Marked by you, " in words(app)
    assert "Without the mark: ✗ wrong." in words(app)
    app.button(key="router-recorded-Take the mark back-moon-small@int4").click().run()
    assert app.dataframe[0].value.set_index("Tier").loc["small@int4", "Mean score"] == "50 %"


# --- a model as judge -----------------------------------------------------------------------------

OPEN_TASKS = (
    Task(id="why", category="Open", prompt="Why is it blue?", checker=JUDGED, expected="Rayleigh", max_tokens=8),
)


class JudgingEngine(FakeLabEngine):
    """Whoever is asked for one word says "No"."""

    def generate(self, request: GenerationRequest) -> FakeGeneration:
        self.tokens = ["No"] if "one word" in request.messages[-1].content else ["Because", "."]
        return super().generate(request)


def test_answers_are_judged_by_a_model_that_is_named_with_its_reason_and_marked_right(
    open_lab: Open, store: RunStore, jobs: Jobs
) -> None:
    store.router.keep_set(tasks_sha256(OPEN_TASKS), "Own prompts", OPEN_TASKS)
    app = open_lab("record", installed=HERE, scripted=JudgingEngine())
    app.multiselect(key="router-tiers").set_value(["small@int4", "large@int4"]).run()
    assert "Answers are judged by large int4, the largest model installed" in words(app)
    assert "large int4 is one of the tiers: a model that judges its own answers flatters itself." in words(app)
    app.button(key="router-record").click().run()
    app = settle(app, jobs)
    assert app.button(key="router-record").label == "Record again"
    assert list(app.dataframe[0].value["Mean score"]) == ["0 %", "0 %"]
    assert "2 answers judged by a model." in words(app)
    app.toggle(key="router-read").set_value(True).run()
    app = select_row(app, "router-recorded", 0)
    assert "judged by a model" in words(app)
    assert "Expected: what agrees with “Rayleigh”" in words(app)
    assert "Judged wrong by large int4, 61 % sure." in words(app)
    assert "Judged wrong by large int4, which wrote it, 61 % sure." in words(app)
    app.button(key="router-recorded-Mark as right-why-small@int4").click().run()
    app = select_row(app, "router-recorded", 0)
    assert "Marked by you, " in words(app)
    assert "Judged wrong by large int4, 61 % sure." in words(app)


def test_recorded_answers_without_a_verdict_are_offered_to_the_judge(
    open_lab: Open, store: RunStore, jobs: Jobs
) -> None:
    identity = tasks_sha256(OPEN_TASKS)
    store.router.keep_set(identity, "Own prompts", OPEN_TASKS)
    store.router.keep_answer(identity, "why", "small@int4", HERE["small"], answer(None, text="x"), {})
    app = open_lab("record", installed=HERE, scripted=JudgingEngine())
    app.multiselect(key="router-tiers").set_value(["small@int4"]).run()
    assert app.button(key="router-record").label == "Judge 1 answer"
    assert "1 answer to judge" in words(app)
    assert "flatters itself" not in words(app)
    app.button(key="router-record").click().run()
    app = settle(app, jobs)
    assert app.button(key="router-record").label == "Record again"
    assert store.router.judged_until(identity)[0] == 1


def test_the_latest_live_answers_are_judged_on_request(open_lab: Open, store: RunStore, jobs: Jobs) -> None:
    made = live_profile()
    store.router.activate(store.router.keep_profile(made))
    for _ in range(12):
        add_live_run(store, made)
    app = open_lab("watch", recorded(40), installed=HERE, scripted=JudgingEngine())
    assert metrics(app)["Judged right"] == "–"
    button = app.button(key="router-judge")
    assert button.label == "Judge 10 of the latest"
    button.click().run()
    app = settle(app, jobs)
    assert metrics(app)["Judged right"] == "0 %"
    assert "The judge is large int4, the largest model installed." in words(app)
    judged = next(metric for metric in app.metric if metric.label == "Judged right")
    assert "Small models judge not much better than chance" in judged.help
    assert metrics(app)["Right answers"] == "–"
    assert app.button(key="router-judge").label == "Judge 2 of the latest"
    app.button(key="router-judge").click().run()
    app = settle(app, jobs)
    assert app.button(key="router-judge").disabled
    assert "✗ judged wrong" not in words(app)


# --- faults ---------------------------------------------------------------------------------------


def test_a_broken_file_is_named_and_leaves_the_rest_usable(open_lab: Open, tmp_path: Path) -> None:
    (tmp_path / "pairs").mkdir()
    (tmp_path / "pairs" / "a-broken.jsonl").write_text("{}\n")
    app = open_lab("Threshold", recorded(60))
    assert "“a-broken.jsonl”" in app.error[0].value
    assert "No answers are recorded yet" not in words(app)
    app.selectbox(key="router-data-set").set_value("built-in:mixed").run()
    assert not app.error
    assert metrics(app)["Quality kept"]


# --- use --------------------------------------------------------------------------------------------


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


# --- the way ----------------------------------------------------------------------------------------


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
