"""``gearbox experiment run``: a table at the end, nothing asked twice, what is wrong in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.experiments.planning.reading import read_design
from app.experiments.running.starting import keep_design
from app.store import StartedFrom
from tests.support.command import errors, experiment, opened, runs
from tests.support.tiny import make_tiny_checkpoint

FILE = """
name = "Tiny"
prompts = "own.csv"
max_tokens = 4

[[configuration]]
name = "16 bits"
model = "tiny"

[[configuration]]
name = "int8"
model = "tiny"
precision = "int8"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_tiny_checkpoint(tmp_path / "models" / "tiny", "qwen2", max_position_embeddings=256)
    (tmp_path / "own.csv").write_text("question,answer\nCapital of France?,Paris\nCapital of Peru?,Lima\n,Rome\n")
    (tmp_path / "tiny.toml").write_text(FILE)
    return tmp_path


@pytest.mark.slow
def test_it_prints_the_table_and_asks_nothing_twice(folder: Path) -> None:
    done = experiment(folder, "run", str(folder / "tiny.toml"))
    assert done.returncode == 0, done.stderr
    head, baseline, int8 = done.stdout.splitlines()
    assert head.split()[:3] == ["Configuration", "Answered", "Failed"]
    assert baseline.startswith("16 bits (baseline)")
    assert int8.startswith("int8")
    assert "row 4" in done.stderr
    before = runs(folder)
    assert before >= 8
    again = experiment(folder, "run", str(folder / "tiny.toml"), "--report", str(folder / "after.html"))
    assert (again.returncode, again.stdout) == (0, done.stdout)
    assert runs(folder) == before
    assert "Experiment “Tiny”" in (folder / "after.html").read_text()

    report = folder / "report.html"
    written = experiment(folder, "report", "Tiny", "--output", str(report), "--candidate", "int8")
    assert written.returncode == 0, written.stderr
    assert "gearbox experiment run tiny.toml" in report.read_text()

    replay = folder / "replay.html"
    played = experiment(folder, "report", "Tiny", "--output", str(report), "--replay", str(replay), "--prompt", "row 2")
    assert played.returncode == 0, played.stderr
    assert "Recorded, not live" in replay.read_text()
    assert "Capital of France?" in replay.read_text()
    for wrong, named in (
        (("Huge",), "There are: “Tiny”"),
        (("Tiny", "--candidate", "16 bits"), "There are: int8"),
    ):
        refused = experiment(folder, "report", *wrong, "--output", str(folder / "none.html"))
        assert refused.returncode == 2
        assert named in refused.stderr
    assert not (folder / "none.html").exists()


@pytest.mark.parametrize(
    ("text", "named"), [('name = "A"', "“prompts” is missing"), (FILE.replace('"tiny"', '"none"'), "none")]
)
def test_what_is_wrong_is_said_in_one_line(text: str, named: str, folder: Path) -> None:
    (folder / "wrong.toml").write_text(text)
    done = experiment(folder, "run", str(folder / "wrong.toml"), "--quick")
    assert done.returncode == 2
    (error,) = errors(done)
    assert named in error
    assert done.stdout == ""


@pytest.mark.slow
def test_what_failed_is_asked_again_where_that_is_wanted(folder: Path) -> None:
    long = "What of this? " * 80
    (folder / "own.csv").write_text(f"question,answer\n{long},Paris\nCapital of Peru?,Lima\n")
    assert "1 and 1" not in experiment(folder, "run", str(folder / "tiny.toml")).stderr
    before = runs(folder)
    assert experiment(folder, "run", str(folder / "tiny.toml")).returncode == 0
    assert runs(folder) == before
    again = experiment(folder, "run", str(folder / "tiny.toml"), "--retry-failed")
    assert again.returncode == 0, again.stderr
    assert "8 are there already and 4 failed and are asked again" in again.stderr
    assert runs(folder) == before + 4, "and nothing else"


def test_one_that_a_server_goes_on_with_is_refused_in_words(folder: Path) -> None:
    (folder / "tiny.toml").write_text(FILE)
    with opened(folder) as store:
        design = read_design(folder / "tiny.toml").design
        store.experiments.begin(keep_design(store, design), StartedFrom.PAGE)
        refused = experiment(folder, "run", str(folder / "tiny.toml"))
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "“Tiny” is running already, started on its page of another server. Pause it there" in refused.stderr
        assert store.page().total == 0


def test_a_report_that_could_not_be_written_is_refused_before_anything_is_asked(folder: Path) -> None:
    done = experiment(folder, "run", str(folder / "tiny.toml"), "--report", str(folder / "nowhere" / "report.html"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no folder" in done.stderr
    assert not (folder / "gearbox.db").exists()
