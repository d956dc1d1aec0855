"""One line that says how far a replay is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import TextIO

from app import units
from app.background.pace import Pace
from app.operations.traffic.arrivals import Extent
from app.operations.traffic.replay import Progress

_EVERY_S = 1.0
_EVERY_S_IN_A_LOG = 30.0


@asynccontextmanager
async def progress_line(stream: TextIO, progress: Progress, extent: Extent, *, by_count: bool) -> AsyncIterator[None]:
    """Say how far a replay is as long as this is entered: in a terminal again and again over the same line, in a file
    now and then.

    Args:
        stream: where to write.
        progress: of the replay.
        extent: of its trace.
        by_count: whether the share that is done is one of the requests; otherwise it is one of the trace's time, which
            is what has to be waited for.
    """
    is_terminal = stream.isatty()

    async def keep_telling() -> None:
        pace = Pace.begin(0.0, monotonic())
        while True:
            await asyncio.sleep(_EVERY_S if is_terminal else _EVERY_S_IN_A_LOG)
            now = monotonic()
            pace = pace.then(share_done(progress, extent, by_count=by_count), now)
            text = status_of(progress, extent, pace.remaining_s(now))
            stream.write(f"\r{text}\x1b[K" if is_terminal else f"{text}\n")
            stream.flush()

    telling = asyncio.create_task(keep_telling())
    try:
        yield
    finally:
        telling.cancel()
        if is_terminal:
            stream.write("\r\x1b[K")
            stream.flush()


def share_done(progress: Progress, extent: Extent, *, by_count: bool) -> float:
    """Of a replay, 0 to 1; see :func:`progress_line`."""
    if by_count or extent.duration_s == 0:
        return len(progress.outcomes) / extent.requests
    return progress.trace_s / extent.duration_s


def status_of(progress: Progress, extent: Extent, left_s: float | None) -> str:
    """The line. Once all is sent, nobody knows how long the last answers take."""
    left = f", {units.about(left_s)} left" if left_s is not None and progress.sent < extent.requests else ""
    return (
        f"{len(progress.outcomes):,} of {extent.requests:,} ended, {progress.in_flight:,} in flight, "
        f"{progress.errors:,} failed{left}"
    )
