"""Runs of configurations are paired by what they were asked; failures count, company and disturbance do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from app.experiments.comparing.configurations import WholeConfiguration, named_by, whole_configurations
from app.experiments.comparing.shared import Quantity, shared_prompts
from app.store import AnsweredRun, Pass, RunScore, UsedConfiguration
from engine.types import OptimizationConfig, Precision, RunConfig, SamplingParams

PLAIN, PACKED = (
    RunConfig(model="m", optimization=OptimizationConfig.at(each)) for each in (Precision.BF16, Precision.INT4)
)
BOTH = (WholeConfiguration(PLAIN, {"a": 64, "a-long": 256}, 9, "9"), WholeConfiguration(PACKED, {"b": 64}, 9, "8"))


def answered(id: str, config_hash: str, prompt: str, e2e_s: float | None = 1.0, **changes: object) -> AnsweredRun:
    run = AnsweredRun(id, config_hash, False, False, False, 0.1, 0.01, e2e_s, 10, 1000, 24, prompt)
    return replace(run, **changes)  # type: ignore[arg-type]


def test_only_the_same_prompt_with_answers_as_long_at_most_is_paired() -> None:
    runs = [
        answered("1", "a", "sky"), answered("2", "a", "sea"), answered("3", "a-long", "moon"),
        answered("4", "b", "sky"), answered("5", "b", "moon"), answered("6", "other", "sea"),
    ]  # fmt: skip
    found = shared_prompts(runs, BOTH, {})
    assert (found.prompts, found.answered, found.both) == (1, (3, 2), {(0, 1): 1})
    assert found.latest.tolist() == [["1"], ["4"]]


def test_of_a_prompt_that_was_asked_again_means_are_taken_and_its_latest_answer() -> None:
    runs = [
        answered("1", "a", "sky", 1.0),
        answered("2", "a", "sky", 2.0),
        answered("3", "b", "sky", completion_tokens=4),
    ]
    found = shared_prompts(runs, BOTH, {})
    assert found.figures[Quantity.E2E].tolist() == [[1.5], [1.0]]
    assert found.figures[Quantity.ANSWER_TOKENS].tolist() == [[10.0], [4.0]]
    assert found.figures[Quantity.MEMORY].tolist() == [[1024.0], [1024.0]]
    assert found.latest.tolist() == [["2"], ["3"]]


def test_times_are_of_runs_alone_and_of_disturbed_ones_only_where_there_are_no_others() -> None:
    runs = [
        answered("1", "a", "sky", 9.0, shared=True), answered("2", "a", "sky", 1.0),
        answered("3", "a", "sky", 8.0, disturbed=True), answered("4", "b", "sky", 7.0, disturbed=True),
        answered("5", "a", "sea"), answered("6", "b", "sea", 9.0, shared=True),
    ]  # fmt: skip
    found = shared_prompts(runs, BOTH, {})
    np.testing.assert_array_equal(found.figures[Quantity.E2E], [[1.0, 1.0], [7.0, np.nan]])
    assert found.disturbed.tolist() == [[False, False], [True, False]]
    np.testing.assert_array_equal(found.figures[Quantity.ANSWER_TOKENS], [[10.0, 10.0], [10.0, 10.0]])


def test_a_failure_stays_among_the_prompts_and_is_wrong_where_a_checker_scored_another_answer() -> None:
    runs = [
        answered("1", "a", "sky"), answered("2", "b", "sky", None, failed=True),
        answered("3", "a", "open"), answered("4", "b", "open", None, failed=True),
    ]  # fmt: skip
    scores = {id: RunScore(Pass.QUALITY, "sky", score) for id, score in (("1", 1.0), ("2", None))}
    scores |= {id: RunScore(Pass.QUALITY, "open", None) for id in ("3", "4")}
    found = shared_prompts(runs, BOTH, scores)
    assert found.prompts == 2
    np.testing.assert_array_equal(found.scores, [[1.0, np.nan], [0.0, np.nan]])
    assert found.failed.tolist() == [[False, False], [True, True]]
    assert (found.checked.tolist(), found.unchecked.tolist()) == ([True, False], [False, True])
    assert np.isnan(found.figures[Quantity.E2E][1]).all()


def test_a_failed_repeat_counts_0_among_the_others_but_not_one_of_the_other_pass() -> None:
    runs = [
        answered("1", "a", "sky"), answered("2", "a", "sky", None, failed=True),
        answered("3", "a", "sky", None, failed=True), answered("4", "b", "sky"),
    ]  # fmt: skip
    scores = {
        "1": RunScore(Pass.QUALITY, "sky", 1.0),
        "2": RunScore(Pass.QUALITY, "sky", None),
        "3": RunScore(Pass.SPEED, "sky", None),
        "4": RunScore(Pass.QUALITY, "sky", 1.0),
    }
    assert shared_prompts(runs, BOTH, scores).scores.tolist() == [[0.5], [1.0]]


def test_prompts_of_one_template_are_of_one_group() -> None:
    runs = [answered(f"{n}{hash}", hash, f"p{n}") for n in range(4) for hash in "ab"]
    scores = {f"{n}a": RunScore(Pass.QUALITY, f"id{n}", 1.0) for n in range(3)}
    found = shared_prompts(runs, BOTH, scores, {"id0": "sum", "id1": "sum"})
    assert found.groups is not None
    assert found.groups[0] == found.groups[1] == "sum"
    assert len(set(found.groups)) == 3
    assert shared_prompts(runs, BOTH, scores).groups is None


def test_without_a_prompt_in_common_there_are_no_figures_but_counts() -> None:
    found = shared_prompts([answered("1", "a", "sky"), answered("2", "b", "sea")], BOTH, {}, {})
    assert (found.prompts, found.answered, found.both) == (0, (1, 1), {(0, 1): 0})
    assert found.figures[Quantity.E2E].shape == (2, 0)


# --- configurations -----------------------------------------------------------------------------------


def used(config: RunConfig, runs: int, **sampling: int) -> UsedConfiguration:
    drawn = replace(config, sampling=SamplingParams(**sampling))
    return UsedConfiguration(drawn.hash, drawn.to_dict(), runs, f"run {runs}")


def test_runs_that_differ_in_length_and_seed_alone_are_of_one_configuration() -> None:
    each = [used(PACKED, 4, max_tokens=64), used(PLAIN, 3, max_tokens=32, seed=5), used(PLAIN, 2, max_tokens=64)]
    first, second = whole_configurations(each)
    assert (first.config, first.runs, first.latest) == (PLAIN, 5, "run 3")
    assert first.most_tokens == {each[1].config_hash: 32, each[2].config_hash: 64}
    assert (second.id, second.runs) == (PACKED.hash, 4)
    warm = replace(PLAIN, sampling=SamplingParams(temperature=0.7))
    assert len(whole_configurations([*each, UsedConfiguration(warm.hash, warm.to_dict(), 1, "run 1")])) == 3


@pytest.mark.parametrize("names", [["plain", "b"], ["a-long", "b"], ["a", "plain", "b"]])
def test_a_configuration_goes_by_its_id_and_by_the_hashes_of_its_runs(names: list[str]) -> None:
    ids = [PLAIN.hash if name == "plain" else name for name in names]
    assert list(named_by(BOTH, ids).values()) == list(BOTH)
    assert list(named_by(BOTH, ["gone", *ids]).values()) == [None, *BOTH]
