"""When the sentinel replays by itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Protocol

from app.background.jobs import Report
from app.operations.idle.duties import Due
from app.operations.idle.giving_way import GaveWayError, GivingWay, KnowsBusy
from app.operations.sentinel.fingerprint import before_running, changes, installed_weights, models_of
from app.operations.sentinel.options import SentinelOptions
from app.operations.sentinel.replaying import JOB, SentinelEngine, replay
from app.store import RoundCause, RunStore, SentinelRound, StartedFrom, UnderWayError

PAGE = "sentinel"
LOOK_AT_WEIGHTS_EVERY = timedelta(minutes=1)
_NEW = "Golden prompts that were never replayed"
_LOOKED_BACK = 20
"""Answers; what one of them was given with is no change."""


class IdleEngine(SentinelEngine, KnowsBusy, Protocol):
    """Who answers, and says whether anybody waits."""


class SentinelDuty:
    """Replays on schedule, and after a change of weights, kernels or version, in idle time."""

    key = JOB
    page = PAGE

    def __init__(
        self,
        engine: Callable[[], IdleEngine],
        store: Callable[[], RunStore],
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """For a server's engine, and its store as the application sees it."""
        self._engine, self._store, self._now = engine, store, now
        self._looked_at: datetime | None = None

    def due(self) -> Due | None:
        """A round that was interrupted; or the next one, on schedule or because something has changed."""
        store = self._store()
        options = SentinelOptions.kept(store.options)
        if not (options.on_change or options.every_hours) or not store.sentinel.all() or store.sentinel.under_way:
            return None
        last = next(iter(store.sentinel.rounds(limit=1)), None)
        if last is not None and last.ended_at is None:
            return self._work(last.cause)
        if options.every_hours and self._is_over(last, timedelta(hours=options.every_hours)):
            return self._work(RoundCause.SCHEDULE)
        changed = self._changed(store) if options.on_change and self._may_look() else ()
        return self._work(RoundCause.CHANGE, changed) if changed else None

    def _is_over(self, last: SentinelRound | None, pause: timedelta) -> bool:
        """Whether so much time has passed. A round of the future, by a clock that was set back, counts as long ago."""
        if last is None or last.ended_at is None:
            return True
        return not last.ended_at <= self._now() < last.ended_at + pause

    def _may_look(self) -> bool:
        """Whether it is time to look at weights again, which takes reading files."""
        now = self._now()
        if self._looked_at is not None and self._looked_at <= now < self._looked_at + LOOK_AT_WEIGHTS_EVERY:
            return False
        self._looked_at = now
        return True

    def _changed(self, store: RunStore) -> tuple[str, ...]:
        """What is not as it was at any of the last replays."""
        found = dict[str, None]()
        for golden in store.sentinel.all():
            now = before_running(installed_weights(self._engine(), models_of(golden.run_config)))
            replayed = [each for each in store.sentinel.history(golden.id, limit=_LOOKED_BACK) if each.round_id]
            seen = replayed[:1] if replayed and replayed[0].failure else replayed  # servers of two versions: no turns
            if not seen:
                found[_NEW] = None
            elif all(changes(each.fingerprint, now) for each in seen):
                found |= dict.fromkeys(changes(seen[0].fingerprint, now))
        return tuple(found)

    def _work(self, cause: RoundCause, changed: tuple[str, ...] = ()) -> Due:
        return Due(partial(self._replay, cause, changed), "Sentinel")

    def _replay(self, cause: RoundCause, changed: tuple[str, ...], report: Report) -> None:
        engine = self._engine()
        try:
            replay(
                engine,
                self._store(),
                report,
                cause=cause,
                changed=changed,
                started_from=StartedFrom.ITSELF,
                watch=GivingWay(engine),
            )
        except GaveWayError:
            report("Gave way to whoever asked something", 1.0)
        except UnderWayError:
            report("Another server replays", 1.0)
