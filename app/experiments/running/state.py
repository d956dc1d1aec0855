"""How a job's state is written while it goes on and when it ends, in whatever way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

from app.runs.answers import RunNotFinishedError
from app.store import ExperimentState, StoreError
from engine.errors import EngineClosedError, GearboxError


class SetState(Protocol):
    """Writes how an experiment or an autopilot stands."""

    def __call__(self, id: str, state: ExperimentState, error: str | None = None, /) -> None: ...


@contextmanager
def state_written(set_state: SetState, id: str) -> Iterator[None]:
    """Around the work: it runs; then it is done, or has failed with the reason, or is paused, which it is too where the
    server was shut down.

    Args:
        set_state: writes it.
        id: whose.

    Raises:
        StoreError: the beginning cannot be written.
    """
    set_state(id, ExperimentState.RUNNING)
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
            set_state(id, state, error)
