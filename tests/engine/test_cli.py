"""The command line, as a script would use it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine import command_line
from engine.command_line import run as main
from engine.types import Disturbance
from tests.conftest import REPOSITORY, SMALL
from tests.support.disturbing import DISTURBED, QUIET, WHY
from tests.support.fakes import FakeEngine

METRICS = {
    "ttft_s", "tpot_s", "e2e_s", "prompt_tokens", "cached_tokens", "completion_tokens", "drafted_tokens",
    "accepted_tokens", "weights_bytes", "kv_bytes", "peak_rss_bytes",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _data_dir(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEARBOX_DATA_DIR", str(models_dir.parent))


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "engine", *arguments],
        cwd=REPOSITORY, env=os.environ.copy(), capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    "backend",
    [
        pytest.param(["--quantization", "int8"], id="int8"),
        pytest.param(["--backend", "reference"], id="reference", marks=pytest.mark.slow),
        pytest.param(["--quantization", "nf4"], id="nf4", marks=pytest.mark.slow),
    ],
)
def test_json_is_one_object_and_nothing_else(backend: list[str]) -> None:
    done = run("generate", "--model", SMALL, "--prompt", "What is the capital of France?", *backend)
    streamed = done.stdout
    done = run("generate", "--model", SMALL, "--prompt", "What is the capital of France?", *backend, "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    assert set(answer) == {"text", "token_ids", "finish_reason", "config", "metrics", "disturbed", "disturbance"}
    assert set(answer["metrics"]) >= METRICS
    assert answer["finish_reason"] == "stop"
    assert answer["text"] + "\n" == streamed
    assert answer["metrics"]["completion_tokens"] == len(answer["token_ids"])


def test_system_prompt_and_limits_reach_the_model(capsys: pytest.CaptureFixture[str]) -> None:
    base = ["generate", "--model", SMALL, "--prompt", "Who are you?", "--max-tokens", "7", "--json"]
    assert main(base) == 0
    plain = json.loads(capsys.readouterr().out)
    assert main([*base, "--system", "You are a pirate called Roger.", "--temperature", "0.9", "--seed", "4"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert plain["metrics"]["completion_tokens"] == told["metrics"]["completion_tokens"] == 7
    assert plain["metrics"]["prompt_tokens"] != told["metrics"]["prompt_tokens"]
    assert told["config"]["sampling"]["seed"] == 4


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["generate", "--model", SMALL, "--prompt", "  \n"], "prompt is empty"),
        (["generate", "--model", "no-such-model", "--prompt", "hi"], SMALL),
        (["generate", "--model", SMALL, "--prompt", "hi " * 9000], "tokens too long"),
        (["generate", "--model", SMALL, "--prompt", "hi", "--max-tokens", "0"], "Max tokens"),
        (["generate", "--model", SMALL, "--prompt", "hi", "--temperature", "-1"], "Temperature"),
        (["generate", "--model", SMALL, "--prompt", "hi", "--backend", "reference", "--quantization", "int4"], "gears"),
        (["models", "install", "no-such-model"], SMALL),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_input_is_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [[], ["generate"], ["generate", "--model", SMALL, "--prompt", "x", "--seed", "a"]]
)
def test_wrong_usage_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_models_lists_what_is_installed_and_what_could_be(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    states = {line.split()[0]: line for line in lines}
    assert "installed" in states[SMALL]
    assert "not installed" not in states[SMALL]
    assert {"qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b"} <= set(states)


@pytest.mark.parametrize(("disturbance", "why"), [(QUIET, ""), (DISTURBED, WHY)])
def test_a_disturbed_run_says_so_beside_its_answer(
    disturbance: Disturbance, why: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = FakeEngine(("Hi", "."))
    engine.disturbances = [disturbance] * 2
    monkeypatch.setattr(command_line, "Engine", lambda *args, **options: engine)
    asked = ["generate", "--model", SMALL, "--prompt", "Hi"]
    assert main(asked) == 0
    said = capsys.readouterr()
    assert said.out == "Hi.\n"
    assert said.err == (f"disturbed: {why} Its speed is not to be relied on.\n" if why else "")
    assert main([*asked, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["disturbed"] is bool(why)
    assert Disturbance.from_dict(told["disturbance"]) == disturbance
