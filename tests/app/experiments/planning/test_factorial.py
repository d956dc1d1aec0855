"""Every set of a configuration's gears."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.experiments.planning.design import NamedConfiguration
from app.experiments.planning.factorial import PLAIN, factorial, gears_on, measured_sets
from engine.types import (
    CacheMode,
    CascadeConfig,
    Drafter,
    OptimizationConfig,
    Precision,
    RunConfig,
    SamplingParams,
    SpeculationConfig,
    Tier,
)

NGRAM = SpeculationConfig(drafter=Drafter.NGRAM)
CASCADE = CascadeConfig(smaller=(Tier(model="small", precision=Precision.INT4),), thresholds=(0.5,))
EVERY = RunConfig(
    model="large",
    optimization=OptimizationConfig.at(Precision.INT4, CacheMode.PREFIX, speculation=NGRAM, cascade=CASCADE),
    sampling=SamplingParams(temperature=0.5),
)


def named(config: RunConfig) -> list[str]:
    return [each.name for each in factorial(config)]


def test_the_gears_have_names() -> None:
    assert gears_on(EVERY) == {"int4", "KV cache", "speculation", "cascade"}
    assert gears_on(RunConfig(model="large")) == frozenset()


def test_two_gears_make_four_sets_from_none_to_all() -> None:
    config = RunConfig(model="large", optimization=OptimizationConfig.at(Precision.INT8, CacheMode.PREFIX))
    assert named(config) == [PLAIN, "int8", "KV cache", "int8 + KV cache"]
    assert factorial(config)[-1].config == config
    assert factorial(config)[0].config == RunConfig(model="large")


def test_all_four_make_sixteen_each_with_the_sampling_as_it_is() -> None:
    found = factorial(EVERY)
    assert len(found) == len({each.config for each in found}) == 16
    assert {each.config.sampling for each in found} == {EVERY.sampling}


def test_sets_that_cannot_be_combined_are_left_out() -> None:
    drafting = OptimizationConfig.at(Precision.BF16, speculation=SpeculationConfig.with_self(Precision.INT4))
    config = RunConfig(model="large", optimization=replace(drafting, kv_cache=None))
    assert named(config) == [PLAIN, "speculation"]
    in_int8 = RunConfig(
        model="large",
        optimization=OptimizationConfig.at(
            Precision.INT8, CacheMode.OFF, speculation=NGRAM, cascade=replace(CASCADE, smaller=CASCADE.smaller)
        ),
    )
    assert len(named(in_int8)) == 16
    copies = RunConfig(
        model="small",
        optimization=OptimizationConfig.at(
            Precision.INT8, cascade=replace(CASCADE, smaller=(Tier(model="small", precision=Precision.BF16),))
        ),
    )
    assert named(copies) == [PLAIN, "int8", "int8 + cascade"]  # 16 bits in front of themselves are no cascade


def test_sets_that_were_measured_are_known_by_their_gears() -> None:
    config = RunConfig(model="large", optimization=OptimizationConfig.at(Precision.INT4, CacheMode.PREFIX))
    found = factorial(config)
    assert measured_sets(found) == {
        frozenset(): 0, frozenset({"int4"}): 1, frozenset({"KV cache"}): 2, frozenset({"int4", "KV cache"}): 3,
    }  # fmt: skip
    renamed = [NamedConfiguration(f"number {n}", each.config) for n, each in enumerate(found)]
    assert measured_sets(renamed[::-1]).keys() == measured_sets(found).keys()


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found[1:],  # without the plain one
        lambda found: found[:-1],  # without all on
        lambda found: [*found, replace(found[3], name="again")],
        lambda found: [replace(found[0], config=RunConfig(model="other")), *found[1:]],
        lambda found: found[:2],  # a single gear is an ordinary comparison
    ],
)
def test_other_comparisons_are_none_of_gears(change: object) -> None:
    config = RunConfig(model="large", optimization=OptimizationConfig.at(Precision.INT4, CacheMode.PREFIX))
    assert callable(change)
    assert measured_sets(change(list(factorial(config)))) == {}
