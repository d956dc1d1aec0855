"""What experiments and autopilots have in common: one job at a time goes on with one, and its state is written."""

from __future__ import annotations

from abc import ABC, abstractmethod

from sqlalchemy.orm import Session

from app.store.database.session import Database
from app.store.experiments.records import ExperimentState
from app.store.experiments.schema import AutopilotRow, ExperimentRow
from app.store.leases.records import StartedFrom
from app.store.leases.repository import Leases
from app.store.people.visibility import Seen


class Leased(Seen, ABC):
    """Base of the stores of what one job at a time goes on with."""

    _database: Database
    _leases: Leases

    def begin(self, id: str, started_from: StartedFrom) -> None:
        """Go on with one: it runs, for nobody else, until :meth:`set_state` or the end of this process.

        Raises:
            UnderWayError: somebody goes on with it already.
            GoneError: there is none of that id that the viewer may see.
        """
        with self._leases.deciding:
            with self._database.write() as session:
                row = self._seen(session, id)
                self._leases.take(session, id, row.name, started_from)
                row.state, row.error = ExperimentState.RUNNING, None
            self._leases.hold(id)

    def set_state(self, id: str, state: ExperimentState, error: str | None = None) -> None:
        """Write how one stands that is not gone on with any more, and why it stopped where it failed.

        Raises:
            GoneError: there is none of that id that the viewer may see.
        """
        try:
            with self._database.write() as session:
                row = self._seen(session, id)
                row.state, row.error = state, error
                self._leases.give_back(session, id)
        finally:
            self._leases.let_go(id)

    @abstractmethod
    def _seen(self, session: Session, id: str) -> ExperimentRow | AutopilotRow:
        """The row, if the viewer may see it."""
