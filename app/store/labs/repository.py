"""The repository of what the labs measured: corpora, divergence, speeds, tasks, the alarm's limits.

A measurement is kept piece by piece as it is made, so that one that was cancelled, or whose process died,
goes on where it stopped. Measuring again adds a result and leaves the old one; the newest finished one counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, TypeVar

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from app.store.database.columns import to_microseconds
from app.store.database.identity import new_id, now
from app.store.database.session import Database
from app.store.labs.packing import (
    pack_corpus,
    pack_divergence,
    pack_windows,
    unpack_corpus,
    unpack_divergence,
    unpack_windows,
)
from app.store.labs.records import AlarmLimits, CorpusResult, KeptCorpus, SpeedResult, TaskAnswer, TaskResult
from app.store.labs.schema import (
    LabAnswer,
    LabCorpus,
    LabCorpusResult,
    LabCorpusWindow,
    LabLimit,
    LabSpeed,
    LabTaskAnswer,
    LabTaskResult,
)
from app.store.labs.writers import ANSWER, FIGURES, SPEED, TASK_ANSWER, WINDOW
from app.store.outbox.outbox import Outbox
from app.store.outbox.results import Result, to_text
from app.store.people.texts import claim, may_see_text, own_names, visible_text
from app.store.people.visibility import Seen
from engine.evaluation import Corpus, DivergenceStats, Window, WindowDivergence

_Result = TypeVar("_Result", LabCorpusResult, LabTaskResult)


class LabStore(Seen):
    """Keeps what the labs measure, beside the runs. Safe to share between threads.

    Seen by somebody, it is without others' corpora, and what was measured on them.

    Every method raises `StoreError`, written for the user, where the database cannot be used.
    """

    def __init__(self, database: Database, outbox: Outbox) -> None:
        """Use a database whose schema is up to date, and the outbox before it."""
        self._database = database
        self._outbox = outbox

    # --- corpora ------------------------------------------------------------------------------------

    def keep_corpus(self, corpus: Corpus, *, everybodys: bool = False) -> None:
        """Keep a corpus under its hash, as the viewer's, or if it is ``everybodys`` the desk's. One that is there
        already stays as it is, unless it becomes everybody's."""
        with self._database.write() as session:
            kept = session.get(LabCorpus, corpus.sha256)
            claim(session, corpus.sha256, corpus.name, self._viewer, everybodys=everybodys, is_new=kept is None)
            if kept and everybodys:
                kept.name = corpus.name
            elif kept is None:
                payload = pack_corpus(corpus)
                session.add(LabCorpus(sha256=corpus.sha256, name=corpus.name, created_at=now(), payload=payload))

    def corpora(self) -> tuple[KeptCorpus, ...]:
        """The corpora kept that the viewer may see, newest first; those of their own by the name they gave."""
        rows = select(LabCorpus.sha256, LabCorpus.name, LabCorpus.created_at)
        rows = rows.where(*visible_text(LabCorpus.sha256, self._viewer))
        with self._database.read() as session:
            found = session.execute(rows.order_by(LabCorpus.created_at.desc(), LabCorpus.sha256)).all()
            names = own_names(session, self._viewer)
        return tuple(
            KeptCorpus(sha256=sha256, name=names.get(sha256, name), created_at=created_at)
            for sha256, name, created_at in found
        )

    def corpus(self, sha256: str) -> Corpus | None:
        """A corpus by its hash; ``None`` where there is none that the viewer may see."""
        with self._database.read() as session:
            kept = session.get(LabCorpus, sha256)
            if kept is None or not may_see_text(session, sha256, self._viewer):
                return None
            return unpack_corpus(own_names(session, self._viewer).get(sha256, kept.name), kept.payload)

    def keep_answer(self, weights_sha256: str, corpus_sha256: str, place: int, windows: Sequence[Window]) -> None:
        """Keep the 16-bit model's answer to the prompt at ``place`` of a corpus, as the windows it gives."""
        key = {"weights_sha256": weights_sha256, "corpus_sha256": corpus_sha256, "place": place}
        fields = {**key, "payload": to_text(pack_windows(windows))}
        self._outbox.keep(Result(ANSWER, f"{weights_sha256} {corpus_sha256} {place}", fields))

    def answers(self, weights_sha256: str, corpus_sha256: str) -> dict[int, tuple[Window, ...]]:
        """The 16-bit model's answers to the prompts of a corpus, by place; none where the viewer may not see it."""
        rows = select(LabAnswer.place, LabAnswer.payload).where(
            LabAnswer.weights_sha256 == weights_sha256,
            LabAnswer.corpus_sha256 == corpus_sha256,
            *visible_text(LabAnswer.corpus_sha256, self._viewer),
        )
        with self._database.read() as session:
            return {place: unpack_windows(payload) for place, payload in session.execute(rows)}

    # --- divergence on a corpus ---------------------------------------------------------------------

    def begin_corpus_result(
        self,
        *,
        model: str,
        weights_sha256: str,
        precision: str,
        corpus_sha256: str,
        windows: int,
        again: bool = False,
    ) -> str:
        """The id of the result to work on: one that is there, finished or not, or else a new one.

        With ``again`` a finished one is passed over. The corpus must have been kept.
        """
        row = LabCorpusResult
        identity = {"weights_sha256": weights_sha256, "precision": precision, "corpus_sha256": corpus_sha256}
        with self._database.write() as session:
            known = session.scalars(_newest_first(row, identity).where(row.windows == windows)).all()
            finished = next((result for result in known if result.finished_at), None)
            if finished and not again:
                return finished.id
            if known and not known[0].finished_at:
                return known[0].id
            result = row(id=new_id(), model=model, windows=windows, created_at=now(), figures=None, **identity)
            session.add(result)
            return result.id

    def keep_window(self, result_id: str, place: int, figures: WindowDivergence) -> None:
        """Keep the figures of the window at ``place``."""
        fields = {"result_id": result_id, "place": place, "payload": to_text(pack_divergence(figures))}
        self._outbox.keep(Result(WINDOW, f"{result_id} {place}", fields))

    def windows(self, result_id: str) -> dict[int, WindowDivergence]:
        """The figures of the windows scored so far, by place."""
        rows = select(LabCorpusWindow.place, LabCorpusWindow.payload).where(LabCorpusWindow.result_id == result_id)
        with self._database.read() as session:
            return {place: unpack_divergence(payload) for place, payload in session.execute(rows)}

    def finish_corpus_result(self, result_id: str, stats: DivergenceStats) -> None:
        """Keep the figures of a whole corpus. The first ones stay."""
        fields = {"result_id": result_id, "figures": stats.to_dict(), "finished_at": to_microseconds(now())}
        self._outbox.keep(Result(FIGURES, result_id, fields))

    def corpus_results(self, model: str | None = None) -> tuple[CorpusResult, ...]:
        """The result that counts of each weights, precision and corpus that the viewer may see, newest first: the
        newest finished one, else the newest."""
        row = LabCorpusResult
        scored = (
            select(func.count())
            .select_from(LabCorpusWindow)
            .where(LabCorpusWindow.result_id == row.id)
            .scalar_subquery()
        )
        rows = select(row, LabCorpus.name, scored).join(LabCorpus, LabCorpus.sha256 == row.corpus_sha256)
        rows = rows.where(*visible_text(row.corpus_sha256, self._viewer))
        if model is not None:
            rows = rows.where(row.model == model)
        rows = rows.order_by(row.finished_at.is_(None), row.created_at.desc(), row.id.desc())
        found: dict[tuple[str, str, str], CorpusResult] = {}
        with self._database.read() as session:
            names = own_names(session, self._viewer)
            for result, name, count in session.execute(rows):
                name = names.get(result.corpus_sha256, name)
                identity = (result.weights_sha256, result.precision, result.corpus_sha256)
                found.setdefault(identity, _to_corpus_result(result, name, count))
        return tuple(sorted(found.values(), key=lambda result: (result.created_at, result.id), reverse=True))

    # --- speed --------------------------------------------------------------------------------------

    def add_speed(
        self,
        *,
        model: str,
        weights_sha256: str,
        precision: str,
        tokens_per_second: float,
        ttft_s: float,
        weights_bytes: int,
        environment: Mapping[str, Any],
        measurement: str | None = None,
    ) -> None:
        """Keep a measurement of speed; the earlier ones stay.

        Args:
            model: by name.
            weights_sha256: its weights.
            precision: what was measured.
            tokens_per_second: median decode rate.
            ttft_s: median TTFT.
            weights_bytes: memory of the weights.
            environment: what the figures hold for.
            measurement: at most 32 characters that stand for the measurement it belongs to; of each, the first speed
                stays. ``None`` for one of its own.
        """
        speed_id = new_id()
        fields = {
            "id": speed_id,
            "created_at": to_microseconds(now()),
            "model": model,
            "weights_sha256": weights_sha256,
            "precision": str(precision),
            "tokens_per_second": tokens_per_second,
            "ttft_s": ttft_s,
            "weights_bytes": weights_bytes,
            "environment": dict(environment),
            "measurement": measurement or speed_id,
        }
        self._outbox.keep(Result(SPEED, f"{weights_sha256} {precision} {fields['measurement']}", fields))

    def speeds(self, model: str | None = None) -> tuple[SpeedResult, ...]:
        """The newest measurement of each weights and precision, newest first."""
        rows = select(LabSpeed).order_by(LabSpeed.created_at.desc(), LabSpeed.id.desc())
        if model is not None:
            rows = rows.where(LabSpeed.model == model)
        found: dict[tuple[str, str], SpeedResult] = {}
        with self._database.read() as session:
            for row in session.scalars(rows):
                figures = {field.name: getattr(row, field.name) for field in fields(SpeedResult)}
                found.setdefault((row.weights_sha256, row.precision), SpeedResult(**figures))
        return tuple(found.values())

    # --- tasks --------------------------------------------------------------------------------------

    def begin_task_result(
        self, *, model: str, weights_sha256: str, precision: str, tasks_sha256: str, tasks: int, again: bool = False
    ) -> str:
        """The id of the result to work on: the newest there is, or a new one.

        With ``again`` a finished one is passed over.
        """
        row = LabTaskResult
        identity = {"weights_sha256": weights_sha256, "precision": precision, "tasks_sha256": tasks_sha256}
        with self._database.write() as session:
            known = session.scalars(_newest_first(row, identity)).all()
            finished = next((result for result in known if _answered(session, result.id) == result.tasks), None)
            if finished and not again:
                return finished.id
            if known and known[0] is not finished:
                return known[0].id
            result = row(id=new_id(), model=model, tasks=tasks, created_at=now(), **identity)
            session.add(result)
            return result.id

    def keep_task_answer(self, result_id: str, task_id: str, answer: TaskAnswer) -> None:
        """Keep the answer to one task."""
        fields = {"result_id": result_id, "task_id": task_id, **asdict(answer)}
        self._outbox.keep(Result(TASK_ANSWER, f"{result_id} {task_id}", fields))

    def task_answers(self, result_id: str) -> dict[str, TaskAnswer]:
        """The answers so far, by the task's id."""
        with self._database.read() as session:
            return _task_answers(session, result_id)

    def task_results(self, model: str) -> tuple[TaskResult, ...]:
        """The result that counts of each weights, precision and set of tasks, newest first: the newest finished
        one, else the newest."""
        rows = select(LabTaskResult).where(LabTaskResult.model == model)
        found: dict[tuple[str, str, str], TaskResult] = {}
        with self._database.read() as session:
            for row in session.scalars(rows.order_by(LabTaskResult.created_at.desc(), LabTaskResult.id.desc())):
                identity = (row.weights_sha256, row.precision, row.tasks_sha256)
                figures = {f.name: getattr(row, f.name) for f in fields(TaskResult) if f.name != "answers"}
                result = TaskResult(**figures, answers=_task_answers(session, row.id))
                if identity not in found or (result.finished and not found[identity].finished):
                    found[identity] = result
        return tuple(found.values())

    # --- the degradation alarm ----------------------------------------------------------------------

    def limits(self) -> AlarmLimits:
        """The limits set, or the defaults."""
        with self._database.read() as session:
            kept = {row.name: row.value for row in session.scalars(select(LabLimit))}
        known = {field.name for field in fields(AlarmLimits)}
        return AlarmLimits(**{name: value for name, value in kept.items() if name in known})

    def set_limits(self, limits: AlarmLimits) -> None:
        """Set the limits."""
        with self._database.write() as session:
            for name, value in asdict(limits).items():
                session.merge(LabLimit(name=name, value=value))


def _newest_first(row: type[_Result], identity: Mapping[str, str]) -> Select[_Result]:
    return select(row).filter_by(**identity).order_by(row.created_at.desc(), row.id.desc())


def _to_corpus_result(row: LabCorpusResult, corpus_name: str, scored: int) -> CorpusResult:
    return CorpusResult(
        id=row.id,
        model=row.model,
        weights_sha256=row.weights_sha256,
        precision=row.precision,
        corpus_sha256=row.corpus_sha256,
        corpus_name=corpus_name,
        windows=row.windows,
        scored=scored,
        created_at=row.created_at,
        stats=DivergenceStats(**row.figures) if row.finished_at else None,
    )


def _answered(session: Session, result_id: str) -> int:
    count = select(func.count()).select_from(LabTaskAnswer).where(LabTaskAnswer.result_id == result_id)
    return session.scalar(count) or 0


def _task_answers(session: Session, result_id: str) -> dict[str, TaskAnswer]:
    rows = session.scalars(select(LabTaskAnswer).where(LabTaskAnswer.result_id == result_id))
    return {row.task_id: TaskAnswer(row.text, row.right) for row in rows}
