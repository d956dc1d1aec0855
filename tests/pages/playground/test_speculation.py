"""The speculation gear of a lane, its drafts and the check that they lost nothing."""

from __future__ import annotations

from typing import Any

import pytest

from app.background.jobs import Jobs
from app.store import RunStore
from engine.types import Divergence, Drafter, Losslessness, Precision, SpeculationConfig
from tests.support.drafting import SpeculatingEngine, make_report
from tests.support.playground import LANE_B, run, speculate, words
from tests.support.ui import settle


@pytest.mark.parametrize(
    ("drafter", "gamma", "asked"),
    [
        ("auto", None, SpeculationConfig()),
        ("ngram", 4, SpeculationConfig(drafter=Drafter.NGRAM, gamma=4)),
        ("self nf4", None, SpeculationConfig.with_self(Precision.NF4)),
        ("draft qwen2.5-coder-0.5b", 2, SpeculationConfig.with_model("qwen2.5-coder-0.5b", gamma=2)),
    ],
)
def test_the_speculation_gear_reaches_the_engine(
    playground: Any, jobs: Jobs, drafter: str, gamma: int | None, asked: SpeculationConfig
) -> None:
    scripted = SpeculatingEngine()
    page = playground(scripted)
    page.segmented_control(key=LANE_B.key("precision")).set_value(Precision.INT8).run()
    run(settle(speculate(page, drafter, gamma), jobs))
    plain, drafted = (request.config.optimization for request in scripted.requests)
    assert (plain.speculation, drafted.speculation) == (None, asked)


def test_a_model_that_cannot_draft_is_refused_with_the_engines_reason(playground: Any, jobs: Jobs) -> None:
    page = speculate(playground(SpeculatingEngine()), "draft qwen2.5-coder-0.5b")
    assert "qwen cannot draft: other tokenizer." in words(settle(page, jobs))
    page.selectbox(key=LANE_B.key("drafter")).set_value("self int4").run()
    assert "The model is in int4 already" in words(page)
    page.segmented_control(key=LANE_B.key("precision")).set_value(Precision.INT8).run()
    shown = words(settle(page, jobs))
    assert "A drafted token costs 40 % of the model's own (estimated)" in shown
    assert "cannot draft" not in shown


def test_a_lane_shows_how_its_drafts_did(playground: Any) -> None:
    page = run(speculate(playground(SpeculatingEngine()), "ngram"))
    figures = {metric.label: metric.value for metric in page.metric}
    assert (figures["Acceptance rate"], figures["Acceptance length"]) == ("50 %", "2.00 tokens")
    assert "drafts: n-grams" in words(page)


def test_a_lane_says_that_speculation_paused_itself(playground: Any) -> None:
    scripted = SpeculatingEngine(report=make_report(plain_steps=40))
    page = run(speculate(playground(scripted), "ngram"))
    assert "Speculation paused itself: 40 of 42 steps were plain. At token 5 it expected 12 % of the drafts" in words(
        page
    )


@pytest.mark.parametrize(
    ("found", "badge"),
    [
        (Losslessness(tokens=6, checked=6, near_ties=0, divergence=None), "Identical to plain decoding: checked, 6/6"),
        (
            Losslessness(
                tokens=6,
                checked=2,
                near_ties=0,
                divergence=Divergence(index=2, written=" red", plain=" blue", gap=0.125),
            ),
            "At token 3 the run wrote ' red', plain decoding writes ' blue': 0.125 logits apart.",
        ),
    ],
)
def test_one_click_checks_the_answer_and_keeps_what_came_out(
    playground: Any, jobs: Jobs, store: RunStore, found: Losslessness, badge: str
) -> None:
    scripted = SpeculatingEngine(lossless=found)
    page = run(speculate(playground(scripted), "ngram"))
    (drafted, plain) = store.page().rows
    assert [button.key for button in page.button if button.label == "Check"] == [f"check-{drafted.id}"]
    page.button(key=f"check-{drafted.id}").click().run()
    assert badge in words(settle(page, jobs))
    assert store.get(drafted.id).losslessness == found
    assert store.get(plain.id).losslessness is None
    assert scripted.checked == [(100, 101, 102, 103, 104, 105)]
