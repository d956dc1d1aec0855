"""The Router lab's step of choosing: threshold, picker, calibration, drift, consistency."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from app.quantization.tasks import tasks_sha256
from app.router.lab import RouterLab
from app.router.operation.live import LiveScores
from app.store import RunStore
from tests.support.cascade import STRONG, WEAK, answer, recorded
from tests.support.router_lab import TASKS, WEIGHTS, Open, metrics, words

MOMENT = datetime(2026, 3, 14, 12, tzinfo=UTC)


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


def test_drift_looks_at_what_cascades_scored(open_lab: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_lab("Calibration", recorded(150))
    app.selectbox(key="router-drift-data").set_value("cascades").run()
    assert "Nothing to compare yet" in words(app)
    monkeypatch.setattr(RouterLab, "cascade_scores", lambda self, study: LiveScores((MOMENT,) * 40, np.full(40, 0.99)))
    app.run()
    assert metrics(app)["Scores compared"] == "40"
    assert "40 scores of “Your latest cascades with this router, 2026-03-14”" in words(app)
    assert app.warning


def test_contradictions_come_first(open_lab: Open) -> None:
    rows = open_lab("Tier consistency", recorded(60)).dataframe[0].value
    first = rows.iloc[0]
    assert {first["Small"], first["Large"]} == {"✓ right", "✗ wrong"}
    assert first["Small's answer"] in ("Four.", "Five.")
    assert len(rows) == 60
