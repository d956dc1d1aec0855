"""What an experiment is made of: what is refused, which cells it has, in which order they are timed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.experiments.planning.design import BLOCK, MOST_CONFIGURATIONS, Design, DesignError, NamedConfiguration
from app.store import Pass
from engine import Task
from engine.types import (
    CascadeConfig,
    OptimizationConfig,
    Precision,
    RunConfig,
    SamplingParams,
    SpeculationConfig,
    Tier,
)  # fmt: skip
from tests.support.experiments import BOTH, TASKS, configuration, design


def tasks(*categories: str) -> list[Task]:
    return [
        Task(id=f"t{n}", category=category, prompt=f"Prompt {n}?", max_tokens=8)
        for n, category in enumerate(categories)
    ]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"name": " "}, "name"),
        ({"prompts": ()}, "no prompts"),
        ({"prompts": (TASKS[0], replace(TASKS[1], id="sky"))}, "“sky”"),
        ({"configurations": ()}, "1 to 16"),
        ({"configurations": tuple(configuration(f"{n}") for n in range(MOST_CONFIGURATIONS + 1))}, "1 to 16"),
        ({"configurations": (BOTH[0], BOTH[0])}, "“16 bits”"),
        ({"baseline": 2}, "baseline"),
        ({"repeats": 0}, "Repeats"),
        ({"margin_points": 0.0}, "margin"),
        ({"margin_points": float("nan")}, "margin"),
        ({"margin_points": 100.0}, "margin"),
        ({"passes": ()}, "pass"),
        ({"passes": (Pass.SPEED, Pass.SPEED)}, "twice"),
    ],
)
def test_what_makes_no_experiment_is_refused_in_words(changes: dict[str, object], named: str) -> None:
    with pytest.raises(DesignError, match=named):
        replace(design(), **changes)  # type: ignore[arg-type]


def test_a_design_comes_back_from_plain_values() -> None:
    made = replace(
        design(),
        question="Ship it?",
        configurations=(
            *BOTH,
            NamedConfiguration(
                "all on",
                RunConfig(
                    model="large",
                    optimization=OptimizationConfig.at(
                        Precision.INT8,
                        speculation=SpeculationConfig.with_model("draft"),
                        cascade=CascadeConfig(
                            smaller=(Tier(model="small", precision=Precision.INT4),), thresholds=(0.5,)
                        ),
                    ),
                    sampling=SamplingParams(temperature=0.7),
                ),
            ),
        ),
        baseline=1,
        margin_points=3.5,
        max_tokens=4,
    )
    assert Design.from_dict(made.to_dict(), made.prompts) == made
    assert made.configurations[2].models == ("small", "large", "draft")


def test_its_identity_is_what_is_measured() -> None:
    made = design()
    assert replace(made, question="Why?", margin_points=5.0).sha256 == made.sha256
    for other in (
        replace(made, seed=1),
        replace(made, prompts=TASKS[:2]),
        replace(made, configurations=BOTH[::-1]),
        replace(made, name="Again"),
    ):
        assert other.sha256 != made.sha256


def test_greedy_answers_are_asked_for_once_and_sampled_ones_each_time_with_a_seed_of_their_own() -> None:
    sampled = NamedConfiguration(
        "sampled", RunConfig(model="small", sampling=SamplingParams(temperature=1.0, seed=99, max_tokens=1))
    )
    made = replace(design(configurations=(BOTH[0], sampled), repeats=3), seed=7)
    assert [len(made.quality_cells(place)) for place in (0, 1)] == [3, 9]
    assert made.cells == 3 + 9 + 2 * 3 * 3
    requests = [made.request(key, TASKS[0], "id") for key in made.quality_cells(1) if key.prompt_id == "sky"]
    assert [request.config.sampling.seed for request in requests] == [7, 8, 9]
    assert {request.config.sampling.max_tokens for request in requests} == {8}
    assert not any(request.exclusive for request in requests)


def test_answers_are_no_longer_than_the_prompt_and_the_experiment_allow() -> None:
    key = design().quality_cells(0)[0]
    assert design(max_tokens=3).request(key, TASKS[0], "id").config.sampling.max_tokens == 3
    assert design(max_tokens=300).request(key, TASKS[0], "id").config.sampling.max_tokens == 8


@given(
    prompts=st.integers(1, 40), configurations=st.integers(1, 5), repeats=st.integers(1, 3), seed=st.integers(0, 2**31)
)
def test_each_cell_is_timed_once_in_blocks_that_hold_every_configuration(
    prompts: int, configurations: int, repeats: int, seed: int
) -> None:
    made = replace(
        design(
            tasks(*["A"] * prompts), [configuration(f"{n}") for n in range(configurations)], repeats=repeats,
        ),
        seed=seed,
    )  # fmt: skip
    keys = made.speed_cells()
    assert keys == made.speed_cells()
    assert len(set(keys)) == len(keys) == prompts * configurations * repeats
    whole = prompts // BLOCK * BLOCK * configurations
    for start in range(0, whole, BLOCK * configurations):
        block = keys[start : start + BLOCK * configurations]
        asked = {
            place: [key.prompt_id for key in block if key.configuration == place] for place in range(configurations)
        }
        assert all(ids == asked[0] and len(ids) == BLOCK for ids in asked.values())


def test_another_seed_times_them_in_another_order() -> None:
    made = design(tasks(*["A"] * 30))
    assert made.speed_cells() != replace(made, seed=1).speed_cells()


def test_speed_is_measured_with_the_engine_alone() -> None:
    made = design()
    assert all(made.request(key, TASKS[0], "id").exclusive for key in made.speed_cells())
