"""What there is to try: what can be combined, and nothing else."""

from __future__ import annotations

from dataclasses import replace

from app.experiments.autopilot.space import MOST_CANDIDATES, THRESHOLDS, Gear, Space, candidates
from engine.types import CPU_PRECISIONS, CacheMode, Drafter, KVDtype, Precision, RunConfig, SamplingParams

BASELINE = RunConfig(model="large", sampling=SamplingParams(temperature=0.5))
SPACE = Space(models=("small", "large"), precisions=CPU_PRECISIONS, drafts={"large": ("small",)})


def test_every_candidate_is_another_configuration_and_samples_as_the_baseline_does() -> None:
    found = candidates(SPACE, BASELINE, most=10_000)
    assert len(found.configurations) == found.possible > 200
    configs = [each.config for each in found.configurations]
    assert len(set(configs)) == len({each.name for each in found.configurations}) == len(configs)
    assert BASELINE not in configs
    assert {config.sampling for config in configs} == {BASELINE.sampling}


def test_all_of_it_is_varied() -> None:
    configs = [each.config for each in candidates(SPACE, BASELINE, most=10_000).configurations]
    gears = [config.optimization for config in configs]
    assert {(config.model, config.precision) for config in configs} == {
        (model, precision) for model in SPACE.models for precision in CPU_PRECISIONS
    }
    assert {(each.cache_mode, each.kv_dtype) for each in gears} == {
        (CacheMode.KV, KVDtype.BF16), (CacheMode.KV, KVDtype.INT8), (CacheMode.PREFIX, KVDtype.BF16),
    }  # fmt: skip
    assert {each.speculation.drafter for each in gears if each.speculation} == {
        Drafter.NGRAM, Drafter.SELF, Drafter.DRAFT,
    }  # fmt: skip
    assert {each.speculation.gamma for each in gears if each.speculation} == {None, 4}
    assert {each.cascade.thresholds for each in gears if each.cascade} == {(threshold,) for threshold in THRESHOLDS}


def test_what_cannot_be_combined_is_left_out_and_counted_by_its_reason() -> None:
    found = candidates(SPACE, BASELINE, most=10_000)
    own = [
        each.config
        for each in found.configurations
        if (gear := each.config.optimization.speculation) and gear.drafter is Drafter.SELF
    ]
    assert Precision.INT4 not in {config.precision for config in own}
    assert any("draft no faster" in reason for reason in found.skipped)
    assert all(
        each.config.optimization.cascade is None for each in found.configurations if each.config.model == "small"
    )
    drafted = [
        each.config.model
        for each in found.configurations
        if (gear := each.config.optimization.speculation) and gear.draft_model
    ]
    assert set(drafted) == {"large"}


def test_each_model_in_each_precision_comes_first_and_the_rest_is_drawn() -> None:
    found = candidates(SPACE, BASELINE)
    assert len(found.configurations) == MOST_CANDIDATES
    first = [each.name for each in found.configurations[:7]]
    assert set(first) == {
        f"{model} {precision}" for model in SPACE.models for precision in CPU_PRECISIONS
    } - {"large bf16"}  # fmt: skip
    assert candidates(SPACE, BASELINE) == found
    assert candidates(SPACE, BASELINE, seed=1).configurations[8:] != found.configurations[8:]


def test_gears_that_are_not_to_be_varied_stay_off() -> None:
    found = candidates(replace(SPACE, gears=()), BASELINE)
    assert [each.name for each in found.configurations if "+" in each.name or "→" in each.name] == []
    found = candidates(replace(SPACE, gears=(Gear.KV,)), BASELINE)
    assert all(each.config.optimization.speculation is None for each in found.configurations)
    assert candidates(Space(models=(), precisions=CPU_PRECISIONS), BASELINE).configurations == ()
