"""``gearbox experiment autopilot``: a configuration with evidence, or what is in the way; nothing measured twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.command import errors, experiment, opened, runs
from tests.support.tiny import make_tiny_checkpoint

FILE = """
name = "{name}"
prompts = "own.csv"
latency = "E2E"
percentile = 50
seconds = 600
margin = 99
minutes = 30
max_tokens = 4
{more}

[baseline]
model = "tiny"

[[candidate]]
name = "int8"
model = "tiny"
precision = "int8"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_tiny_checkpoint(tmp_path / "models" / "tiny", "qwen2", max_position_embeddings=256)
    rows = "".join(f"What is {n} + 1?,{n + 1}\n" for n in range(24))
    (tmp_path / "own.csv").write_text(f"question,answer\n{rows}")
    return tmp_path


def write(folder: Path, name: str = "Small enough", more: str = "") -> str:
    file = folder / "goal.toml"
    file.write_text(FILE.format(name=name, more=more))
    return str(file)


@pytest.mark.slow
def test_it_ends_with_a_configuration_its_evidence_a_report_and_measures_nothing_twice(folder: Path) -> None:
    free = experiment(folder, "autopilot", write(folder, "Free"), "--json")
    assert free.returncode == 0, free.stderr
    tree = json.loads(free.stdout)
    memory = {each["name"]: each["memory_bytes"] for each in tree["measured"]}
    assert set(memory) == {"tiny bf16 (baseline)", "int8"}
    assert tree["evidence"]["prompts"] >= 4
    assert {each["limit"] for each in tree["evidence"]["limits"]} == {"latency", "quality"}

    between = (memory["int8"] + memory["tiny bf16 (baseline)"]) / 2 / 2**30
    asked = (write(folder, more=f"memory = {between:.9f}"), "--report", str(folder / "report.html"), "--save", "Mine")
    done = experiment(folder, "autopilot", *asked)
    assert done.returncode == 0, done.stderr
    assert "On the Pareto front" in done.stdout
    assert "Chosen: int8. “int8” keeps all limits on" in done.stdout
    assert "- Memory, kept:" in done.stdout
    assert "held-out prompts" in done.stdout
    assert "Saved as the configuration “Mine”" in done.stderr
    assert "gearbox experiment run" in (folder / "report.html").read_text()
    with opened(folder) as store:
        (saved,) = store.configurations.everybodys()
        assert (saved.name, saved.config["model"], len(store.autopilots.all())) == ("Mine", "tiny", 2)
    before = runs(folder)
    again = experiment(folder, "autopilot", *asked)
    assert (again.returncode, again.stdout, runs(folder)) == (0, done.stdout, before)

    none = experiment(folder, "autopilot", write(folder, "None", "memory = 1e-9"), "--save", "None")
    assert none.returncode == 0
    assert "No configuration. None of 2 configurations keeps all limits. In the way is memory." in none.stdout
    assert "nothing is saved" in none.stderr


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('prompts = "own.csv"', "goal.toml: “seconds” is missing"),
        (FILE.format(name="A", more='gears = ["cascade"]'), "“gears” is of no use beside [[candidate]] tables"),
        (FILE.format(name="A", more="").replace("minutes = 30", 'minutes = "long"'), "“minutes” must be a number"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_by_the_files_own_key(text: str, named: str, folder: Path) -> None:
    file = folder / "goal.toml"
    file.write_text(text)
    done = experiment(folder, "autopilot", str(file), "--json")
    assert (done.returncode, done.stdout) == (2, "")
    (error,) = errors(done)
    assert named in error


def test_a_report_that_could_not_be_written_is_refused_before_anything_is_measured(folder: Path) -> None:
    done = experiment(folder, "autopilot", write(folder), "--report", str(folder / "nowhere" / "report.html"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no folder" in done.stderr
