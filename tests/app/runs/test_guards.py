"""The alarm of a repetitive answer, and what a run tells of the cache."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.runs.repetition import repetition_warning
from app.views.reports.cache_report import lost_s
from engine.types import CacheMode, CacheReport, MissCause, OptimizationConfig, Precision, RunConfig, SamplingParams
from tests.support.fakes import make_metrics

PLAIN = RunConfig(model="m")
REPORT = CacheReport(
    cause=MissCause.TURN,
    nearest_tokens=40,
    parted_at=40,
    kept_text="a",
    came_text="b",
    detail="It differs.",
    lost_tokens=20,
)


def test_an_answer_in_circles_raises_the_alarm_and_a_sound_or_short_one_does_not() -> None:
    circles = replace(make_metrics(completion_tokens=64), repetition=0.8)
    assert "80 %" in str(repetition_warning(circles, PLAIN))
    assert repetition_warning(replace(circles, repetition=0.3), PLAIN) is None
    assert repetition_warning(replace(circles, completion_tokens=8), PLAIN) is None
    assert repetition_warning(replace(circles, repetition=None), PLAIN) is None
    assert repetition_warning(None, PLAIN) is None


@pytest.mark.parametrize(
    ("config", "hint"),
    [
        (replace(PLAIN, optimization=OptimizationConfig.at(Precision.NF4)), "nf4"),
        (replace(PLAIN, optimization=OptimizationConfig.at(Precision.BF16, CacheMode.PREFIX)), "cold"),
        (PLAIN, "repetition penalty"),
        (replace(PLAIN, sampling=SamplingParams(repetition_penalty=1.2)), "larger model"),
    ],
)
def test_the_alarm_names_the_gear_to_look_at(config: RunConfig, hint: str) -> None:
    circles = replace(make_metrics(completion_tokens=64), repetition=0.8)
    assert hint in str(repetition_warning(circles, config))


def test_the_cost_of_a_miss_is_its_tokens_at_the_pace_of_the_run() -> None:
    metrics = replace(make_metrics(prompt_tokens=100), cached_tokens=50, prefill_s=0.5)
    assert lost_s(REPORT, metrics) == pytest.approx(0.2)
    assert lost_s(REPORT, replace(metrics, cached_tokens=100)) == 0
