"""How it is written that a job goes on with something, and how that stands when it ends, in whatever way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

from app.runs.answers import RunNotFinishedError
from app.store import ExperimentState, StartedFrom, StoreError
from engine.errors import EngineClosedError, GearboxError


class GoneOnWith(Protocol):
    """Keeps experiments, or autopilots."""

    def begin(self, id: str, started_from: StartedFrom, /) -> None: ...
    def set_state(self, id: str, state: ExperimentState, error: str | None = None, /) -> None: ...


@contextmanager
def going_on(kept_in: GoneOnWith, id: str, started_from: StartedFrom) -> Iterator[None]:
    """Around the work: it runs, and no other job of any process does the same; then it is done, or has failed with the
    reason, or is paused, which it is too where the server was shut down.

    Args:
        kept_in: keeps it.
        id: of an experiment or an autopilot.
        started_from: where the job was started.

    Raises:
        UnderWayError: another job goes on with it.
        StoreError: the beginning cannot be written.
    """
    kept_in.begin(id, started_from)
    state, error = ExperimentState.PAUSED, None
    try:
        yield
        state = ExperimentState.DONE
    except (EngineClosedError, RunNotFinishedError):  # the server was shut down
        raise
    except GearboxError as failure:
        state, error = ExperimentState.FAILED, str(failure)
        raise
    finally:
        with suppress(StoreError):  # it was deleted, or nothing can be written: what ended it says so
            kept_in.set_state(id, state, error)
