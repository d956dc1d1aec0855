"""One line that says how far a replay is."""

from __future__ import annotations

from time import monotonic
from typing import Self, TextIO

from app import units
from app.operations.traffic.arrivals import Extent
from app.operations.traffic.replay import Progress
from app.pace import Pace

_EVERY_S = 1.0
_EVERY_S_IN_A_LOG = 30.0


class ProgressLine:
    """Writes to a terminal again and again over the same line; to a file now and then."""

    def __init__(self, stream: TextIO, extent: Extent, *, by_count: bool) -> None:
        """
        Args:
            stream: where to write.
            extent: of the trace.
            by_count: whether the share that is done is one of the requests; otherwise it is one of the trace's time,
                which is what has to be waited for.
        """
        self._stream = stream
        self._extent = extent
        self._by_count = by_count or extent.duration_s == 0
        self._is_terminal = stream.isatty()
        self._told = monotonic()
        self._pace = Pace.begin(0.0, self._told)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_terminal:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def tell(self, progress: Progress) -> None:
        """Say it, if it was not said just before."""
        now = monotonic()
        if now - self._told < (_EVERY_S if self._is_terminal else _EVERY_S_IN_A_LOG):
            return
        self._told = now
        self._pace = self._pace.then(self._share(progress), now)
        left_s = self._pace.remaining_s(now)
        left = "" if left_s is None else f", {units.about(left_s)} left"
        text = (
            f"{len(progress.outcomes):,} of {self._extent.requests:,} ended, {progress.in_flight:,} in flight, "
            f"{progress.errors:,} failed{left}"
        )
        self._stream.write(f"\r{text}\x1b[K" if self._is_terminal else f"{text}\n")
        self._stream.flush()

    def _share(self, progress: Progress) -> float:
        if self._by_count:
            return len(progress.outcomes) / self._extent.requests
        return progress.trace_s / self._extent.duration_s
