"""The command from end to end: what it prints and keeps, and the code it exits with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from app.operations.traffic.command_line import run
from app.settings import REPOSITORY
from tests.support.scripted_server import Reply, ScriptedServer

KEY = "sk-very-secret-123"
OWN = {"at": 0, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5}


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running:
        yield running


@pytest.fixture
def messages(tmp_path: Path) -> Path:
    """A trace of four requests at once."""
    path = tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps(OWN | {"session": f"s{number}"}) + "\n" for number in range(4)))
    return path


def of(server: ScriptedServer) -> list[str]:
    return ["--url", server.url, "--model", "m"]


def is_probe(body: Mapping[str, Any]) -> bool:
    """Whether it is one of the two requests that come before the trace."""
    return body["max_tokens"] == 1


def sent(server: ScriptedServer) -> list[Mapping[str, Any]]:
    """The requests of the trace."""
    assert [is_probe(body) for body in server.bodies[:2]] == [True, True]
    return server.bodies[2:]


def test_a_replay_prints_a_report_and_keeps_a_row_for_each_request(
    server: ScriptedServer, messages: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "rows.json"
    code = run(["replay", str(messages), *of(server), "--slo", "ttft=60,e2e=60", "--json", str(kept), "--speed", "inf"])
    out, err = capsys.readouterr()
    assert code == 0
    assert "4 ended: 4 ok, none failed" in out
    assert "100 % met TTFT ≤ 1 min 00 s" in out
    assert "4 requests as fast as they are answered, at most 64 at once." in err
    whole = json.loads(kept.read_text())
    assert (whole["summary"]["ok"], whole["summary"]["output_tokens"], whole["summary"]["cached_tokens"]) == (4, 12, 16)
    assert sorted(row["session"] for row in whole["requests"]) == ["s0", "s1", "s2", "s3"]


def test_too_many_errors_are_an_exit_code(server: ScriptedServer, messages: Path) -> None:
    server.script = lambda body: Reply(status=503 if body.get("user") in ("s0", "s2") else 200, error={"error": "busy"})
    command = ["replay", str(messages), *of(server), "--clients", "1"]
    assert run(command) == 1
    assert run([*command, "--max-error-share", "0.49"]) == 1
    assert run([*command, "--max-error-share", "0.5"]) == 0


def test_a_limit_sends_the_first_ones_alone(server: ScriptedServer, messages: Path) -> None:
    assert run(["replay", str(messages), *of(server), "--limit", "2"]) == 0
    assert [body["user"] for body in sent(server)] == ["s0", "s1"]


def test_mooncakes_blocks_are_met_again_in_the_prompts(server: ScriptedServer, tmp_path: Path) -> None:
    path = tmp_path / "mooncake.jsonl"
    row = {"timestamp": 0, "input_length": 1024, "output_length": 3}
    path.write_text("".join(json.dumps(row | {"hash_ids": [1, last]}) + "\n" for last in (2, 3, 2)))
    assert run(["replay", str(path), *of(server), "--clients", "1", "--body", '{"top_p": 0.5}']) == 0
    first, second, third = (body["messages"][0]["content"] for body in sent(server))
    assert first == third
    assert first.split()[:400] == second.split()[:400]
    assert first != second
    assert all(body["top_p"] == 0.5 for body in server.bodies)


@pytest.mark.parametrize("kind", [["poisson"], ["bursty", "--cv", "2"]])
def test_synthetic_traffic_has_the_lengths_that_were_asked_for(server: ScriptedServer, kind: list[str]) -> None:
    lengths = ["--prompt-tokens", "40", "--answer-tokens", "7"]
    assert run([*kind, "--rate", "50", "--duration", "0.4", *lengths, *of(server)]) == 0
    assert sent(server)
    # the server counts 10 tokens whatever is sent, so a word counts as a token
    assert {(len(body["messages"][0]["content"].split()), body["max_tokens"]) for body in sent(server)} == {(40, 7)}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["replay", "nowhere.csv"], "nowhere.csv"),
        (["replay", "own.jsonl", "--url", "ftp://h"], "address"),
        (["replay", "broken.csv"], "broken.csv: Line 1: no trace of a known kind"),
        (["replay", "."], "directory"),
        (["replay", "own.jsonl", "--json", "nowhere/rows.json"], "nowhere/rows.json"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_sent(
    server: ScriptedServer,
    messages: Path,
    arguments: list[str],
    complaint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(messages.parent)
    Path("broken.csv").write_text("a,b\n1,2\n")
    command, file, *others = arguments
    assert run([command, file, *of(server), *others]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert complaint in err
    assert err.count("\n") == 1
    assert not server.bodies


@pytest.mark.parametrize(
    "option",
    [
        *("speed=0", "speed=nan", "clients=0", "clients=1.5", "limit=-1", "timeout=inf"),
        *("slo=ttft=x", "max-error-share=2", "body=[]", "body={", "length-scale=1e9"),
    ],
)
def test_options_that_cannot_be_are_refused(messages: Path, option: str) -> None:
    with pytest.raises(SystemExit) as ended:
        run(["replay", str(messages), "--url", "http://127.0.0.1:9", "--model", "m", f"--{option}"])
    assert ended.value.code == 2


def test_a_server_that_does_not_answer_the_probe_is_an_error(
    server: ScriptedServer, messages: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.script = lambda _: Reply(status=401, error={"error": {"message": "no key"}})
    assert run(["replay", str(messages), *of(server)]) == 1
    assert capsys.readouterr().err == "error: The server does not answer a first request: HTTP 401 (no key).\n"
    assert len(server.bodies) == 1


def test_the_key_is_in_nothing_that_is_written(
    server: ScriptedServer,
    messages: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("GEARBOX_API_KEY", KEY)
    refused = {"error": {"message": f"bad key {KEY}"}}
    server.script = lambda body: Reply(status=200 if is_probe(body) else 401, error=refused)
    kept = tmp_path / "rows.json"
    assert run(["replay", str(messages), *of(server), "--json", str(kept)]) == 1
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    out, err = capsys.readouterr()
    assert "bad key …" in out
    assert KEY not in out + err + kept.read_text()


def test_an_interrupted_replay_reports_what_had_ended(server: ScriptedServer, messages: Path) -> None:
    server.script = lambda body: Reply(ending="hang" if body.get("user") == "s3" else "done")
    process = subprocess.Popen(
        [sys.executable, "-m", "app.operations.traffic", "replay", str(messages), *of(server), "--clients", "1"],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while len(server.bodies) < 2 + 4 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "3 ended: 3 ok" in out
    assert "1 more were sent and not waited for" in out
