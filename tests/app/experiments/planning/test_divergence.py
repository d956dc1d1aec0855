"""Whose KLD from 16 bits can be measured, and why the others' cannot."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.experiments.planning.design import NamedConfiguration
from app.experiments.planning.divergence import compared_cells, no_kld
from app.store import Pass
from engine.types import (
    Backend,
    CacheMode,
    CascadeConfig,
    Drafter,
    KVDtype,
    OptimizationConfig,
    Precision,
    RunConfig,
    SpeculationConfig,
    Tier,
)
from tests.support.experiments import TASKS, configuration, design

REFERENCE = configuration("16 bits", Precision.BF16)
CASCADE = CascadeConfig(smaller=(Tier(model="smaller", precision=Precision.INT4),), thresholds=(0.5,))


def with_gears(name: str, gears: OptimizationConfig) -> NamedConfiguration:
    return NamedConfiguration(name, RunConfig(model="small", optimization=gears))


PLAIN = OptimizationConfig()
KV_INT8 = with_gears("kv", OptimizationConfig.at(Precision.BF16, kv_dtype=KVDtype.INT8))


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (configuration("int4"), None),
        (KV_INT8, None),
        (with_gears("both", OptimizationConfig.at(Precision.INT8, CacheMode.PREFIX, KVDtype.INT8)), None),
        (configuration("large", model="large"), "another model"),
        (with_gears("prefix", OptimizationConfig.at(Precision.BF16, CacheMode.PREFIX)), "distributions are the same"),
        (with_gears("drafts", replace(PLAIN, speculation=SpeculationConfig(drafter=Drafter.NGRAM))), "are the same"),
        (with_gears("window", OptimizationConfig.at(Precision.INT4, window=128)), "leaves its window"),
        (with_gears("ladder", replace(PLAIN, cascade=CASCADE)), "is a cascade"),
    ],
)
def test_of_a_candidate(other: NamedConfiguration, says: str | None) -> None:
    why = no_kld(design(configurations=[REFERENCE, other]), 1)
    assert (why is None) == (says is None)
    assert says is None or says in str(why)


@pytest.mark.parametrize(
    ("baseline", "says"),
    [
        (configuration("int8", Precision.INT8), "“int8” is not in 16 bits"),
        (KV_INT8, "“kv” is not in 16 bits"),
        (with_gears("ladder", replace(PLAIN, cascade=CASCADE)), "“ladder” is a cascade"),
    ],
)
def test_the_baseline_has_to_be_one_model_in_16_bits(baseline: NamedConfiguration, says: str) -> None:
    made = design(configurations=[baseline, configuration("int4")])
    assert says in str(no_kld(made, 1))
    assert compared_cells(made) == {}


def test_transformers_own_16_bits_will_do() -> None:
    own = NamedConfiguration("own", RunConfig(model="small", backend=Backend.REFERENCE))
    assert no_kld(design(configurations=[own, configuration("int4")]), 1) is None


def test_without_a_quality_pass_there_are_no_answers_to_read() -> None:
    assert "quality pass" in str(no_kld(design(passes=[Pass.SPEED]), 1))


def test_a_cell_each_for_each_of_the_baselines_answers() -> None:
    three = [REFERENCE, configuration("int4"), configuration("large", model="large")]
    compared = compared_cells(design(configurations=three))
    assert [key.prompt_id for key in compared] == [task.id for task in TASKS]
    assert {key.configuration for cells in compared.values() for key in cells} == {1}
    sampled = [
        replace(each, config=replace(each.config, sampling=replace(each.config.sampling, temperature=1.0)))
        for each in three[:2]
    ]
    assert sum(map(len, compared_cells(design(configurations=sampled, repeats=3)).values())) == 9
    greedy_first = [REFERENCE, sampled[1]]
    assert sum(map(len, compared_cells(design(configurations=greedy_first, repeats=3)).values())) == 3
