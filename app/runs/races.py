"""Races run in the background: each on a thread of its own, whatever becomes of the pages that show it.

Reading a run's events must not slow the engine that writes them, which shares the interpreter with its readers. So a
race's thread takes the events that are there at once, then rests while more come; pages look at what has gathered a
few times a second and are woken only where something other than a token has happened (`Race.tell`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import closing

from app.runs.live_run import Phase
from app.runs.race import LaneRun, Race
from app.runs.service import InferenceEngine, RunNotSaved, UiEvent, stream
from app.settings import UNWATCHED_S
from app.store import RunNotFoundError, RunStore, StoreError, Timeline
from engine.errors import GearboxError

log = logging.getLogger(__name__)

_REST_S = 0.04
_AT_ONCE_S = 0.001
"""An event that took longer to come was waited for: no more of them are there."""
_REMEMBERED = 100


class RaceRunsError(GearboxError):
    """Another race runs at this place already."""


class Races:
    """The races that run, and the last ones that ran. A person finds a race again by the place where it was started.

    Safe to use from any thread.

    Args:
        unwatched_s: a race that nobody has looked at for so long is stopped.
        clock: seconds, for that.
    """

    def __init__(self, *, unwatched_s: float = UNWATCHED_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._unwatched_s = unwatched_s
        self._clock = clock
        self._lock = threading.Lock()
        self._races: OrderedDict[tuple[str, str], Race] = OrderedDict()
        self._threads: dict[Race, threading.Thread] = {}
        self._closed = False

    def start(self, race: Race, *, person: str, place: str, engine: InferenceEngine, store: RunStore) -> None:
        """Run a race; returns at once. It takes the place of the one before it, if that is over.

        Args:
            race: one that has not begun.
            person: who asks.
            place: where it is found again.
            engine: who answers.
            store: what keeps the runs.

        Raises:
            RaceRunsError: the one before it runs still, or the server is being shut down.
        """
        runner = _Runner(race, person, engine, store, self._unwatched_s, self._clock)
        thread = threading.Thread(target=self._run, args=(runner,), name=f"race {race.group_id}", daemon=True)
        with self._lock:
            if self._closed:
                raise RaceRunsError("The server is being shut down.")
            before = self._races.get((person, place))
            if before and not before.over.is_set():
                raise RaceRunsError(
                    "What you asked for before was still being answered, so nothing was started. Wait for its end, or "
                    "stop it."
                )
            self._races[person, place] = race
            self._races.move_to_end((person, place))
            self._threads[race] = thread
            self._forget_the_oldest()
            thread.start()

    def find(self, person: str, place: str) -> Race | None:
        """The last race that a person has started at a place, over or not; ``None`` where there is none, or where it
        is long past."""
        with self._lock:
            return self._races.get((person, place))

    @property
    def any_runs(self) -> bool:
        """Whether a race goes on."""
        with self._lock:
            return any(not race.over.is_set() for race in self._races.values())

    def close(self, timeout_s: float = 5.0) -> None:
        """Stop all races, and give each so long to be stored."""
        with self._lock:
            self._closed = True
            running = dict(self._threads)
        for race in running:
            race.stop()
        deadline = time.monotonic() + timeout_s
        for thread in running.values():
            thread.join(max(0.0, deadline - time.monotonic()))

    def _forget_the_oldest(self) -> None:
        over = [key for key, race in self._races.items() if race.over.is_set()]
        for key in over[: max(0, len(self._races) - _REMEMBERED)]:
            del self._races[key]

    def _run(self, runner: _Runner) -> None:
        try:
            runner.run()
        finally:
            with self._lock:
                del self._threads[runner.race]


class _Runner:
    """One race on its way, in its own thread."""

    def __init__(
        self,
        race: Race,
        person: str,
        engine: InferenceEngine,
        store: RunStore,
        unwatched_s: float,
        clock: Callable[[], float],
    ) -> None:
        self.race = race
        self._person = person
        self._engine = engine
        self._store = store
        self._unwatched_s = unwatched_s
        self._clock = clock
        self._looks, self._looked_at = race.looks, clock()

    def run(self) -> None:
        """From the first lane to what is kept of the last."""
        try:
            for _, lane in self.race.schedule:
                if not self.race.stopping.is_set():
                    self._run_lane(lane)
            self.race.settle(self._store)
        except StoreError as error:  # whoever looks at it next tries again
            log.warning("What came of race %s could not be kept yet: %s", self.race.group_id, error)
        finally:
            self.race.let_go()

    def _run_lane(self, lane: LaneRun) -> None:
        """A lane that fails says so, and does not hold up the next."""
        try:
            with closing(
                stream(
                    self._engine,
                    self._store,
                    lane.request,
                    person_id=self._person,
                    group_id=self.race.group_id,
                    source=self.race.source,
                )
            ) as events:
                self._fold(lane, events)
            if lane.phase is not Phase.OVER:
                lane.stop()
                _learn_how_it_ended(lane, self._store)
        except GearboxError as error:
            lane.fail(str(error))
        except Exception as error:  # nobody is above this frame: the page shows it
            log.exception("a lane of race %s failed", self.race.group_id)
            lane.fail(f"Unexpected error: {error!r}. The server's log has the details.")
        self.race.tell()

    def _fold(self, lane: LaneRun, events: Iterator[UiEvent]) -> None:
        """Let the lane follow its events until they end, or the race is to end."""
        asked_at = time.monotonic()
        for event in events:
            waited_s = time.monotonic() - asked_at
            before = lane.phase
            lane.take(event)
            if lane.phase is not before:
                self.race.tell()
            self._stop_unless_watched()
            if self.race.stopping.is_set() and lane.phase is not Phase.OVER:
                return
            if lane.phase is Phase.WRITING and waited_s > _AT_ONCE_S:
                self.race.stopping.wait(_REST_S)
            asked_at = time.monotonic()

    def _stop_unless_watched(self) -> None:
        if self.race.watchers or self.race.looks != self._looks:
            self._looks, self._looked_at = self.race.looks, self._clock()
        elif self._clock() - self._looked_at >= self._unwatched_s:
            self.race.stop(f"It was stopped because nobody had looked at it for {self._unwatched_s:g} s.")


def _learn_how_it_ended(lane: LaneRun, store: RunStore) -> None:
    """Take over what the store kept of a run that was stopped: the engine's farewell went there."""
    if lane.run_id is None:
        return
    try:
        lane.adopt(store.get(lane.run_id), store.timeline(lane.run_id) or Timeline())
    except RunNotFoundError:
        return  # deleted meanwhile: what was read here stands
    except StoreError as error:
        lane.take(RunNotSaved(lane.run_id, str(error)))
