"""A design from a file: what it may say, and what it is told where it says something else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.cascade.cascades import FIRST_THRESHOLD
from app.experiments.planning.configuration_file import Portable, write_configurations
from app.experiments.planning.design import DesignError, Size
from app.experiments.planning.reading import read_design
from app.store import Pass
from engine import MIXED_FILE, load_tasks
from engine.errors import InvalidRequestError
from engine.types import (
    NEVER,
    CacheMode,
    Drafter,
    KVDtype,
    Precision,
    RouterKind,
    RunConfig,
    SamplingParams,
    Tier,
)

SMALLEST = """
name = "Ship int4?"
prompts = "{prompts}"
{more}

[[configuration]]
model = "smollm2-135m"

[[configuration]]
name = "int4"
model = "smollm2-135m"
precision = "int4"
{of_the_second}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "own.csv").write_text("question,answer\nCapital of France?,Paris\nCapital of Peru?,Lima\n,Rome\n")
    return tmp_path


def write(folder: Path, *, prompts: str = "own.csv", more: str = "", of_the_second: str = "") -> Path:
    file = folder / "experiment.toml"
    file.write_text(SMALLEST.format(prompts=prompts, more=more, of_the_second=of_the_second))
    return file


def test_the_least_that_a_file_says_is_enough(folder: Path) -> None:
    read = read_design(write(folder))
    design = read.design
    assert (design.name, design.baseline, design.repeats, design.margin_points) == ("Ship int4?", 0, 1, 2.0)
    assert design.passes == (Pass.QUALITY, Pass.SPEED)
    assert [each.name for each in design.configurations] == ["smollm2-135m bf16", "int4"]
    assert design.configurations[1].config.precision is Precision.INT4
    assert [(task.prompt, task.checker) for task in design.prompts] == [
        ("Capital of France?", "contains"), ("Capital of Peru?", "contains"),
    ]  # fmt: skip
    assert len(read.notes) == 1
    assert "row 4" in read.notes[0]


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ("logit_bias = [[1, 2], [3]]", "a token's id and what is added"),
        ('guard = "yes"\nsmaller = ["smollm2-135m@int8"]', "“guard” must be true or false"),
        ("keep_tier = true", "“keep_tier” needs “smaller”"),
        ("top_k = true", "“top_k” must be a whole number"),
    ],
)
def test_a_setting_of_another_kind_is_named(folder: Path, said: str, named: str) -> None:
    with pytest.raises(DesignError, match=named):
        read_design(write(folder, of_the_second=said))


def test_all_that_a_file_can_say_is_read(folder: Path) -> None:
    more = (
        'question = "Ship it?"\nsize = "all"\nbaseline = "int4"\nrepeats = 3\nseed = 7\nmargin = 1.5\n'
        'passes = ["quality"]\nmax_tokens = 20'
    )
    gears = (
        'cache = "prefix"\nkv_dtype = "int8"\nwindow = 256\ndrafter = "draft"\ndraft_model = "tiny"\ngamma = 4\n'
        'smaller = ["tiny@int8"]\nthresholds = [0.4]\nrouter = "hybrid"\ntemperature = 0.5\ntop_p = 0.9\ntop_k = 40\n'
        'repetition_penalty = 1.1\nstop = ["\\n"]'
    )
    design = read_design(write(folder, more=more, of_the_second=gears)).design
    assert (design.question, design.baseline, design.repeats, design.seed) == ("Ship it?", 1, 3, 7)
    assert (design.margin_points, design.passes, design.max_tokens) == (1.5, (Pass.QUALITY,), 20)
    config = design.configurations[1].config
    optimization, sampling = config.optimization, config.sampling
    assert (optimization.cache_mode, optimization.kv_dtype, optimization.window) == (
        CacheMode.PREFIX, KVDtype.INT8, 256,
    )  # fmt: skip
    drafting, cascade = optimization.speculation, optimization.cascade
    assert drafting is not None
    assert cascade is not None
    assert (drafting.drafter, drafting.draft_model, drafting.draft_precision, drafting.gamma) == (
        Drafter.DRAFT, "tiny", Precision.INT4, 4,
    )  # fmt: skip
    assert cascade.smaller == (Tier(model="tiny", precision=Precision.INT8),)
    assert (cascade.thresholds, cascade.router) == ((0.4,), RouterKind.HYBRID)
    assert (sampling.temperature, sampling.top_p, sampling.top_k) == (0.5, 0.9, 40)
    assert (sampling.repetition_penalty, sampling.stop) == (1.1, ("\n",))


@pytest.mark.parametrize(
    ("said", "thresholds"),
    [
        ('smaller = ["tiny@int4"]', (FIRST_THRESHOLD,)),
        ('smaller = ["tiny@int4", "small@int4"]', (FIRST_THRESHOLD, FIRST_THRESHOLD)),
        ('smaller = ["tiny@int4"]\nrouter = "always-small"', (NEVER,)),
        ('smaller = ["tiny@int4"]\nrouter = "always-large"', (0.0,)),
    ],
)
def test_a_cascade_without_thresholds_begins_as_in_the_playground(
    folder: Path, said: str, thresholds: tuple[float, ...]
) -> None:
    cascade = read_design(write(folder, of_the_second=said)).design.configurations[1].config.optimization.cascade
    assert cascade is not None
    assert cascade.thresholds == thresholds


@pytest.mark.parametrize(("size", "prompts"), [(None, 200), (Size.QUICK, 50), (Size.ALL, 573)])
def test_of_the_projects_own_prompts_as_many_are_asked_as_is_wanted(
    size: Size | None, prompts: int, tmp_path: Path
) -> None:
    design = read_design(write(tmp_path, prompts="mixed"), size=size).design
    assert len(design.prompts) == prompts
    assert {task.category for task in design.prompts} == {task.category for task in load_tasks(MIXED_FILE)}
    assert design.prompts_from == ("mixed" if prompts == 573 else f"mixed ({prompts} of 573)")


@pytest.mark.parametrize("name", ["tasks", "samples", "speculation"])
def test_the_other_sets_of_the_project_are_known_too(name: str, tmp_path: Path) -> None:
    assert read_design(write(tmp_path, prompts=name), size=Size.ALL).design.prompts


@pytest.mark.parametrize(
    ("more", "of_the_second", "named"),
    [
        ('questoin = "Why?"', "", "“questoin” is not known here"),
        ("repeats = true", "", "“repeats” must be a whole number"),
        ('seed = "one"', "", "“seed” must be a whole number"),
        ('size = "huge"', "", "quick, usual, all"),
        ('baseline = "int8"', "", "no configuration is called"),
        ('passes = ["taste"]', "", "quality, speed"),
        ("margin = 0", "", "margin"),
        ("", 'precission = "int8"', "configuration “int4”: “precission” is not known"),
        ("", "gamma = 4", "needs a “drafter”"),
        ("", "thresholds = [0.5]", "needs “smaller”"),
        ("", 'smaller = ["tiny"]\nthresholds = [0.5]', "model@precision"),
        ("", 'smaller = ["tiny@int4"]\nthresholds = ["high"]', "“thresholds” must be numbers"),
        ("", 'smaller = ["tiny@int4"]\nthresholds = [0.2, 0.4]', "2 tiers need 1 thresholds, not 2"),
        ("", 'smaller = ["tiny@int4"]\nprofile = "none"', "This is no router profile"),
        ("", "temperature = 9", "configuration “int4”: Temperature"),
        ("", 'kv_dtype = "int3"', "bf16, int8"),
        ("", 'name = "smollm2-135m bf16"', "TOML"),
    ],
)
def test_what_a_file_cannot_say_is_named_as_it_stands_there(
    more: str, of_the_second: str, named: str, folder: Path
) -> None:
    with pytest.raises(DesignError, match=r"^experiment\.toml") as refused:
        read_design(write(folder, more=more, of_the_second=of_the_second))
    assert named in str(refused.value)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "“prompts” is missing"),
        ('prompts = "own.csv"', "“name” is missing"),
        ('prompts = "none.csv"\nname = "A"', "none.csv cannot be read"),
        ('prompts = "own.csv"\nname = "A"', "1 to 16 configurations"),
        ('prompts = "own.csv"\nname = "A"\n[configuration]\nmodel = "m"', "[[configuration]]"),
        ('prompts = "own.csv"\nname = "A"\nconfiguration = ["m"]', "[[configuration]]"),
        ('prompts = "own.csv"\nname = "A"\n[[configuration]]', "“model” is missing"),
        ("name = ", "is no TOML"),
    ],
)
def test_what_a_file_lacks_is_named(text: str, named: str, folder: Path) -> None:
    file = folder / "experiment.toml"
    file.write_text(text)
    with pytest.raises(DesignError) as refused:
        read_design(file)
    assert named in str(refused.value)


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DesignError, match="cannot be read"):
        read_design(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\x80\x81\xff")
    with pytest.raises(InvalidRequestError, match="UTF-8"):
        read_design(tmp_path / "binary.toml")


def test_configurations_of_a_file_beside_it_come_after_its_own(folder: Path) -> None:
    more = [Portable(name="Saved", config=RunConfig(model="smollm2-135m", sampling=SamplingParams(seed=9)))]
    (folder / "saved.toml").write_text(write_configurations(more))
    design = read_design(write(folder, more='configurations = "saved.toml"')).design
    assert [each.name for each in design.configurations] == ["smollm2-135m bf16", "int4", "Saved"]


@pytest.mark.parametrize(("turns", "asked"), [("first", ["Hi?"]), ("every", ["Hi?", "Go on."])])
def test_of_conversations_the_messages_that_a_file_says_are_asked(turns: str, asked: list[str], folder: Path) -> None:
    said = [("user", "Hi?"), ("assistant", "Hi."), ("user", "Go on.")]
    row = {"messages": [{"role": role, "content": text} for role, text in said]}
    (folder / "chats.jsonl").write_text(json.dumps(row))
    design = read_design(write(folder, prompts="chats.jsonl", more=f'turns = "{turns}"')).design
    assert [task.prompt for task in design.prompts] == asked
    assert [len(task.history) for task in design.prompts] == [0, 2][: len(asked)]
