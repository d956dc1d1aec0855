"""The repository of autopilots: what each was asked for, and the experiments that are its heats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.store.database.errors import GoneError
from app.store.database.identity import new_id, now
from app.store.database.packing import pack, unpack
from app.store.database.session import Database
from app.store.experiments.leased import Leased
from app.store.experiments.records import ExperimentState, KeptAutopilot, KeptHeat
from app.store.experiments.schema import AutopilotHeat, AutopilotRow, ExperimentRow
from app.store.leases.records import UnderWay
from app.store.leases.repository import Leases
from app.store.people.visibility import visible
from engine.evaluation.tasks import Task


class AutopilotStore(Leased):
    """Keeps autopilots beside the experiments. Safe to share between threads.

    Seen by somebody, it is without others' autopilots. Every method raises `StoreError`, written for the user, where
    the database cannot be used, and `GoneError` for an id of which the viewer may see none.
    """

    def __init__(self, database: Database, leases: Leases) -> None:
        """Use a database whose schema is up to date, and what tells who goes on with what."""
        self._database = database
        self._leases = leases

    def keep(self, *, name: str, plan: Mapping[str, Any], prompts: Sequence[Task]) -> str:
        """Keep a new autopilot as the viewer's, and return its id.

        Args:
            name: what it is called.
            plan: ``Plan.to_dict``.
            prompts: those that it searches on and those held out, in the set's order.
        """
        row = AutopilotRow(
            id=new_id(),
            name=name,
            person_id=self._viewer.person_id if self._viewer else None,
            created_at=now(),
            state=ExperimentState.NEW,
            plan=dict(plan),
            payload=pack([task.to_dict() for task in prompts]),
        )
        with self._database.write() as session:
            session.add(row)
            return row.id

    def all(self) -> tuple[KeptAutopilot, ...]:
        """Those that the viewer may see, newest first."""
        rows = select(AutopilotRow).where(*visible(AutopilotRow.person_id, self._viewer))
        with self._database.read() as session:
            found = session.scalars(rows.order_by(AutopilotRow.created_at.desc(), AutopilotRow.id.desc())).all()
            under_way = self._leases.under_way(session)
        return tuple(_kept(row, under_way.get(row.id)) for row in found)

    def get(self, autopilot_id: str) -> KeptAutopilot:
        """One of them."""
        with self._database.read() as session:
            return _kept(self._seen(session, autopilot_id), self._leases.under_way(session).get(autopilot_id))

    def prompts(self, autopilot_id: str) -> tuple[Task, ...]:
        """All its prompts, in the set's order."""
        with self._database.read() as session:
            return tuple(Task.from_dict(tree) for tree in unpack(self._seen(session, autopilot_id).payload))

    def delete(self, autopilot_id: str) -> None:
        """Delete it with its experiments; their runs stay."""
        with self._database.write() as session:
            row = self._seen(session, autopilot_id)
            heats = select(AutopilotHeat.experiment_id).where(AutopilotHeat.autopilot_id == row.id)
            ids = session.scalars(heats).all()
            session.execute(delete(ExperimentRow).where(ExperimentRow.id.in_(ids)))  # their cells and heats with them
            session.delete(row)

    # --- heats ----------------------------------------------------------------------------------------

    def add_heat(self, autopilot_id: str, experiment_id: str) -> None:
        """Note that an experiment is one of its heats."""
        with self._database.write() as session:
            self._seen(session, autopilot_id)
            session.add(AutopilotHeat(experiment_id=experiment_id, autopilot_id=autopilot_id, seconds=0.0))

    def set_seconds(self, experiment_id: str, seconds: float) -> None:
        """Note what a heat took so far.

        Raises:
            GoneError: it was deleted.
        """
        with self._database.write() as session:
            row = session.get(AutopilotHeat, experiment_id)
            if row is None:
                raise GoneError("The autopilot was deleted.")
            row.seconds = seconds

    def heats(self, autopilot_id: str) -> tuple[KeptHeat, ...]:
        """Its heats, in the order in which they were begun."""
        heat, experiment = AutopilotHeat, ExperimentRow
        rows = select(heat.experiment_id, experiment.design_sha256, heat.seconds).join(
            experiment, experiment.id == heat.experiment_id
        )
        rows = rows.where(heat.autopilot_id == autopilot_id).order_by(experiment.created_at, experiment.id)
        with self._database.read() as session:
            self._seen(session, autopilot_id)
            return tuple(KeptHeat(*each) for each in session.execute(rows).all())

    def _seen(self, session: Session, id: str) -> AutopilotRow:
        row = session.get(AutopilotRow, id)
        if row is None or (self._viewer and not self._viewer.may_see(row.person_id)):
            raise GoneError("There is no such autopilot any more.")
        return row


def _kept(row: AutopilotRow, under_way: UnderWay | None) -> KeptAutopilot:
    return KeptAutopilot(
        id=row.id,
        name=row.name,
        person_id=row.person_id,
        created_at=row.created_at,
        state=ExperimentState(row.state),
        error=row.error,
        plan=row.plan,
        under_way=under_way,
    )
