"""The repository of experiments: designs with their prompts, and the cells as they come."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import Any, cast

from sqlalchemy import Select, Table, bindparam, delete, func, insert, select
from sqlalchemy.orm import Session

from app.store.database.errors import GoneError
from app.store.database.identity import new_id, now
from app.store.database.packing import pack, unpack
from app.store.database.session import Database
from app.store.experiments import judgements
from app.store.experiments.judgements import ExperimentJudgements
from app.store.experiments.leased import Leased
from app.store.experiments.records import Cell, CellKey, ExperimentState, KeptExperiment, LostCell, Pass, RunScore
from app.store.experiments.schema import AutopilotHeat, ExperimentCell, ExperimentJudgement, ExperimentRow
from app.store.leases.repository import Leases
from app.store.outbox.outbox import Outbox
from app.store.outbox.results import Result, Writer
from app.store.people.visibility import visible
from app.store.runs.queries import listed
from app.store.runs.records import RunFilter, RunSource, RunStatus
from app.store.runs.schema import Run, RunContent
from engine.evaluation.tasks import Task

_CELL = "experiment-cell"
_KEY = ("experiment_id", "kind", "configuration", "prompt_id", "repeat")
_FIGURES = tuple(field.name for field in fields(Cell) if field.name != "key")
_AGAIN = "again"
"""The metadata of a run that is the second one of a disturbed cell."""
_IDS_AT_ONCE = 500
_CELLS = cast(Table, ExperimentCell.__table__)
# made once: every cell passes here, the timed ones between two answers
_KNOWN = select(ExperimentRow.id, Run.id).outerjoin(Run, Run.id == bindparam("of_run_id"))
_KNOWN = _KNOWN.where(ExperimentRow.id == bindparam("of_experiment_id"))
_NO_CELL = delete(_CELLS).where(*(_CELLS.c[name] == bindparam(f"of_{name}") for name in _KEY))
_NEW_CELL = insert(_CELLS)


class ExperimentStore(ExperimentJudgements, Leased):
    """Keeps experiments beside the runs. Safe to share between threads.

    Seen by somebody, it is without others' experiments. Every method raises `StoreError`, written for the user, where
    the database cannot be used.
    """

    def __init__(self, database: Database, outbox: Outbox, leases: Leases) -> None:
        """Use a database whose schema is up to date, the outbox before it, and what tells who goes on with what."""
        self._database = database
        self._outbox = outbox
        self._leases = leases

    def keep(
        self, *, name: str, question: str, design: Mapping[str, Any], design_sha256: str, prompts: Sequence[Task]
    ) -> str:
        """Keep a new experiment as the viewer's, and return its id.

        Args:
            name: what it is called.
            question: what it is to answer.
            design: ``Design.to_dict``.
            design_sha256: identity of the design with its prompts.
            prompts: what is asked, in its order.
        """
        row = ExperimentRow(
            id=new_id(),
            name=name,
            person_id=self._viewer.person_id if self._viewer else None,
            created_at=now(),
            question=question,
            state=ExperimentState.NEW,
            design=dict(design),
            design_sha256=design_sha256,
            prompts=len(prompts),
            payload=pack([task.to_dict() for task in prompts]),
        )
        with self._database.write() as session:
            session.add(row)
            return row.id

    def all(self) -> tuple[KeptExperiment, ...]:
        """Those that the viewer may see, newest first, without the heats of autopilots."""
        heats = select(AutopilotHeat).where(AutopilotHeat.experiment_id == ExperimentRow.id)
        newest_first = (
            self._rows().where(~heats.exists()).order_by(ExperimentRow.created_at.desc(), ExperimentRow.id.desc())
        )
        with self._database.read() as session:
            return self._kept(session, session.scalars(newest_first).all())

    def get(self, experiment_id: str) -> KeptExperiment:
        """One of them.

        Raises:
            GoneError: there is none of that id that the viewer may see.
        """
        with self._database.read() as session:
            return self._kept(session, [self._seen(session, experiment_id)])[0]

    def of_design(self, design_sha256: str) -> KeptExperiment | None:
        """The newest one of a design that the viewer may see; ``None`` if there is none."""
        newest = self._rows().where(ExperimentRow.design_sha256 == design_sha256)
        with self._database.read() as session:
            row = session.scalars(newest.order_by(ExperimentRow.created_at.desc()).limit(1)).first()
            return self._kept(session, [row])[0] if row else None

    def prompts(self, experiment_id: str) -> tuple[Task, ...]:
        """What is asked, in its order.

        Raises:
            GoneError: there is no such experiment that the viewer may see.
        """
        with self._database.read() as session:
            return tuple(Task.from_dict(tree) for tree in unpack(self._seen(session, experiment_id).payload))

    def rename(self, experiment_id: str, name: str) -> None:
        """Call it something else.

        Raises:
            GoneError: there is no such experiment that the viewer may see.
        """
        with self._database.write() as session:
            self._seen(session, experiment_id).name = name

    def set_judging(self, experiment_id: str, judging: Mapping[str, Any]) -> None:
        """Keep how its judges are read, for everybody who opens it.

        Args:
            experiment_id: which one.
            judging: ``Judging.to_dict``.

        Raises:
            GoneError: there is no such experiment that the viewer may see.
        """
        with self._database.write() as session:
            self._seen(session, experiment_id).judging = dict(judging)

    def delete(self, experiment_id: str) -> None:
        """Delete it with its cells and what judges said; its runs stay.

        Raises:
            GoneError: there is no such experiment that the viewer may see.
        """
        with self._database.write() as session:
            row = self._seen(session, experiment_id)
            for table in (ExperimentJudgement, ExperimentCell):
                session.execute(delete(table).where(table.experiment_id == row.id))
            session.delete(row)

    # --- cells ----------------------------------------------------------------------------------------

    def keep_cell(self, experiment_id: str, cell: Cell) -> None:
        """Keep a cell; it takes the place of an earlier one.

        Raises:
            GoneError: the experiment was deleted.
        """
        figures = {name: getattr(cell, name) for name in _FIGURES}
        values = {"experiment_id": experiment_id, **asdict(cell.key), **figures}
        self._outbox.keep(Result(_CELL, json.dumps([values[name] for name in _KEY]), values))

    def cells(self, experiment_id: str) -> tuple[Cell, ...]:
        """Those kept so far, by pass, configuration, prompt and repeat. No run is read for them.

        Raises:
            GoneError: there is no such experiment that the viewer may see.
        """
        row = ExperimentCell
        keys = (row.kind, row.configuration, row.prompt_id, row.repeat)
        rows = select(*keys, *(getattr(row, name) for name in _FIGURES)).where(row.experiment_id == experiment_id)
        with self._database.read() as session:
            self._seen(session, experiment_id)
            found = session.execute(rows.order_by(*keys)).all()
        count = len(keys)
        return tuple(
            Cell(
                key=CellKey(Pass(each[0]), each[1], each[2], each[3]),
                **dict(zip(_FIGURES, each[count:], strict=True)),
            )
            for each in found
        )

    def lost_cells(self, experiment_id: str) -> tuple[LostCell, ...]:
        """Runs of an experiment that came to their end, or failed, and that no cell has; the oldest first."""
        claimed = select(ExperimentCell.run_id).where(ExperimentCell.run_id == Run.id)
        runs = (
            select(Run.id, RunContent.caller_metadata)
            .join(RunContent, RunContent.run_id == Run.id)
            .where(
                Run.group_id == experiment_id,
                Run.source == RunSource.EXPERIMENT,
                Run.status.in_((RunStatus.FINISHED, RunStatus.FAILED)),
                ~claimed.exists(),
                *visible(Run.person_id, self._viewer),
            )
            .order_by(Run.created_at, Run.id)
        )
        with self._database.read() as session:
            found = session.execute(runs).all()
        return tuple(
            LostCell(key, run_id, again=_AGAIN in metadata)
            for run_id, metadata in found
            if (key := CellKey.from_metadata(metadata or {}))
        )

    def answers(self, run_ids: Collection[str]) -> dict[str, str]:
        """The texts of runs that the viewer may see, by the run's id."""
        ids, found = list(run_ids), dict[str, str]()
        with self._database.read() as session:
            for start in range(0, len(ids), _IDS_AT_ONCE):
                texts = select(RunContent.run_id, RunContent.text).join(Run, Run.id == RunContent.run_id)
                texts = texts.where(Run.id.in_(ids[start : start + _IDS_AT_ONCE]))
                for run_id, text in session.execute(texts.where(*visible(Run.person_id, self._viewer))):
                    found[run_id] = text
        return found

    def scores(self, filter: RunFilter) -> dict[str, RunScore]:
        """Of the runs that the viewer may see, those that are cells, by the run's id."""
        cell = ExperimentCell
        cells = select(cell.run_id, cell.kind, cell.prompt_id, cell.score).join(Run, Run.id == cell.run_id)
        with self._database.read() as session:
            found = session.execute(cells.where(*listed(replace(filter, viewer=self._viewer)))).all()
        return {run_id: RunScore(Pass(kind), prompt_id, score) for run_id, kind, prompt_id, score in found if run_id}

    # ----------------------------------------------------------------------------------------------

    def _rows(self) -> Select[ExperimentRow]:
        return select(ExperimentRow).where(*visible(ExperimentRow.person_id, self._viewer))

    def _seen(self, session: Session, id: str) -> ExperimentRow:
        row = session.get(ExperimentRow, id)
        if row is None or (self._viewer and not self._viewer.may_see(row.person_id)):
            raise GoneError("There is no such experiment any more.")
        return row

    def _kept(self, session: Session, rows: Sequence[ExperimentRow]) -> tuple[KeptExperiment, ...]:
        ids, cell = [row.id for row in rows], ExperimentCell
        counts = select(cell.experiment_id, func.count(), func.count(cell.failure))
        counts = counts.where(cell.experiment_id.in_(ids)).group_by(cell.experiment_id)
        counted = {id: (cells, failed) for id, cells, failed in session.execute(counts)}
        under_way = self._leases.under_way(session)
        heats = set(session.scalars(select(AutopilotHeat.experiment_id).where(AutopilotHeat.experiment_id.in_(ids))))
        return tuple(
            KeptExperiment(
                id=row.id,
                name=row.name,
                question=row.question,
                person_id=row.person_id,
                created_at=row.created_at,
                state=ExperimentState(row.state),
                error=row.error,
                design=row.design,
                design_sha256=row.design_sha256,
                prompts=row.prompts,
                cells=counted.get(row.id, (0, 0))[0],
                failed=counted.get(row.id, (0, 0))[1],
                under_way=under_way.get(row.id),
                of_autopilot=row.id in heats,
                judging=row.judging,
            )
            for row in rows
        )


def run_metadata(key: CellKey, *, again: bool) -> dict[str, str]:
    """What a cell's run notes, so that it can be found should its cell be lost; of the second run of a disturbed cell,
    that too."""
    return {**key.to_metadata(), **({_AGAIN: "after a disturbance"} if again else {})}


def _write_cell(session: Session, values: Mapping[str, Any]) -> None:
    of = {f"of_{name}": values[name] for name in (*_KEY, "run_id")}
    found = session.execute(_KNOWN, of).one_or_none()
    if found is None:
        raise GoneError("The experiment that this cell belongs to was deleted.")
    session.execute(_NO_CELL, of)
    session.execute(_NEW_CELL, {**values, "run_id": found[1]})  # the run may have been deleted meanwhile


WRITERS: Mapping[str, Writer] = {_CELL: _write_cell, **judgements.WRITERS}
