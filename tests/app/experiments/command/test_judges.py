"""``gearbox experiment judge``: scores with the audit beside, limits kept with the experiment, nothing asked twice."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from app.store import Pass, RunStore
from engine import Task
from tests.support.command import errors, experiment, opened
from tests.support.experiments import AnsweringEngine, design, run
from tests.support.scripted_server import Reply, ScriptedServer


def graded(body: Mapping[str, Any]) -> Reply:
    """A judge that gives 7 of 10, and prefers neither."""
    asked = body["messages"][-1]["content"]
    ticket = re.findall(r'ticket "([0-9a-f]{6})"', asked)[-1]
    verdict = {"better": "tie"} if "Answer B:" in asked else {"score": 7}
    text = json.dumps({"ticket": ticket, "reason": "So it is.", **verdict})
    usage = {"prompt_tokens": 100, "completion_tokens": 20}
    return Reply(whole={"choices": [{"message": {"content": text}}], "usage": usage})


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(graded) as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With an experiment of 12 prompts that no checker scores."""
    tasks = [Task(id=f"p{n}", category="Chat", prompt=f"Why {n}?", max_tokens=8) for n in range(12)]
    store = RunStore.open(f"sqlite:///{tmp_path / 'gearbox.db'}")
    run(AnsweringEngine(), store, design(tasks, name="Open questions", passes=[Pass.QUALITY]))
    store.close()
    return tmp_path


@pytest.mark.slow
def test_scores_come_with_the_audit_and_the_limits_are_kept(folder: Path, server: ScriptedServer) -> None:
    asked = ("judge", "Open questions", "--model", "big", "--url", server.url)
    done = experiment(folder, *asked, "--judgements", "30", "--silent", "5", "--kappa", "0.6")
    assert done.returncode == 0, done.stderr
    scores, audit = done.stdout.split("\n\n")[:2]
    assert re.search(r"int4 +70\.0 % +– +\d", scores)
    assert "Swayed by order" in audit
    assert re.search(r"No verdict +passes +0\.0 % +at most 5 %", audit)
    assert "κ of 0.6 at least" in audit
    assert "Cost: 30 questions" in done.stdout
    assert "are sent to 127.0.0.1" in done.stderr

    asked_so_far = len(server.bodies)
    rest = experiment(folder, *asked, "--json")
    assert rest.returncode == 0, rest.stderr
    tree = json.loads(rest.stdout)
    assert tree["questions"] == len(server.bodies) > asked_so_far == 30, "what was judged is not asked again"
    assert tree["limits"] == {"silent": 0.05, "flips": 0.25, "length": 0.3, "kappa": 0.6}
    assert [round(each["no_checker"], 3) for each in tree["scores"]] == [0.7, 0.7]
    with opened(folder) as store:
        (kept,) = store.experiments.all()
        assert (kept.judging or {})["counts"]["judge"]["name"].startswith("big at 127.0.0.1")

    report = folder / "report.html"
    assert experiment(folder, "report", "Open questions", "--output", str(report)).returncode == 0
    assert "judge" in report.read_text()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("Others", "--model", "big"), "There are: “Open questions”"),
        (("Open questions", "--model", "big@int5"), "There are: bf16"),
        (("Open questions", "--model", "big", "--judgements", "0"), "1 to 100,000 judgements"),
        (("Open questions", "--model", "big", "--minutes", "0"), "time must be above 0"),
        (("Open questions", "--model", "big"), "big"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(folder: Path, arguments: tuple[str, ...], named: str) -> None:
    done = experiment(folder, "judge", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    (error,) = errors(done)
    assert named in error


def test_a_server_given_by_its_address_may_have_names_that_begin_with_an_at(
    folder: Path, server: ScriptedServer
) -> None:
    done = experiment(
        folder, "judge", "Open questions", "--model", "@cf/big", "--url", server.url, "--judgements", "2", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert {body["model"] for body in server.bodies} == {"@cf/big"}


@pytest.mark.parametrize("limit", ["--silent", "--kappa"])
def test_a_limit_out_of_range_is_refused(folder: Path, limit: str) -> None:
    done = experiment(folder, "judge", "Open questions", "--model", "big", limit, "101")
    assert (done.returncode, done.stdout) == (2, "")
    assert limit in done.stderr
