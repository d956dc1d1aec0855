"""``gearbox experiment export`` as it is given."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from app.cli import _load
from tests.support.command import opened
from tests.support.experiments import answered, design, keep, sums
from tests.support.stores import new_database


def test_scores_are_written_a_folder_for_each_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def give(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["gearbox", "experiment", "export", *arguments])
        return _load()()

    monkeypatch.setenv("GEARBOX_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("GEARBOX_DATABASE_URL", raising=False)
    new_database(tmp_path / "gearbox.db")
    tasks = sums(4)
    with opened(tmp_path) as store:
        keep(store, design(tasks), *answered(0, tasks, [1.0] * 4), *answered(1, tasks, [1.0, 0.0, 1.0, 1.0]))
        keep(store, design(tasks, name="Empty"))
    assert give("Own", "--format", "lm-eval", "--output", str(tmp_path / "out")) == 0
    first, second = map(Path, capsys.readouterr().out.split())
    assert (first.parent.name, second.parent.name) == ("1-16-bits", "2-int4")
    assert json.loads(second.read_text())["results"]["sums"]["acc,none"] == 0.75
    assert give("Empty", "--output", str(tmp_path)) == 2
    assert "Nothing of “Empty” was answered yet." in capsys.readouterr().err
