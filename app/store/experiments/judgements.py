"""What judges say of an experiment's answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from app.store.database.errors import GoneError
from app.store.database.identity import now
from app.store.database.session import Database
from app.store.experiments.records import JudgeId, Judgement, JudgementKey, JudgementKind, NoVerdict
from app.store.experiments.schema import ExperimentJudgement, ExperimentRow
from app.store.outbox.outbox import Outbox
from app.store.outbox.results import Result, Writer
from app.store.people.visibility import Seen, visible
from app.store.runs.schema import Run

_JUDGEMENT = "experiment-judgement"
_KEY = (
    "experiment_id", "name", "weights_sha256", "version", "kind", "prompt_id", "first_sha256", "second_sha256",
)  # fmt: skip
_SAID = tuple(field.name for field in fields(Judgement) if field.name != "key")


class ExperimentJudgements(Seen):
    """The part of the experiments' store that keeps what judges say. Safe to share between threads."""

    _database: Database
    _outbox: Outbox

    def keep_judgement(self, experiment_id: str, judgement: Judgement) -> None:
        """Keep what a judge says, in place of what it said before of the same texts.

        Raises:
            GoneError: the experiment was deleted.
        """
        key = asdict(judgement.key)
        values = {"experiment_id": experiment_id, **key.pop("judge"), **key}
        values |= {name: getattr(judgement, name) for name in _SAID}
        self._outbox.keep(Result(_JUDGEMENT, json.dumps([values[name] for name in _KEY]), values))

    def judgements(self, experiment_id: str) -> tuple[Judgement, ...]:
        """All that judges have said, each judge's together, the latest last. None of an experiment that the viewer may
        not see."""
        row = ExperimentJudgement
        columns = [getattr(row, name) for name in (*_KEY[1:], *_SAID)]
        rows = (
            select(*columns)
            .join(ExperimentRow, ExperimentRow.id == row.experiment_id)
            .where(row.experiment_id == experiment_id, *visible(ExperimentRow.person_id, self._viewer))
            .order_by(row.name, row.weights_sha256, row.version, row.created_at, row.prompt_id, row.first_sha256)
        )
        with self._database.read() as session:
            found = session.execute(rows).all()
        return tuple(
            Judgement(
                key=JudgementKey(JudgeId(name, weights, version), JudgementKind(kind), prompt_id, first, second),
                score=score,
                reason=reason,
                no_verdict=NoVerdict(no_verdict) if no_verdict else None,
                detail=detail,
                seconds=seconds,
                prompt_tokens=prompt_tokens,
                completion_tokens=completion_tokens,
            )
            for (
                name, weights, version, kind, prompt_id, first, second,
                score, reason, no_verdict, detail, seconds, prompt_tokens, completion_tokens,
            ) in found
        )  # fmt: skip

    def judged_until(self, experiment_id: str) -> tuple[int, datetime | None]:
        """How much judges have said, and when the latest was kept."""
        row = ExperimentJudgement
        with self._database.read() as session:
            count, latest = session.execute(
                select(func.count(), func.max(row.created_at)).where(row.experiment_id == experiment_id)
            ).one()
            return count, latest

    def thumbs(self, experiment_id: str) -> dict[str, int]:
        """How people rated an experiment's runs that the viewer may see: 1 or −1, by the run's id."""
        rated = select(Run.id, Run.rating).where(Run.group_id == experiment_id, Run.rating != 0)
        with self._database.read() as session:
            rows = session.execute(rated.where(*visible(Run.person_id, self._viewer))).all()
        return {row.id: row.rating for row in rows}


def _write_judgement(session: Session, values: Mapping[str, Any]) -> None:
    if session.scalar(select(ExperimentRow.id).where(ExperimentRow.id == values["experiment_id"])) is None:
        raise GoneError("The experiment that this judgement belongs to was deleted.")
    row = ExperimentJudgement
    session.execute(delete(row).where(*(getattr(row, name) == values[name] for name in _KEY)))
    session.execute(insert(row), [{**values, "created_at": now()}])


WRITERS: Mapping[str, Writer] = {_JUDGEMENT: _write_judgement}
