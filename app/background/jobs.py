"""Work that takes minutes, done on threads of its own while pages come and go."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Literal, Protocol

from app.background.pace import Pace
from engine.errors import GearboxError
from engine.types import Loading

log = logging.getLogger(__name__)

_TOLD_FOR_S = 600.0
"""How long a job that is over is told of."""
_OTHERS_TOLD_FOR_S = 180.0
"""How long it is told of to people who did not start it."""


class Report(Protocol):
    """How work tells how far it is. Called from any thread; raises where the work has been cancelled."""

    def __call__(self, stage: str, fraction: float, /, *, loading: float | None = None) -> None:
        """Tell it.

        Args:
            stage: what is done now, for the user.
            fraction: of all the work done so far, 0 to 1. Work that goes on where an earlier job stopped begins with
                a fraction above 0.
            loading: where the stage is that a model is loaded, how much of that is done, 0 to 1. Its time counts into
                no pace.
        """


Work = Callable[[Report], object]
Status = Literal["running", "done", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class JobState:
    """How a job stands."""

    status: Status
    stage: str = "Starting"
    fraction: float = 0.0
    """Done so far, 0 to 1."""
    error: str | None = None
    """Why it failed, for the user."""
    loading: float | None = None
    """How much is loaded of what is being loaded, 0 to 1; ``None`` where nothing is."""
    cancelling: bool = field(default=False, compare=False)
    """Whether somebody has asked it to stop."""
    pauses: bool = field(default=False, compare=False)
    """Whether to stop it is to pause it: nothing that it has done is lost, and it can be gone on with."""
    pace: Pace | None = field(default=None, compare=False)
    """Of its steps; ``None`` until it has told something."""
    ended: float | None = field(default=None, compare=False)
    """When it was over, by the monotonic clock."""

    @property
    def remaining_s(self) -> float | None:
        """Seconds still to go at the pace of its latest steps; ``None`` while too few are done to tell."""
        return self.pace.remaining_s(monotonic()) if self.running and self.pace else None

    @property
    def running(self) -> bool:
        """Whether it still goes on."""
        return self.status == "running"


@dataclass(frozen=True, slots=True)
class Job:
    """A job that people are told of, wherever they are."""

    key: str
    title: str
    """What it is for, as its owner reads it."""
    owner: str | None
    """The person who started it; ``None`` for the desk."""
    page: str
    """The address of the page with its results, without a slash before it: "router-lab?step=record"."""
    state: JobState
    by_itself: bool = False
    """Whether the server began it, in idle time."""


class JobCancelled(Exception):  # noqa: N818 (not an error: somebody asked for it)
    """Ends a job's work from inside its report."""


class Jobs:
    """Runs at most one job for each key, each on a thread that never outlives the process.

    Safe to use from any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._cancelled: set[str] = set()
        self._seen: dict[str, set[str]] = {}
        """Who has seen how the last job of a key ended."""

    def submit(
        self,
        key: str,
        work: Work,
        *,
        title: str = "",
        owner: str | None = None,
        page: str = "",
        pauses: bool = False,
        by_itself: bool = False,
    ) -> bool:
        """Start ``work``, unless a job of this key is running; says whether it was started.

        Args:
            key: of which one job runs at a time.
            work: what to do.
            title: see `Job`, like the following. Of a job without one nobody is told but who asks for its key.
            owner: who starts it.
            page: where its results are.
            pauses: see `JobState`.
            by_itself: see `Job`.
        """
        with self._lock:
            job = self._jobs.pop(key, None)
            if job and job.state.running:
                self._jobs[key] = job
                return False
            self._jobs[key] = Job(key, title, owner, page, JobState("running", pauses=pauses), by_itself)
            self._cancelled.discard(key)
            self._seen[key] = set()
            thread = threading.Thread(target=self._run, args=(key, work), name=f"job {key}", daemon=True)
            self._threads[key] = thread
        thread.start()
        return True

    def job(self, key: str) -> Job | None:
        """The last job of this key; ``None`` if there was none."""
        with self._lock:
            return self._jobs.get(key)

    def state(self, key: str) -> JobState | None:
        """How the last job of this key stands; ``None`` if there was none."""
        job = self.job(key)
        return job.state if job else None

    def told(self) -> tuple[Job, ...]:
        """The jobs with a title that run, the oldest first, then those that were over lately, the latest first."""
        with self._lock:
            titled = [job for job in self._jobs.values() if job.title]
        now = monotonic()
        over = [job for job in titled if job.state.ended is not None and now - job.state.ended < _TOLD_FOR_S]
        over.sort(key=lambda job: job.state.ended or 0.0, reverse=True)
        return (*(job for job in titled if job.state.running), *over)

    def news(self, person: str) -> tuple[Job, ...]:
        """The jobs that were over lately, as far as a person has not seen it, the latest first: their own, and for a
        shorter while those of others."""
        now = monotonic()
        over = [job for job in self.told() if job.state.ended is not None]
        with self._lock:
            return tuple(
                job
                for job in over
                if person not in self._seen[job.key]
                and (job.owner == person or now - (job.state.ended or now) < _OTHERS_TOLD_FOR_S)
            )

    def saw(self, job: Job, person: str) -> None:
        """A person has seen how this job ended, in whatever tab; of one that was started anew since they have not."""
        with self._lock:
            last = self._jobs.get(job.key)
            if last is not None and last.state.ended == job.state.ended:
                self._seen[job.key].add(person)

    def cancel(self, key: str) -> None:
        """Ask a job to stop; it does at its next report."""
        with self._lock:
            self._cancelled.add(key)
            if key in self._jobs:
                self._change(key, cancelling=True)

    def close(self, timeout_s: float = 5.0) -> None:
        """Ask all jobs to stop, and give each that long to clean up."""
        with self._lock:
            self._cancelled.update(self._jobs)
            threads = list(self._threads.values())
        for thread in threads:
            thread.join(timeout_s)

    def _run(self, key: str, work: Work) -> None:
        def report(stage: str, fraction: float, /, *, loading: float | None = None) -> None:
            now, loads = monotonic(), loading is not None
            with self._lock:
                if key in self._cancelled:
                    raise JobCancelled
                known = self._jobs[key].state.pace
                begun = Pace.begin(fraction, now, loading=loads)
                pace = known.then(fraction, now, loading=loads) if known else begun
                self._change(key, stage=stage, fraction=fraction, loading=loading, pace=pace)

        try:
            work(report)
        except JobCancelled:
            self._end(key, "cancelled")
        except GearboxError as error:
            self._end(key, "failed", str(error))
        except Exception as error:  # nobody is above this frame: the page shows it
            log.exception("job %s failed", key)
            self._end(key, "failed", f"Unexpected error: {error!r}. The server's log has the details.")
        else:
            self._end(key, "done")

    def _end(self, key: str, status: Status, error: str | None = None) -> None:
        with self._lock:
            self._change(key, status=status, error=error, loading=None, ended=monotonic())

    def _change(self, key: str, **changes: object) -> None:
        """Under the lock."""
        job = self._jobs[key]
        self._jobs[key] = replace(job, state=replace(job.state, **changes))  # type: ignore[arg-type]


class Steps:
    """Progress counted in steps of about the same length, or longer ones that count for several."""

    def __init__(self, report: Report, *, done: int, total: int) -> None:
        self._report = report
        self._done = done
        self._total = max(total, 1)
        self._stage = ""

    def at(self, stage: str, *, finished: bool = False) -> None:
        """Tell what is done next; raises where the job has been cancelled."""
        self._stage = stage
        self._report(stage, 1.0 if finished else self._fraction)

    def advance(self, steps: int = 1) -> None:
        """So many more steps are done."""
        self._done += steps

    def loading(self, stage: str, fraction: float) -> None:
        """Tell what the engine loads for this step, and how much of that is done; at 1 the step itself goes on."""
        if fraction < 1:
            self._report(stage, self._fraction, loading=fraction)
        else:
            self._report(self._stage, self._fraction)

    def meanwhile(self, loading: Loading | None) -> None:
        """Look whether to go on inside of a step; tell what is loaded for it, where something is."""
        if loading:
            self.loading(loading.stage, loading.fraction)
        else:
            self._report(self._stage, self._fraction)

    def still(self, *_progress: object) -> None:
        """Look whether to go on inside of a step."""
        self._report(self._stage, self._fraction)

    @property
    def _fraction(self) -> float:
        return min(self._done / self._total, 1.0)
