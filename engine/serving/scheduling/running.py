"""A job that has begun, between two of its passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from engine.serving.scheduling.jobs import Job

if TYPE_CHECKING:  # they bring torch, which the first job's steps import
    from engine.cache import KVCache
    from engine.passes import Pass, Steps

ABANDONED_AFTER_S = 30.0
"""A run whose full buffer nobody reads for so long is cancelled."""


@dataclass(slots=True, eq=False)
class Running:
    """A job's steps, and the pass that they want."""

    job: Job
    steps: Steps[None]
    wanted: Pass[Any] | None = None
    """What it waits for; ``None`` once it has ended."""
    caches: WeakSet[KVCache] = field(default_factory=WeakSet)
    """Its KV, as far as it is still there."""
    read: list[Any] = field(default_factory=list)
    """Of what it wants read, the pieces that have been."""
    behind_since: float | None = None
    """When its reader fell behind."""
    put_off: Pass[Any] | None = None
    """What it waits for while what its cache held is read again."""
    is_parked: bool = False
    """Whether it gave its KV back and has not begun to read it again."""

    @classmethod
    def begin(cls, job: Job) -> Running:
        """Take up a job: it does what comes before its first pass."""
        running = cls(job, job.steps())
        running.advance(next)
        return running

    def advance(self, go_on: Callable[[Steps[None]], Pass[Any]]) -> None:
        """Let it go on to its next pass.

        Args:
            go_on: resumes its steps; what they raise ends the job.
        """
        self.wanted = None
        try:
            self.wanted = go_on(self.steps)
        except StopIteration:
            return
        except BaseException as error:  # noqa: BLE001 (one job's defect, a library's panic too, must not end all others)
            self.job.fail(error)

    def drop(self) -> None:
        """End a cancelled job here; its steps clean up."""
        self.wanted = None
        try:
            self.steps.close()
        except BaseException as error:  # noqa: BLE001 (as in advance)
            self.job.fail(error)
        else:
            self.job.refuse()

    def reader_keeps_up(self) -> bool:
        """Whether anybody reads what is written. A job whose reader stays away is cancelled after a while."""
        if self.job.has_room():
            self.behind_since = None
            return True
        self.behind_since = self.behind_since or perf_counter()
        if perf_counter() - self.behind_since > ABANDONED_AFTER_S:
            self.job.cancel()
        return False
