"""The recordings that run: one job for each set of prompts, to which whoever comes later adds."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import monotonic, sleep

from app.background.jobs import Jobs, Report
from app.quantization.lab import LabError
from app.router.recorded.recording import record
from app.router.recorded.tier_recording import RecordingEngine
from app.store import RouterStore
from engine import Task
from engine.types import Tier

_HANDING_OVER_S = 5.0
"""Within which a job that has done its last order has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What somebody wants recorded."""

    store: RouterStore
    """As they see it: their answers are kept as theirs."""
    identity: str
    """Of the set."""
    name: str
    tasks: tuple[Task, ...]
    """All prompts of the set."""
    tiers: tuple[Tier, ...]
    only: frozenset[str] | None = None
    """Ids of the prompts to record now; ``None`` is all."""
    again: bool = False
    parameters: Mapping[str, int] = field(default_factory=dict)
    """Of models, by name."""
    page: str = ""
    """The address at which it is followed."""
    judge: Tier | None = None
    """Who looks at answers that no checker can judge; ``None`` leaves them without a score."""

    @property
    def answers(self) -> int:
        """So many are asked for at most."""
        return len(self.tiers) * len(self.tasks if self.only is None else self.only)


def job_key(identity: str) -> str:
    """The background job of a set."""
    return f"router recording {identity}"


class Recordings:
    """Orders by set; the first of each is being recorded. Safe to use from any thread.

    Two people who record the same set at once share a job: the second order waits for the first, and finds what that
    has recorded, so that nothing is asked twice. To cancel the job ends them all.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._orders: dict[str, list[Order]] = {}

    def orders(self, identity: str) -> tuple[Order, ...]:
        """What is being recorded of a set and what waits, in this order."""
        with self._lock:
            return tuple(self._orders.get(identity, ()))

    def ask(self, jobs: Jobs, engine: RecordingEngine, order: Order) -> bool:
        """Record something, or add it to the job that records the same set; says whether a job was started for it.

        Raises:
            LabError: the job before does not come to its end.
        """
        with self._lock:
            waiting = self._orders.setdefault(order.identity, [])
            waiting.append(order)
            if len(waiting) > 1:
                return False
        until = monotonic() + _HANDING_OVER_S
        while not jobs.submit(
            job_key(order.identity),
            lambda report: self._work(engine, order.identity, report),
            title=f"Recording “{order.name}”",
            owner=order.store.person_id,
            page=order.page,
        ):
            # the job before has taken its last order, and is about to end
            if monotonic() > until:
                with self._lock:
                    waiting.remove(order)
                    if not waiting:
                        self._orders.pop(order.identity, None)
                raise LabError("The recording before this one has not ended yet. Try again in a moment.")
            sleep(0.02)
        return True

    def _work(self, engine: RecordingEngine, identity: str, report: Report) -> None:
        done, order = 0, self.orders(identity)[0]
        ended, failures = False, []
        try:
            while not ended:
                try:
                    record(
                        engine,
                        order.store,
                        order.name,
                        order.tasks,
                        order.tiers,
                        self._share_of(identity, order, done, report),
                        identity=identity,
                        only=order.only,
                        again=order.again,
                        parameters=order.parameters,
                        judge=order.judge,
                    )
                except LabError as error:  # of this order: the next one may have other tiers
                    failures.append(error)
                done += order.answers
                waiting = self._next(identity)
                ended = not waiting
                order = waiting[0] if waiting else order
        finally:
            if not ended:
                with self._lock:
                    del self._orders[identity]
        if failures:
            raise failures[0]

    def _next(self, identity: str) -> tuple[Order, ...]:
        """What waits once the first order is done. Where nothing does, the next order gets a job of its own."""
        with self._lock:
            waiting = self._orders[identity]
            del waiting[0]
            if not waiting:
                del self._orders[identity]
            return tuple(waiting)

    def _share_of(self, identity: str, order: Order, done: int, report: Report) -> Report:
        """A report of one order as a share of all that are known by now."""

        def tell(stage: str, fraction: float, /, *, loading: float | None = None) -> None:
            total = done + sum(waiting.answers for waiting in self.orders(identity))
            report(stage, (done + fraction * order.answers) / max(total, 1), loading=loading)

        return tell
