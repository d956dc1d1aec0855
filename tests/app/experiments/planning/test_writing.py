"""A design as a file: what is written reads back to the very design."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.experiments.planning.design import Design, NamedConfiguration, Size
from app.experiments.planning.reading import SETS, read_design, read_prompts
from app.experiments.planning.writing import design_toml, file_stem, own_prompts, own_prompts_name
from app.prompts.choosing import stratified
from app.store import Pass
from engine.types import (
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
)
from tests.support.experiments import BOTH, TASKS, configuration, design
from tests.support.html import HOSTILE


def read_back(made: Design, folder: Path) -> Design:
    file = folder / "design.toml"
    file.write_text(design_toml(made), encoding="utf-8")
    if (prompts := own_prompts(made)) is not None:
        (folder / own_prompts_name(made)).write_text(prompts, encoding="utf-8")
    return read_design(file).design


def of_set(name: str, size: Size, seed: int) -> Design:
    tasks, _ = read_prompts(name, Path())
    chosen = tasks if size.prompts is None else stratified(tasks, size.prompts, seed)
    return replace(design(chosen), seed=seed, prompts_from="as the page calls it")


@pytest.mark.parametrize("size", list(Size))
@pytest.mark.parametrize("name", list(SETS))
def test_prompts_of_a_set_are_named(name: str, size: Size, tmp_path: Path) -> None:
    made = of_set(name, size, seed=7)
    assert own_prompts(made) is None
    back = read_back(made, tmp_path)
    assert back.sha256 == made.sha256
    assert back.prompts == made.prompts


def test_other_prompts_are_written_beside_it(tmp_path: Path) -> None:
    for prompts in (TASKS, TASKS[2:], TASKS * 0 + read_prompts("mixed", tmp_path)[0][:77]):
        made = replace(design(prompts), prompts_from="mine")
        assert own_prompts(made)
        assert read_back(made, tmp_path) == replace(made, prompts_from=own_prompts_name(made))


EVERY_GEAR = RunConfig(
    model="large",
    optimization=OptimizationConfig.at(
        Precision.INT8,
        CacheMode.PREFIX,
        KVDtype.INT8,
        512,
        SpeculationConfig.with_model("draft", Precision.INT4, gamma=4),
        CascadeConfig(
            smaller=(Tier(model="small", precision=Precision.BF16), Tier(model="other@home", precision=Precision.INT4)),
            router=RouterKind.ESCALATE,
            thresholds=(0.25, 2.0),
            profile='{"a": "“b”\\n"}',
            after_tokens=8,
            keep_tier=True,
            guard=False,
        ),
    ),
    sampling=SamplingParams(
        temperature=0.7,
        top_p=0.9,
        top_k=40,
        repetition_penalty=1.1,
        frequency_penalty=0.5,
        presence_penalty=-0.5,
        logit_bias=((3, -5.0), (11, 2.5)),
        json_schema='{"type":"object","title":"Ü"}',
        top_logprobs=3,
        stop=("\n\n", '"'),
    ),
)


def test_every_setting_is_written(tmp_path: Path) -> None:
    made = Design(
        name="All of it",
        question="Why “this”?",
        prompts=TASKS,
        prompts_from="all-of-it-prompts.jsonl",
        configurations=(*BOTH, NamedConfiguration("everything", EVERY_GEAR)),
        baseline=1,
        repeats=3,
        seed=5,
        margin_points=1.5,
        passes=(Pass.SPEED,),
        max_tokens=9,
    )
    assert read_back(made, tmp_path) == made


def test_what_prompts_and_repeats_say_is_not_written(tmp_path: Path) -> None:
    config = replace(EVERY_GEAR, sampling=replace(EVERY_GEAR.sampling, max_tokens=1, seed=99))
    made = design(configurations=[NamedConfiguration("one", config), NamedConfiguration("two", EVERY_GEAR)])
    back = read_back(made, tmp_path)
    assert back.sha256 == made.sha256
    assert back.configurations[0].config == EVERY_GEAR


NAMES = st.text(min_size=1, max_size=40).filter(str.strip) | st.sampled_from([text for text in HOSTILE if text.strip()])


@given(name=NAMES, first=NAMES, question=st.text(max_size=40), temperature=st.floats(0, 5), margin=st.floats(0.1, 99))
def test_any_text_and_number_is_written(
    name: str, first: str, question: str, temperature: float, margin: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    config = RunConfig(model="small", sampling=SamplingParams(temperature=temperature))
    made = replace(
        of_set("tasks", Size.QUICK, 0),
        name=name,
        question=question,
        margin_points=margin,
        configurations=(NamedConfiguration(first, config), configuration("the other, not first at all, by its name")),
    )
    tree = tomllib.loads(design_toml(made))
    assert tree["margin"] == margin
    back = read_back(made, tmp_path_factory.mktemp("design"))
    if all(text.isprintable() for text in (name, first, question)):
        assert (back.name, back.configurations[0].name, back.question) == (name, first, question)
    assert back.configurations[0].config == config


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("Ship int4 instead of 16 bits?", "ship-int4-instead-of-16-bits"),
        ("../../etc/passwd", "etc-passwd"),
        ("🙂", "experiment"),
        ("x" * 200, "x" * 60),
    ],
)
def test_a_name_becomes_a_files(name: str, stem: str) -> None:
    assert file_stem(name) == stem
