"""The turns of a conversation, replayed in cache modes they were not answered in: how long each waits for its first
token. The work is for a background job, and no run of it is kept among the runs.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from app.background.jobs import Report, Steps
from app.chat.conversations import history
from app.environment import measured_here
from app.runs.answers import answer_unkept
from app.runs.live_run import LiveRun
from app.runs.service import InferenceEngine
from app.store import ChatMessage, ChatStore, Conversation, RunRecord, TurnTiming
from engine import EngineStatus
from engine.errors import GearboxError
from engine.types import (
    Backend,
    CacheMode,
    GenerationRequest,
    Message,
    OptimizationConfig,
    RunConfig,
    SamplingParams,
)


class ReplayError(GearboxError):
    """A turn cannot be measured."""


class ReplayEngine(InferenceEngine, Protocol):
    """What a replay needs of an engine; see `engine.Engine`."""

    def status(self) -> EngineStatus: ...
    def forget_session(self, salt: str) -> None: ...


@dataclass(frozen=True, slots=True)
class AnsweredTurn:
    """One turn of a branch."""

    asked: ChatMessage
    answer: ChatMessage
    before: tuple[Message, ...]
    """What the engine read: the branch up to the question."""


def answered_turns(conversation: Conversation) -> tuple[AnsweredTurn, ...]:
    """The turns of the branch on view that have an answer, from the first one on."""
    path = conversation.path()
    return tuple(
        AnsweredTurn(path[place - 1], path[place], history(conversation.system, path[:place]))
        for place in range(1, len(path), 2)
    )


def config_in(mode: CacheMode, config: RunConfig) -> RunConfig:
    """What a turn's TTFT is measured with in a cache mode: one greedy token, all else as in ``config``.

    Without a cache, there is nothing to keep in 8 bits or in a window.
    """
    gears = config.optimization
    form = () if mode is CacheMode.OFF else (gears.kv_dtype, gears.window)
    return replace(
        config, optimization=OptimizationConfig.at(gears.precision, mode, *form), sampling=SamplingParams(max_tokens=1)
    )


def setting_of(config: RunConfig, system: str) -> str:
    """Sixteen hex digits that stand for all that decides a turn's TTFT, besides its messages."""
    return hashlib.sha256(f"{config.canonical_json()}\n{system.strip()}".encode()).hexdigest()[:16]


def own_mode(config: RunConfig, runs: Iterable[RunRecord]) -> CacheMode | None:
    """The cache mode in which a conversation set to ``config`` was answered; ``None`` if not all of it was answered
    in one, or with all else as it is set."""
    answered = [RunConfig.from_dict(run.config) for run in runs]
    if any(its.optimization.cascade for its in answered):  # its first token waits for more than the prompt
        return None
    if any(its.backend is Backend.REMOTE for its in (config, *answered)):  # what a server keeps is its own to know
        return None
    asked = {config_in(its.optimization.cache_mode, its) for its in answered}
    return next((mode for mode in CacheMode if asked == {config_in(mode, config)}), None)


def timings_here(chats: ChatStore, conversation_id: str, device: str) -> dict[tuple[str, str], TurnTiming]:
    """What was measured of a conversation on this machine, by the user's message and `setting_of`.

    Raises:
        StoreError: the database cannot be read.
    """
    kept = chats.timings(conversation_id)
    return {key: timing for key, timing in kept.items() if measured_here(timing.environment, device)}


def measure_turns(
    engine: ReplayEngine, chats: ChatStore, conversation: Conversation, modes: Sequence[CacheMode], report: Report
) -> None:
    """Measure the turns of the branch on view in cache modes, and keep each figure as soon as it is there.

    What was measured on this machine is not measured again. Every turn is one run of one token, and one more if that
    was disturbed. In mode prefix the
    turn before it is read first, untimed, with its answer as far as the cache would have kept it; what that leaves in
    the cache is forgotten in the end.

    Raises:
        ReplayError: an answer's tokens are not known, so that nobody can tell what was kept of it.
        RunNotFinishedError: a run failed.
        StoreError: a figure could not be kept.
        JobCancelled: from ``report``.
    """
    config = RunConfig.from_dict(conversation.config)
    turns = answered_turns(conversation)
    kept = timings_here(chats, conversation.id, engine.status().device)
    settings = {mode: setting_of(config_in(mode, config), conversation.system) for mode in modes}
    missing = [
        (mode, place)
        for mode in modes
        for place, turn in enumerate(turns)
        if (turn.asked.id, settings[mode]) not in kept
    ]
    salts = [f"replay {uuid.uuid4().hex}"]
    steps = Steps(report, done=0, total=sum(_effort(mode, turns[place]) for mode, place in missing))

    def run(stage: str, request: GenerationRequest) -> LiveRun:
        steps.at(stage)
        return answer_unkept(engine, request, lambda answer: steps.meanwhile(answer.loading_now))

    def measure(mode: CacheMode, place: int, salt: str) -> LiveRun:
        """One turn, under a salt that has not met it yet."""
        stage = f"Cache mode {mode} · turn {place + 1} of {len(turns)}"
        request = GenerationRequest(
            messages=turns[place].before, config=config_in(mode, config), cache_salt=salt, exclusive=True
        )
        if mode is CacheMode.PREFIX and place:
            run(stage, _as_kept(request, turns[place - 1]))
        return run(stage, request)

    def timing_of(answer: LiveRun) -> TurnTiming:
        measured = answer.metrics
        if measured is None or measured.ttft_s is None:
            raise ReplayError("A run ended without a token, so its TTFT could not be measured.")
        return TurnTiming(
            ttft_s=measured.ttft_s - measured.queue_s,
            prompt_tokens=measured.prompt_tokens,
            cached_tokens=measured.cached_tokens,
            environment={**answer.environment, "disturbed": answer.disturbed},
        )

    try:
        for mode, place in missing:
            answer = measure(mode, place, salts[0])
            if answer.disturbed:
                salts.append(f"replay {uuid.uuid4().hex}")  # the first one's KV would be found
                answer = measure(mode, place, salts[-1])
            chats.keep_timing(conversation.id, turns[place].asked.id, settings[mode], timing_of(answer))
            steps.advance(_effort(mode, turns[place]))
    finally:
        for salt in salts:
            engine.forget_session(salt)
    steps.at("Done", finished=True)


def _as_kept(request: GenerationRequest, turn: AnsweredTurn) -> GenerationRequest:
    """A run that leaves in the cache what answering a turn had left: all but the answer's last token, which was
    never read."""
    if not turn.answer.token_ids:
        raise ReplayError("The tokens of an earlier answer are not known, so cache mode prefix cannot be replayed.")
    return replace(request, messages=turn.before, prefix_ids=turn.answer.token_ids[:-1])


def _effort(mode: CacheMode, turn: AnsweredTurn) -> int:
    """Characters to read, to tell how far the work is."""
    new = turn.before[-2:] if mode is CacheMode.PREFIX else turn.before
    return 1 + sum(len(message.content) for message in new)
