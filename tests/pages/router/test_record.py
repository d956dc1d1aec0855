"""The Router lab's step of recording, and what can be done with a data set."""

from __future__ import annotations

import threading
from dataclasses import replace

from streamlit.testing.v1 import AppTest

from app.background.jobs import Jobs
from app.quantization.tasks import tasks_sha256
from app.store import RunStore
from engine.evaluation.tasks import MIXED_FILE, load_tasks
from tests.support.cascade import STRONG, WEAK, answer, recorded
from tests.support.fakes import FakeLabEngine
from tests.support.router_lab import HERE, TASKS, Open, open_own, record, words
from tests.support.ui import settle


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
    said = words(app).replace("\\", "")
    assert "small@int4: times of 22 of 30 answers estimated from 8 that had the engine alone" in said
    assert "times of 44 answers estimated" in words(open_lab("choose", installed=HERE))
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
