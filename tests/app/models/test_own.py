"""Uploaded files that somebody may add: which are kept, and how long."""

from __future__ import annotations

import threading
from pathlib import Path

from app.background.jobs import Jobs, Report
from app.models.own import OwnModels, adding_key


def keep(own: OwnModels, number: int) -> Path:
    return own.keep_upload(f"id-{number}", "Mine (1).gguf", memoryview(b"some bytes"))


def test_the_latest_four_uploads_are_kept(jobs: Jobs) -> None:
    own = OwnModels(jobs)
    paths = [keep(own, number) for number in range(6)]
    assert paths[5].name == "Mine-1.gguf"
    assert [path.exists() for path in paths] == [False, False, True, True, True, True]
    assert keep(own, 5) == paths[5]


def test_an_upload_that_is_being_added_is_kept_besides(jobs: Jobs) -> None:
    own, go_on = OwnModels(jobs), threading.Event()

    def work(_report: Report) -> None:
        go_on.wait(10)

    first = keep(own, 0)
    jobs.submit(adding_key(first), work)
    others = [keep(own, number) for number in range(1, 6)]
    assert first.exists()
    assert [path.exists() for path in others] == [False, True, True, True, True]
    go_on.set()
