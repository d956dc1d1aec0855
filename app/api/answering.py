"""Answers in the making: each a stored run that a thread of its own follows, whatever becomes of whoever reads it.

The thread never waits for a reader, so a slow one holds neither the engine nor its thread: what it has not read yet
lies in the run's fold, an answer at most. The event loop is woken when there is something to read, never more often
than it gets to it; the engine hands tokens over by the handful.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from app.api.callers import Caller
from app.api.errors import ApiError
from app.api.failures import failure_of, shut_down, store_failure, unexpected
from app.runs.answers import RunNotFinishedError, answer_kept
from app.runs.live_run import Phase
from app.runs.race import LaneRun
from app.runs.service import InferenceEngine
from app.store import RunSource, RunStore, StoreError
from app.units import counted
from engine.errors import GearboxError
from engine.types import GenerationRequest, RouterKind, TokenEvent

_log = logging.getLogger(__name__)

MOST_AT_ONCE = 256
"""Answers that are in the making or wait for the engine."""
_RETRY_AFTER_S = 5
_DECIDED_AFTER = {RouterKind.ROUTE: 1, RouterKind.RANDOM: 0, RouterKind.ALWAYS_SMALL: 0, RouterKind.ALWAYS_LARGE: 0}
"""Tokens of a smaller tier after which it is sure that its answer is kept, by router; the others look at the whole."""


class _LeftError(Exception):
    """Nobody reads the answer any more."""


class Answer:
    """One answer: what was asked, and what is known of it so far. Its thread alone changes it."""

    def __init__(self, request: GenerationRequest) -> None:
        self.run = LaneRun(request)
        self.failure: ApiError | None = None
        """Why there is none, once that is known."""
        self.over = False
        """Whether nothing more comes, and all of it is stored."""

    @property
    def has_begun(self) -> bool:
        """Whether there is a token, or it is over."""
        return self.over or bool(self.run.tokens)

    def final_tokens(self) -> Sequence[TokenEvent]:
        """The tokens that nothing takes back any more: a cascade may throw away what a smaller tier writes."""
        tokens, config = self.run.tokens, self.run.request.config
        cascade = config.optimization.cascade
        if self.over or not tokens or cascade is None or tokens[-1].tier == str(config.ladder[-1]):
            return tokens
        decided = cascade.after_tokens or _DECIDED_AFTER.get(cascade.router)
        return () if decided is None or len(tokens) <= decided else tokens


class Answers:
    """The answers to one call, as the event loop reads them."""

    def __init__(self, answers: Sequence[Answer], stopping: threading.Event, spend: Callable[[int], object]) -> None:
        self.each = tuple(answers)
        self._stopping = stopping
        self._spend = spend
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._is_told = False

    @property
    def over(self) -> bool:
        """Whether nothing more comes of any."""
        return all(answer.over for answer in self.each)

    @property
    def failure(self) -> ApiError | None:
        """Why one of them failed, if one has."""
        return next((answer.failure for answer in self.each if answer.failure), None)

    @property
    def run_ids(self) -> str:
        """The stored runs, as far as they have begun, with commas between them."""
        return ", ".join(answer.run.run_id for answer in self.each if answer.run.run_id)

    @property
    def waits_for(self) -> str:
        """What the first of them that waits for the engine waits for, on one line; empty where none does."""
        for run in (answer.run for answer in self.each):
            if run.phase is Phase.QUEUED:
                ahead = counted(run.queue_position, "request")
                return " ".join(f"{ahead} ahead. {run.queue_reason}".split())
        return ""

    async def changed(self) -> None:
        """Wait until something is new since the last time."""
        await self._changed.wait()
        self._changed.clear()
        self._is_told = False

    async def begun(self, timeout_s: float) -> None:
        """Wait until one of them has a token or has failed, but no longer than so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not (self.failure or any(answer.has_begun for answer in self.each)):
                    await self.changed()

    async def ended(self) -> None:
        """Wait until all are over, or one has failed."""
        while not (self.over or self.failure):
            await self.changed()

    def stop(self) -> None:
        """End what is not over where it stands; it is stored as stopped."""
        self._stopping.set()

    def end(self, answer: Answer) -> None:
        """One of them is over. Called by its thread."""
        answer.over = True
        if metrics := answer.run.metrics:
            with suppress(RuntimeError):  # as below
                self._loop.call_soon_threadsafe(self._spend, metrics.prompt_tokens + metrics.completion_tokens)
        self.tell()

    def tell(self) -> None:
        """Wake whoever waits. Called by the threads."""
        if not self._is_told:
            self._is_told = True
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                self._loop.call_soon_threadsafe(self._changed.set)


class Answering:
    """Starts answers, and knows those that are under way."""

    def __init__(self, engine: Callable[[], InferenceEngine], store: Callable[[], RunStore]) -> None:
        """
        Args:
            engine: gives who answers; called by the answers' threads.
            store: gives what keeps the runs; the same.
        """
        self._engine = engine
        self._store = store
        self._lock = threading.Lock()
        self._threads: dict[threading.Thread, threading.Event] = {}
        self._closed = False

    def start(
        self,
        requests: Sequence[GenerationRequest],
        caller: Caller,
        metadata: Mapping[str, str] | None,
        *,
        streamed: bool,
        spend: Callable[[int], object],
    ) -> Answers:
        """Begin the answers to a call, in the running event loop.

        Args:
            requests: one for each answer, at least one.
            caller: who asks.
            metadata: what they note on it.
            streamed: whether tokens are waited for, and not the end alone.
            spend: told in the event loop of the tokens that each took, read and written.

        Raises:
            ApiError: there are too many already, or the server is being shut down.
        """
        stopping = threading.Event()
        answers = Answers([Answer(request) for request in requests], stopping, spend)
        group_id = uuid.uuid4().hex if len(requests) > 1 else None

        def follow(answer: Answer) -> None:
            def watch(run: LaneRun) -> None:
                if stopping.is_set() and run.phase is not Phase.OVER:
                    raise _LeftError
                if streamed:
                    answers.tell()

            try:
                answer.failure = self._follow(answer, caller, metadata, group_id, watch)
            finally:
                with self._lock:
                    del self._threads[threading.current_thread()]
                answers.end(answer)

        threads = [threading.Thread(target=follow, args=(answer,), name="api", daemon=True) for answer in answers.each]
        with self._lock:
            if self._closed:
                raise shut_down()
            if len(self._threads) + len(threads) > MOST_AT_ONCE:
                raise ApiError(
                    503,
                    f"{len(self._threads):,} answers are being made already. Try again in a while.",
                    type="server_error",
                    headers={"Retry-After": str(_RETRY_AFTER_S)},
                )
            for thread in threads:
                self._threads[thread] = stopping
                thread.start()
        return answers

    def close(self, timeout_s: float = 5.0) -> None:
        """Stop all answers, and give them so long to be stored."""
        with self._lock:
            self._closed = True
            running = dict(self._threads)
        for stopping in running.values():
            stopping.set()
        deadline = time.monotonic() + timeout_s
        for thread in running:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _follow(
        self,
        answer: Answer,
        caller: Caller,
        metadata: Mapping[str, str] | None,
        group_id: str | None,
        watch: Callable[[LaneRun], object],
    ) -> ApiError | None:
        """Make one answer, and say why there is none."""
        try:
            answer_kept(
                self._engine(),
                self._store(),
                answer.run,
                person_id=caller.person_id,
                source=RunSource.API,
                watch=watch,
                group_id=group_id,
                user=caller.user,
                key_name=caller.key_name,
                metadata=metadata,
            )
        except _LeftError:  # whoever reads this has not left: the server ends
            return shut_down()
        except RunNotFinishedError:
            return failure_of(answer.run)
        except StoreError as error:
            return store_failure(error)
        except GearboxError as error:
            return unexpected(str(error), status=503)
        except Exception as error:  # noqa: BLE001 (nobody is above this frame, and its message may hold a prompt)
            *_, place = traceback.extract_tb(error.__traceback__)
            where = f"{place.filename}:{place.lineno}"
            _log.error("A call of the API failed unexpectedly: %s in %s", type(error).__name__, where)
            return unexpected("Unexpected error. The server's log says where.")
        return None
