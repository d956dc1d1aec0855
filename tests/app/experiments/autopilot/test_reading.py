"""A plan from a file: what it may say, what is drawn where it says nothing, and what it is told where it errs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.experiments.autopilot.goal import Figure
from app.experiments.autopilot.plan import Plan
from app.experiments.autopilot.reading import read_plan
from app.experiments.autopilot.running import keep_plan, kept_of
from app.experiments.planning.design import DesignError
from app.store import RunStore
from engine.types import Drafter, Precision

SMALLEST = """
prompts = "{prompts}"
seconds = 2.5
{more}

[baseline]
model = "large"
{of_the_baseline}
"""


@dataclass
class Here:
    """A machine with two models, of which one drafts for the other."""

    asked: int = 0

    def models(self) -> Sequence[str]:
        return ["small", "large"]

    def precisions(self) -> Sequence[Precision]:
        return (Precision.BF16, Precision.INT4)

    def drafts(self, models: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        self.asked += 1
        return {"large": ("small",)} if "small" in models else {}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = "".join(f"Why is {n} so?,{n}\n" for n in range(40))
    (tmp_path / "own.csv").write_text(f"question,answer\n{rows}")
    return tmp_path


def read(folder: Path, *, more: str = "", of_the_baseline: str = "", here: Here | None = None) -> Plan:
    file = folder / "goal.toml"
    file.write_text(SMALLEST.format(prompts="own.csv", more=more, of_the_baseline=of_the_baseline))
    return read_plan(file, here or Here()).plan


def test_what_a_file_does_not_say_is_as_the_page_begins(folder: Path) -> None:
    plan = read(folder)
    goal = plan.goal
    assert (goal.figure, goal.percentile, goal.seconds, goal.margin_points) == (Figure.E2E, 95, 2.5, 2.0)
    assert (goal.memory_bytes, goal.budget_s) == (None, 900.0)
    assert (plan.name, plan.baseline.name) == ("p95 E2E within 2.50 s", "large bf16 (baseline)")
    assert (len(plan.prompts), len(plan.held_out), plan.prompts_from) == (40, 20, "own.csv")
    models = {tier.model for each in plan.candidates for tier in each.config.ladder}
    assert models == {"small", "large"}
    assert plan.possible > len(plan.candidates)
    assert any(
        gear.drafter is Drafter.DRAFT for each in plan.candidates if (gear := each.config.optimization.speculation)
    )


def test_all_that_a_file_can_say_is_read(folder: Path) -> None:
    here = Here()
    plan = read(
        folder,
        more='name = "Ours"\nlatency = "TPOT"\npercentile = 50\nmargin = 3.5\nmemory = 1.5\nminutes = 0.5\nseed = 7\n'
        'max_tokens = 20\nsize = "quick"\nmodels = ["small"]\nprecisions = ["int8", "int4"]\ngears = ["KV cache"]',
        of_the_baseline='name = "now"\nprecision = "int8"\ntemperature = 0.5',
        here=here,
    )
    goal = plan.goal
    assert (goal.figure, goal.percentile, goal.margin_points) == (Figure.TPOT, 50, 3.5)
    assert (goal.memory_bytes, goal.budget_s) == (1.5 * 2**30, 30.0)
    assert (plan.name, plan.baseline.name, plan.seed, plan.max_tokens) == ("Ours", "now", 7, 20)
    assert {each.config.model for each in plan.candidates} == {"small"}
    assert {each.config.precision for each in plan.candidates} == {Precision.INT8, Precision.INT4}
    assert {each.config.sampling.temperature for each in plan.candidates} == {0.5}
    assert here.asked == 0, "without speculation nobody drafts"


def test_candidates_can_stand_in_the_file(folder: Path) -> None:
    tables = '\n[[candidate]]\nmodel = "small"\n\n[[candidate]]\nname = "own"\nmodel = "large"\ndrafter = "ngram"\n'
    here = Here()
    plan = read(folder, of_the_baseline=tables, here=here)
    assert [each.name for each in plan.candidates] == ["small bf16", "own"]
    assert (plan.possible, here.asked) == (2, 0)


def test_the_same_file_goes_on_with_the_same_autopilot_and_another_goal_with_none(
    folder: Path, store: RunStore
) -> None:
    assert kept_of(store, read(folder)) is None
    id = keep_plan(store, read(folder))
    found = kept_of(store, read(folder))
    assert found is not None
    assert found.id == id
    assert kept_of(store, read(folder, more="margin = 3")) is None
    (folder / "own.csv").write_text((folder / "own.csv").read_text().replace("Why is 1 so?", "Why is 1 not so?"))
    assert kept_of(store, read(folder)) is None


@pytest.mark.parametrize(
    ("more", "of_the_baseline", "named"),
    [
        ('latency = "ITL"', "", "“latency” is “ITL”. There are: TTFT, TPOT, E2E"),
        ("percentile = 100", "", "percentile must be between 1 and 99"),
        ("memory = 0", "", "memory ceiling must be above 0"),
        ("memory = inf", "", "memory ceiling must be above 0"),
        ('models = ["huge"]', "", "“models” names “huge”, which is not installed. There are: small, large"),
        ('gears = ["brakes"]', "", "“gears” is “brakes”"),
        ('precisions = ["int3"]', "", "“precisions” is “int3”"),
        ('models = ["large"]\nprecisions = ["bf16"]\ngears = []', "", "nothing is left to try"),
        ("max_tokens = 0", "", "max_tokens must be at least 1"),
        ("slo = 3", "", "“slo” is not known here. An autopilot has: name, prompts"),
        ("", 'precission = "int8"', "baseline: “precission” is not known here"),
        ("", '[[candidate]]\nname = "own"', "candidate “own”: “model” is missing"),
        ("", '[[candidate]]\nprecision = "int4"', "candidate number 1: “model” is missing"),
        ('models = ["large"]', '[[candidate]]\nmodel = "small"', "“models” is of no use beside [[candidate]]"),
    ],
)
def test_what_a_file_cannot_say_is_named_as_it_stands_there(
    folder: Path, more: str, of_the_baseline: str, named: str
) -> None:
    with pytest.raises(DesignError, match=r"^goal\.toml: ") as refused:
        read(folder, more=more, of_the_baseline=of_the_baseline)
    assert named in str(refused.value)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('prompts = "own.csv"\nseconds = 1', "“baseline” is missing"),
        ('prompts = "own.csv"\n[baseline]\nmodel = "m"', "“seconds” is missing"),
        ('prompts = "own.csv"\nseconds = 1\nbaseline = "m"', "a table that begins with [baseline]"),
        ('seconds = 1\n[baseline]\nmodel = "m"', "“prompts” is missing"),
    ],
)
def test_what_a_file_lacks_is_named(folder: Path, text: str, named: str) -> None:
    file = folder / "goal.toml"
    file.write_text(text)
    with pytest.raises(DesignError) as refused:
        read_plan(file, Here())
    assert named in str(refused.value)
