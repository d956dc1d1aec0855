"""``gearbox db …`` and ``gearbox runs export``."""

import csv
import json
from pathlib import Path

import pytest

from app.cli import _load
from app.settings import Settings
from app.store import RunStore
from tests.support.searching import keep


@pytest.fixture
def store_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Of the settings' database, with two runs in it."""
    monkeypatch.setenv("GEARBOX_DATA_DIR", str(tmp_path))
    url = Settings.from_env().database_url
    store = RunStore.open(url)
    keep(store, "first")
    store.set_tags(keep(store, "second"), ["kept"])
    store.close()
    return url


def gearbox(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["gearbox", *arguments])
    return _load()()


@pytest.mark.usefixtures("store_url")
def test_a_copy_is_made_and_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = str(tmp_path / "copy.db")
    assert gearbox(monkeypatch, "db", "backup", copy) == 0
    assert "checked" in capsys.readouterr().out
    assert gearbox(monkeypatch, "db", "backup", copy) == 1
    assert "is there already" in capsys.readouterr().err
    assert gearbox(monkeypatch, "db", "restore", copy) == 0
    assert "What was there before is" in capsys.readouterr().out


def test_old_runs_are_counted_and_pruned(
    store_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gearbox(monkeypatch, "db", "prune") == 2
    assert "Nothing says how long" in capsys.readouterr().err
    assert gearbox(monkeypatch, "db", "prune", "--keep-runs", "1", "--dry-run") == 0
    assert capsys.readouterr().out == "1 run would go; 0 as old would stay.\n"
    # they were asked a moment ago, and are summed up once their quarter of an hour is over
    assert gearbox(monkeypatch, "db", "prune", "--keep-runs", "1", "--shrink") == 0
    assert capsys.readouterr().out == "0 runs pruned.\n"
    monkeypatch.setenv("GEARBOX_KEEP_DAYS", "30")
    assert gearbox(monkeypatch, "db", "prune", "--dry-run") == 0


@pytest.mark.usefixtures("store_url")
def test_runs_are_written_in_the_format_of_the_file_s_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyarrow import parquet

    for name in ("runs.jsonl", "runs.csv", "runs.parquet"):
        assert gearbox(monkeypatch, "runs", "export", str(tmp_path / name)) == 0
    lines = [json.loads(line) for line in (tmp_path / "runs.jsonl").read_text().splitlines()]
    with (tmp_path / "runs.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    table = parquet.read_table(tmp_path / "runs.parquet").to_pylist()
    texts = ["first", "second"]
    assert [line["text"] for line in lines] == [row["text"] for row in rows] == [row["text"] for row in table] == texts
    assert [row["tags"] for row in table] == [[], ["kept"]]
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.usefixtures("store_url")
def test_runs_are_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for number, options in enumerate((["--tag", "kept"], ["--text", "second"], ["--since", "2099-01-01"])):
        file = tmp_path / f"{number}.jsonl"
        assert gearbox(monkeypatch, "runs", "export", str(file), *options) == 0
        assert [json.loads(line)["text"] for line in file.read_text().splitlines()] == ["second"] * (number < 2)


@pytest.mark.usefixtures("store_url")
@pytest.mark.parametrize(
    ("arguments", "told"),
    [(["runs.txt"], "names no format"), (["runs.csv", "--source", "nowhere"], "no source 'nowhere'")],
)
def test_what_cannot_be_written_is_told(
    arguments: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert gearbox(monkeypatch, "runs", "export", *arguments) == 2
    assert told in capsys.readouterr().err
