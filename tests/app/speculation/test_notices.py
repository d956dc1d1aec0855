"""What a run's drafts amounted to, in words that are true of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.speculation.drafters import drafter_key, drafter_keys, drafter_label, drafter_of, speculation_name
from app.speculation.notices import losslessness_title, speculation_notice
from engine.types import Drafter, Losslessness, Precision, SpeculationConfig
from tests.support.drafting import make_report
from tests.support.fakes import make_metrics, make_request

NGRAM = SpeculationConfig(drafter=Drafter.NGRAM)
ALL_GEARS = [SpeculationConfig(), NGRAM, SpeculationConfig.with_self(Precision.NF4), SpeculationConfig.with_model("m")]


@pytest.mark.parametrize("gear", ALL_GEARS)
def test_a_drafter_survives_as_a_widgets_value(gear: SpeculationConfig) -> None:
    assert drafter_of(drafter_key(gear)) == gear
    assert drafter_of(drafter_key(gear), 7) == replace(gear, gamma=7)


def test_drafters_are_told_apart_by_their_names() -> None:
    gears = [*ALL_GEARS, SpeculationConfig.with_self()]
    assert len({speculation_name(gear) for gear in gears}) == len({drafter_label(drafter_key(g)) for g in gears}) == 5
    assert drafter_keys("m", ["m", "small"])[-1] == "draft small"


def notice(gear: SpeculationConfig, drafted: int = 0, **report: object) -> str | None:
    metrics = replace(make_metrics(), drafted_tokens=drafted)
    return speculation_notice(make_report(**report), metrics, make_request(speculation=gear).config)


def test_nothing_is_said_of_a_run_that_drafted_throughout() -> None:
    assert notice(NGRAM, drafted=4) is None


@pytest.mark.parametrize(
    ("gear", "report", "says"),
    [
        (NGRAM, {"plain_steps": 30}, "paused itself: 30 of 32 steps were plain"),
        (NGRAM, {"rounds": (), "notes": ()}, "the text had nothing to copy."),
        (SpeculationConfig(), {"rounds": (), "notes": ()}, "and no model in memory could draft"),
        (replace(NGRAM, gamma=0), {"rounds": (), "notes": ()}, "γ is 0"),
        (NGRAM, {"unavailable": ("m has another tokenizer.",)}, "m has another tokenizer."),
    ],
)
def test_a_gear_that_did_nothing_says_why(gear: SpeculationConfig, report: dict[str, object], says: str) -> None:
    assert says in (notice(gear, **report) or "")


@pytest.mark.parametrize(
    ("p_value", "title"),
    [
        (None, "Identical to plain decoding: checked, 6/6 tokens"),
        (0.42, "Same distribution as plain decoding: p = 0.42"),
        (0.0001, "Another distribution than plain decoding: p = 0.0001"),
    ],
)
def test_the_badge_claims_no_more_than_was_checked(p_value: float | None, title: str) -> None:
    found = Losslessness(tokens=6, checked=6, near_ties=0, divergence=None, p_value=p_value)
    assert losslessness_title(found) == title
