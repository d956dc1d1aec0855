"""Whole configurations: what one click sets is something the engine answers, on the models that are installed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from app.runs.invariants import Measured, run_faults
from app.runs.race import LaneRun
from app.session.configuration import config_of, values_of
from app.session.presets import all_gears, plain
from engine import Engine, list_models
from engine.types import CacheMode, GenerationRequest, Message, Precision, RunFinished, SamplingParams


def test_all_gears_needs_a_model(tmp_path: Path) -> None:
    assert all_gears(list_models(tmp_path)) is None


@pytest.mark.parametrize("geared", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_engine_answers_with_what_is_installed_and_the_figures_agree(
    engine: Engine, models_dir: Path, geared: bool
) -> None:
    models = list_models(models_dir)
    config = all_gears(models)
    assert config is not None
    gears = config.optimization
    assert (gears.precision, gears.cache_mode) == (Precision.INT4, CacheMode.PREFIX)
    assert (gears.cascade is not None) == (sum(model.installed for model in models) > 1)
    asked = config if geared else plain("smollm2-135m")
    assert config_of(values_of(asked)) == asked
    asked = replace(asked, sampling=SamplingParams(max_tokens=6))
    lane = LaneRun(GenerationRequest(messages=(Message("user", "Name a colour."),), config=asked))
    for event in engine.generate(lane.request):
        lane.take(event)
    assert isinstance(lane.end, RunFinished), lane.error
    measured = Measured.of_lane(lane)
    assert measured is not None
    assert run_faults(measured) == ()
