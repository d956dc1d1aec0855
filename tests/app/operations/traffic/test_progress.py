"""The progress line tells what is done of what, by the clock that the replay goes by."""

from __future__ import annotations

import asyncio
import io

import pytest

from app.operations.traffic import progress as module
from app.operations.traffic.arrivals import Extent
from app.operations.traffic.client import Answer
from app.operations.traffic.progress import progress_line, share_done, status_of
from app.operations.traffic.replay import Outcome, Progress

EXTENT = Extent(requests=10, duration_s=60.0, has_lengths=False)


def progress(ended: int, sent: int, trace_s: float) -> Progress:
    outcome = Outcome(number=1, session=None, at_s=0.0, sent_s=0.0, late_s=0.0, answer=Answer(error="timeout"))
    return Progress(sent=sent, trace_s=trace_s, outcomes=[outcome] * ended, errors=ended)


def test_the_share_is_of_time_where_that_has_to_pass_and_of_requests_elsewhere() -> None:
    assert share_done(progress(2, 4, 45.0), EXTENT, by_count=False) == 0.75
    assert share_done(progress(2, 4, 45.0), EXTENT, by_count=True) == 0.2
    assert share_done(progress(2, 4, 0.0), Extent(10, 0.0, False), by_count=False) == 0.2


def test_the_line_counts_and_says_what_is_left_until_all_is_sent() -> None:
    assert status_of(progress(2, 5, 30.0), EXTENT, 30.0) == "2 of 10 ended, 3 in flight, 2 failed, about 30 s left"
    assert status_of(progress(2, 5, 30.0), EXTENT, None) == "2 of 10 ended, 3 in flight, 2 failed"
    assert status_of(progress(2, 10, 60.0), EXTENT, 0.0) == "2 of 10 ended, 8 in flight, 2 failed"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_it_is_told_while_nothing_happens_and_a_terminal_is_left_clean(
    stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_EVERY_S", 0.01)
    monkeypatch.setattr(module, "_EVERY_S_IN_A_LOG", 0.01)

    async def wait() -> None:
        async with progress_line(stream, progress(2, 5, 30.0), EXTENT, by_count=False):
            while "in flight" not in stream.getvalue():
                await asyncio.sleep(0.01)

    asyncio.run(wait())
    assert stream.getvalue().endswith("\r\x1b[K" if stream.isatty() else "failed\n")
