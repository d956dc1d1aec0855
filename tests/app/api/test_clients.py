"""The packages that people use, each in an environment of its own, against the real server."""

from __future__ import annotations

import json
import os
import subprocess
import venv
from pathlib import Path

import pytest

from app.settings import REPOSITORY
from app.store import RunSource, RunStatus, RunStore
from engine import Engine
from tests.support.api import listening, serving

CLIENTS = {"openai": "openai_client.py", "langchain-openai": "langchain_client.py", "litellm": "litellm_client.py"}
_SCRIPTS = Path(__file__).parent / "clients"


def requirement(package: str) -> str:
    """As it stands in ``requirements-clients.txt``."""
    lines = (REPOSITORY / "requirements-clients.txt").read_text(encoding="utf-8").splitlines()
    return next(line.partition("#")[0].strip() for line in lines if line.startswith(f"{package}=="))


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("package", list(CLIENTS))
def test_a_client_works_as_its_users_do(
    engine: Engine, store: RunStore, models_dir: Path, tmp_path: Path, package: str
) -> None:
    venv.create(tmp_path / "client", with_pip=True)
    python = tmp_path / "client" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", requirement(package)], check=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    with serving(engine, store, models_dir) as app, listening(app) as url:
        ran = subprocess.run(
            [python, _SCRIPTS / CLIENTS[package], url],
            capture_output=True,
            text=True,
            env=environment,
            cwd=tmp_path,
            timeout=600,
            check=False,
        )
    assert ran.returncode == 0, ran.stderr
    text = json.loads(ran.stdout.splitlines()[-1])["text"]
    runs = store.page(limit=200).rows
    assert {run.source for run in runs} == {RunSource.API}
    assert {run.status for run in runs} <= {RunStatus.FINISHED, RunStatus.FAILED}
    assert text in {store.get(run.id).text for run in runs}
