"""Configurations as a file: what is written reads back to the same, and what is wrong in a file is named."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.configurations.exchange import Imported, export_file, import_file, missing_models
from app.experiments.planning.configuration_file import Portable, read_configurations, write_configurations
from app.experiments.planning.design import DesignError
from app.store import RunStore
from engine.types import (
    Backend,
    CacheMode,
    CascadeConfig,
    KVDtype,
    OptimizationConfig,
    Precision,
    RouterKind,
    RunConfig,
    SamplingParams,
    SpeculationConfig,
    Tier,
    is_remote,
)

HEAD = 'format = "gearbox configurations"\nversion = 1\n'
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12).filter(
    str.strip
)
MODELS = NAMES.filter(lambda name: not is_remote(name))
SAMPLING = st.builds(
    SamplingParams,
    temperature=st.floats(0, 5),
    top_p=st.floats(0.001, 1),
    top_k=st.integers(0, 10**9),
    repetition_penalty=st.floats(0.1, 5),
    seed=st.integers(0, 2**63 - 1),
    max_tokens=st.integers(1, 10**9),
    stop=st.lists(NAMES, max_size=2).map(tuple),
    frequency_penalty=st.floats(-2, 2),
    logit_bias=st.dictionaries(st.integers(0, 9), st.floats(-100, 100), max_size=2).map(lambda d: tuple(d.items())),
    json_schema=st.none() | st.just('{"type":"object"}'),
    top_logprobs=st.integers(0, 20),
)
DRAFTING = st.none() | st.sampled_from(
    [SpeculationConfig(gamma=3), SpeculationConfig.with_self(), SpeculationConfig.with_model("small", gamma=0)]
)
CASCADES = st.none() | st.builds(
    CascadeConfig,
    smaller=st.just((Tier(model="small", precision=Precision.INT8),)),
    thresholds=st.floats(0, 1).map(lambda threshold: (threshold,)),
    router=st.just(RouterKind.ESCALATE),
    after_tokens=st.none() | st.integers(1, 99),
    keep_tier=st.booleans(),
    guard=st.booleans(),
)
GEARS = st.builds(
    OptimizationConfig.at,
    st.sampled_from([Precision.BF16, Precision.INT8]),
    st.sampled_from([CacheMode.KV, CacheMode.PREFIX]),
    st.sampled_from(KVDtype),
    st.none() | st.integers(64, 4096),
    DRAFTING,
    CASCADES,
)
PORTABLE = st.builds(
    Portable,
    name=NAMES,
    config=st.builds(RunConfig, model=MODELS, optimization=GEARS, sampling=SAMPLING),
    warm=st.booleans(),
)


@settings(max_examples=100)
@given(st.lists(PORTABLE, min_size=1, max_size=3))
def test_what_is_written_reads_back_to_the_same(configurations: list[Portable]) -> None:
    assert read_configurations(write_configurations(configurations).encode(), "a.toml") == tuple(configurations)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a = 1", "a.toml is no file of configurations"),
        (HEAD.replace("1", "2"), "of version 2, and this Gearbox reads version 1"),
        (HEAD, "holds no configuration"),
        (f"{HEAD}colour = 3\n[[configuration]]\nmodel = 'm'", "“colour” is not known here"),
        (f"{HEAD}[[configuration]]\nname = 'Fast'\nmodel = 'm'\ngears = 5", "“Fast”: “gears” is not known here"),
        (f"{HEAD}[[configuration]]\nmodel = 'm'\nwarm = 1", "“warm” must be true or false"),
        (f"{HEAD}[[configuration]]\nmodel = 'm'\nmax_tokens = 0", "“m bf16”: Max tokens must be at least 1"),
        (f"{HEAD}[[configuration]]\nprecision = 'int4'", "number 1: “model” is missing"),
        (f"{HEAD}configuration = 3", "must be tables that begin with"),
        (f"{HEAD}configuration = [3]", "must be tables: begin each"),
        ("x = " + "[" * 5000, "no TOML"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(text: str, says: str) -> None:
    with pytest.raises(DesignError, match=says.replace("[", r"\[")):
        read_configurations(text.encode(), "a.toml")


def test_a_file_goes_from_one_gearbox_to_another_and_says_which_models_are_missing(store: RunStore) -> None:
    kept = store.configurations
    config = RunConfig(model="big", optimization=OptimizationConfig.at(Precision.INT4, CacheMode.PREFIX))
    kept.save("somebody", "Fast", config.to_dict(), warm=True)
    kept.save("somebody", "Old", {"model": "m", "optimization": {"quantization": {"precision": "int3"}}}, warm=False)
    exported = export_file(kept.saved("somebody"))
    assert (exported.configurations, exported.unreadable) == (1, ("Old",))

    def bring() -> tuple[Imported, ...]:
        return import_file(kept, None, exported.text.encode(), "a.toml", ["small"])

    assert bring() == (Imported("Fast", ("big",)),)
    assert bring() == (Imported("Fast", ("big",)),)
    (mine,) = kept.saved(None)
    assert (mine.name, mine.warm, RunConfig.from_dict(mine.config)) == ("Fast", True, config)
    kept.save(None, "Fast", RunConfig(model="other").to_dict(), warm=False, overwrite=True)
    assert bring() == (Imported("Fast 2", ("big",)),)


def test_nothing_is_saved_of_a_file_with_a_mistake(store: RunStore) -> None:
    text: Any = f"{HEAD}[[configuration]]\nmodel = 'm'\n[[configuration]]\nmodel = 'm'\nprecision = 'int3'"
    with pytest.raises(DesignError, match="int3"):
        import_file(store.configurations, None, text.encode(), "a.toml", [])
    assert store.configurations.saved(None) == ()


@pytest.mark.parametrize("smaller", [(), ("@home",), ("small",)])
def test_a_servers_model_goes_into_a_file_by_its_name_and_without_a_precision(smaller: tuple[str, ...]) -> None:
    tiers = tuple(
        Tier(model=name, precision=Precision.UNKNOWN if name.startswith("@") else Precision.INT8) for name in smaller
    )
    gear = CascadeConfig(smaller=tiers, thresholds=(0.5,)) if tiers else None
    config = RunConfig(model="@office", backend=Backend.REMOTE, optimization=OptimizationConfig(cascade=gear))
    text = write_configurations([Portable(name="Office", config=config)])
    assert "precision" not in text
    assert [each.config for each in read_configurations(text.encode(), "a.toml")] == [config]


def test_a_servers_model_that_was_not_added_here_is_missing() -> None:
    config = RunConfig(model="@office", backend=Backend.REMOTE)
    assert missing_models(config, ["small"]) == ("@office",)
    assert missing_models(config, ["small", "@office"]) == ()


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('model = "@office"\nprecision = "int4"', "server's to know"),
        ('model = "small"\nprecision = "unknown"', "servers' models"),
        ('model = "@office"\nbackend = "local"', "@office"),
        ('model = "@office"\ncache = "prefix"', "Office"),
    ],
)
def test_what_a_servers_model_cannot_be_set_to_is_refused(table: str, said: str) -> None:
    with pytest.raises(DesignError, match=said):
        read_configurations(f'{HEAD}[[configuration]]\nname = "Office"\n{table}\n'.encode(), "a.toml")
