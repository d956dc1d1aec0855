"""``gearbox sentinel``: how it is told in CI."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from app.store import GoldenAnswer
from tests.support.command import errors, gearbox, opened
from tests.support.golden import Golden, Versions
from tests.support.tiny import make_tiny_checkpoint


def sentinel(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return gearbox(folder, "sentinel", *arguments)


def test_an_empty_list_is_no_failure_and_says_what_to_do(tmp_path: Path) -> None:
    done = sentinel(tmp_path, "list")
    assert (done.returncode, done.stdout) == (0, "")
    assert "gearbox sentinel pick RUN" in done.stderr
    nothing = sentinel(tmp_path, "accept")
    assert nothing.returncode == 2
    assert "--all" in errors(nothing)[0]


@pytest.mark.slow
def test_a_flip_exits_with_1_until_it_is_accepted(tmp_path: Path) -> None:
    make_tiny_checkpoint(tmp_path / "models" / "tiny", "qwen2", max_position_embeddings=256)
    with opened(tmp_path) as store:
        # its answer is a fake's, which the real tiny model will not give
        Golden(store, Versions()).pick("Which way is north?", model="tiny")
    done = sentinel(tmp_path, "run", "--json")
    assert done.returncode == 1, done.stderr
    (found,) = json.loads(done.stdout)["golden"]
    assert (found["state"], found["accepted"]) == ("flipped", "The sky scatters blue light.")
    assert found["now"] != found["accepted"]
    listed = sentinel(tmp_path, "list")
    assert listed.returncode == 1
    assert "flipped" in listed.stdout
    assert sentinel(tmp_path, "accept", "Which way is north?").returncode == 0
    assert sentinel(tmp_path, "list").returncode == 0
    with opened(tmp_path) as store:
        accepted: GoldenAnswer = next(iter(store.sentinel.baselines().values()))
    assert accepted.text == found["now"]
