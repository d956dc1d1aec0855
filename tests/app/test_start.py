"""What a start does without: libraries that take seconds or hundreds of megabytes, until somebody needs them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import pytest

from app.settings import REPOSITORY
from engine.models.checkpoint import resolve
from engine.models.opening import open_small_files

HEAVY = ("torch", "transformers", "bitsandbytes", "scipy", "sklearn", "pandas", "pyarrow", "apprise")
OF_THE_APP = ("sqlalchemy", "alembic", "streamlit", "fastapi", "plotly", "opentelemetry")


def imported(code: str, of: Collection[str], **variables: str) -> list[str]:
    """Which libraries a new process has imported after some code."""
    told = f"import json, sys\ntry:\n {code}\nfinally:\n print(json.dumps([n for n in {list(of)} if n in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", told],
        cwd=REPOSITORY, env=variables, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


def command(*arguments: str) -> str:
    return f"from app.cli import main; sys.argv = {['gearbox', *arguments]!r}; main()"


def test_the_server_comes_up_without_what_models_and_reports_need() -> None:
    assert imported("import app.server", HEAVY) == []


@pytest.mark.parametrize("arguments", [("--help",), ("models",)])
def test_the_command_line_comes_up_without_the_app(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert imported(command(*arguments), (*HEAVY, *OF_THE_APP), GEARBOX_DATA_DIR=str(tmp_path)) == []


def test_a_model_that_was_opened_before_answers_without_transformers(tiny_models_dir: Path, tmp_path: Path) -> None:
    models_dir = tmp_path / "models"
    shutil.copytree(tiny_models_dir / "tiny", models_dir / "tiny")
    found = resolve("tiny", models_dir)
    open_small_files(found, found.kept_in(models_dir / ".packed"))
    code = command("generate", "--model", "tiny", "--prompt", "x", "--quantization", "int4", "--max-tokens", "4")
    assert imported(code, (*HEAVY, *OF_THE_APP), GEARBOX_DATA_DIR=str(tmp_path)) == ["torch"]
