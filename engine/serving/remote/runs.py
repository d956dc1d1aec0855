"""Runs that a server answers alone: in the network's thread, beside the engine's, which they never wait for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from contextlib import aclosing
from ctypes import c_int32
from time import perf_counter
from typing import Any

from engine.backends.remote.counters import Counters, read_counters
from engine.backends.remote.exchange import Exchange
from engine.backends.remote.mailbox import read_after
from engine.backends.remote.network import Network
from engine.backends.remote.spelling import Spelling
from engine.errors import GearboxError
from engine.generation.recorder import RunRecorder
from engine.machine.memory import RssSampler
from engine.serving.remote.answers import (
    MORE_THAN_ASKED,
    FindRemote,
    environment_of,
    finish_reason_of,
    found_by,
    recording,
    report_of,
    told_by,
)
from engine.serving.scheduling.event_buffer import EventBuffer
from engine.serving.scheduling.jobs import BUFFERED_EVENTS, Generation
from engine.serving.scheduling.running import ABANDONED_AFTER_S
from engine.types import Event, GenerationRequest, RemoteModel, RunFailed, RunFinished

log = logging.getLogger(__name__)

_LOOKS_UP_S = 0.02
"""While its reader is behind."""


class RemoteRuns:
    """Answers requests with the models of servers."""

    def __init__(self, network: Network, find: FindRemote, rss: RssSampler) -> None:
        """
        Args:
            network: where servers are asked.
            find: who looks a name up, at each request and in the thread that asks.
            rss: watches this process.
        """
        self._network = network
        self._find = find
        self._rss = rss

    def generate(self, request: GenerationRequest) -> Generation:
        """Ask a server, and follow its answer; see :meth:`engine.Engine.generate`.

        Raises:
            EngineClosedError: the engine has been closed.
        """
        job = _RemoteJob(self._network)
        try:
            model = found_by(self._find, request.config.model)
        except GearboxError as error:
            job.emit([RunFailed(str(error), type(error).__name__)])
        else:
            self._network.begin(lambda: job.follow(self._serve(job, model, request)))
        return Generation(job)

    async def _serve(self, job: _RemoteJob, model: RemoteModel, request: GenerationRequest) -> None:
        with self._rss.watch() as peak_rss:
            begun = perf_counter()
            before = await read_counters(self._network.http, model)
            exchange = self._network.exchange(model, request)
            spelling = Spelling(request.config.sampling.top_logprobs)
            recorder = RunRecorder(
                emit=job.emit,
                is_cancelled=job.is_cancelled,
                interrupt=job.interrupt,
                stop=request.config.sampling.stop,
                arrived=job.arrived,
                queue_s=0.0,
                load_s=perf_counter() - begun,
                **recording(spelling, request, tier=None),
            )
            notes = await self._follow(job, exchange, spelling, recorder)
            after = await self._read_after(job, model, before)
            report = report_of(exchange, before, after, notes)
            recorder.finish(
                weights_bytes=0,
                kv_bytes=0,
                peak_rss_bytes=peak_rss.read(),
                environment=environment_of(report),
                cache=None,
                draft_rounds=(),
                speculation=None,
                cascade=None,
                disturbance=None,
                mean_batch_size=None,
                told=told_by(report, exchange),
            )

    async def _read_after(self, job: _RemoteJob, model: RemoteModel, before: Counters | None) -> Counters | None:
        """See :func:`read_after`; nothing of a run that is cancelled."""
        if job.is_cancelled():
            return None
        try:
            return await read_after(self._network, model, before)
        except asyncio.CancelledError:
            if not job.is_cancelled():
                raise  # the engine is closed
            return None

    async def _follow(
        self, job: _RemoteJob, exchange: Exchange, spelling: Spelling, recorder: RunRecorder
    ) -> tuple[str, ...]:
        """Record the answer up to its end, or to where it is cancelled.

        Returns:
            What is to be said of it.
        """
        begun = False
        try:
            async with aclosing(exchange.pieces()) as pieces:
                async for piece in pieces:
                    if not begun:
                        begun = True
                        recorder.prefilled(0, 0, ())
                    if not recorder.take(spelling.choices(piece, perf_counter()))[1]:
                        return (MORE_THAN_ASKED,) if recorder.finish_reason == "length" else ()
                    await job.reader_keeps_up()
        except asyncio.CancelledError:
            if not job.is_cancelled():
                raise  # the engine is closed
            return ()
        recorder.end(finish_reason_of(exchange))
        return ()


class _RemoteJob:
    """An answer in the making, as its reader's thread and the network's share it."""

    def __init__(self, network: Network) -> None:
        self.arrived = perf_counter()
        self.events = EventBuffer(BUFFERED_EVENTS)
        self.interrupt = c_int32(0)
        self._network = network
        self._task: asyncio.Task[None] | None = None

    def emit(self, events: Sequence[Event]) -> None:
        self.events.put(events)

    def cancel(self) -> None:
        """From any thread."""
        self.interrupt.value = 1
        self._network.soon(self._end)

    def is_cancelled(self) -> bool:
        return self.interrupt.value != 0

    async def follow(self, serving: Coroutine[Any, Any, None]) -> None:
        """Do it to its end, whatever comes; its last event tells what that was."""
        self._task = asyncio.ensure_future(serving)
        if self.is_cancelled():
            self._task.cancel()
        try:
            await self._task
        except GearboxError as error:
            self.emit([RunFailed(str(error), type(error).__name__)])
        except asyncio.CancelledError:  # before there was anything to tell of, or as the engine is closed
            self.emit([RunFinished("", (), "abort", None, {})])
        except Exception as error:
            log.error("a run on a server failed unexpectedly", exc_info=error)
            self.emit([RunFailed(f"Unexpected error in the engine: {error}", type(error).__name__)])

    async def reader_keeps_up(self) -> None:
        """Wait while nobody reads what has come. A run whose reader stays away is cancelled after a while."""
        begun = perf_counter()
        while self.events.is_full:
            await asyncio.sleep(_LOOKS_UP_S)
            if perf_counter() - begun > ABANDONED_AFTER_S:
                self.interrupt.value = 1
                raise asyncio.CancelledError

    def _end(self) -> None:
        if self._task is not None:
            self._task.cancel()
