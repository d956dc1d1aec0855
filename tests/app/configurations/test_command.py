"""``gearbox configurations`` and ``gearbox export-vllm`` as they are given."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from app.cli import _load
from engine.types import OptimizationConfig, Precision, RunConfig
from tests.support.command import opened
from tests.support.stores import new_database


def test_configurations_go_out_and_come_in_and_become_a_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def give(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["gearbox", *arguments])
        code = _load()()
        return code, *capsys.readouterr()

    monkeypatch.setenv("GEARBOX_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("GEARBOX_DATABASE_URL", raising=False)
    new_database(tmp_path / "gearbox.db")
    config = RunConfig(model="smollm2-135m", optimization=OptimizationConfig.at(Precision.INT4))
    with opened(tmp_path) as store:
        store.configurations.save("somebody", "Fast", config.to_dict(), warm=False)
    file = tmp_path / "mine.toml"
    assert give("configurations", "export", str(file), "Fast") == (0, "", "1 configuration written.\n")
    assert give("configurations", "import", str(file)) == (0, "Fast (not installed here: smollm2-135m)\n", "")
    assert give("configurations", "list")[1].count("Fast  smollm2-135m int4  not installed: smollm2-135m") == 2
    with opened(tmp_path) as store:
        assert [RunConfig.from_dict(each.config) for each in store.configurations.saved(None)] == [config]
    for given in ("Fast", str(file)):
        found = json.loads(give("export-vllm", given, "--json")[1])
        assert found["command"][:2] == ["vllm", "serve"]
        assert "int4" in found["without"][0]
    code, line, told = give("export-vllm", "Fast")
    assert (code, line.startswith("vllm serve ")) == (0, True)
    assert "Without a counterpart:" in told
    code, _, told = give("export-vllm", "Slow")
    assert (code, "“Slow”. There are: “Fast”." in told) == (2, True)
