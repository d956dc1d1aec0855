"""Which passes are done next: rows of all running sequences that one model reads, in one pass of it.

A sequence is a coroutine that yields the pass it wants and is sent what came of it, so that answering stays
straight-line code. Rows are computed alike to the last bit whatever stands beside them: who shares a pass with whom
changes no answer.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from ctypes import c_int32
from dataclasses import replace
from time import perf_counter
from weakref import WeakKeyDictionary

from torch import cat

from engine.backends.sharing import perform_together
from engine.models.decoders.native_decoder import NativeDecoder
from engine.passes import Continuation, Hidden, Logits, Outcome, Wait, outcome_of
from engine.serving.scheduling.kv_room import KVRoom, Readable
from engine.serving.scheduling.row_budget import RowBudget
from engine.serving.scheduling.running import Running

TURN_S = 0.02
"""While several models have work, one is decoded with for so long before the next one's turn."""


class Scheduler:
    """The jobs that have begun, and their next passes. Used by the engine's thread alone."""

    def __init__(self, kv_room: KVRoom) -> None:
        """
        Args:
            kv_room: what running sequences' KV may take.
        """
        self._kv_room = kv_room
        self.running: list[Running] = []
        """In the order in which they began."""
        self._turns: dict[Hashable, int] = {}
        """When each model last had its turn."""
        self._turn = 0
        self._budgets: WeakKeyDictionary[NativeDecoder, RowBudget] = WeakKeyDictionary()
        """Of the models in memory."""

    @property
    def has_parked(self) -> bool:
        """Whether memory is short: somebody waits to have its KV again."""
        return any(running.is_parked for running in self.running)

    def add(self, running: Running) -> None:
        """Take part from the next pass on."""
        self.running.append(running)

    def round(self, interrupt: c_int32) -> bool:
        """One pass for the sequences whose turn it is.

        Args:
            interrupt: not 0 once somebody waits who could begin.

        Returns:
            Whether anything was done; if not, everybody waits for a reader, or for another thread.
        """
        for running in self.running:
            if running.job.is_cancelled() and not running.job.tells_its_end:
                running.drop()
        self._let_go()
        self._kv_room.settle(self.running)
        turns: dict[Hashable, list[Running]] = {}
        for running in self.running:
            if _is_ready(running):
                turns.setdefault(_turn_of(running), []).append(running)
        if not turns:
            return False
        self._turn += 1
        key = min(turns, key=lambda key: self._turns.get(key, 0))
        self._turns = {known: turn for known, turn in self._turns.items() if known in turns} | {key: self._turn}
        group = turns[key]
        if len(group) == 1:
            self._alone(group[0], interrupt, shares_time=len(turns) > 1)
        else:
            self._together(group, interrupt, shares_time=len(turns) > 1)
        self._let_go()
        return True

    def _alone(self, running: Running, interrupt: c_int32, *, shares_time: bool) -> None:
        wanted = running.wanted
        assert wanted is not None
        if isinstance(wanted, Readable):
            if isinstance(wanted, Hidden):
                wanted = _piece(running, wanted, len(wanted.ids))
            begun = perf_counter()
            (outcome,) = _perform([_in_turn(wanted, shares_time=shares_time)], interrupt)
            seconds = perf_counter() - begun
            passes = self._count([running], [outcome])
            if native := _native_of(running):
                decoding, reading = (0, len(wanted.ids)) if isinstance(wanted, Hidden) else (len(wanted.ids), 0)
                self._budget(native).observe(decoding, reading, seconds / passes)
        else:
            outcome = outcome_of(wanted.perform)
        _tell(running, _joined(running, outcome))

    def _together(self, group: list[Running], interrupt: c_int32, *, shares_time: bool) -> None:
        """One pass: of those that decode all rows, of prompts as many as fit beside them."""
        native = _native_of(group[0])
        assert native is not None  # else its turn would be its own
        budget = self._budget(native)
        writers = [running.wanted for running in group if isinstance(running.wanted, Logits | Continuation)]
        decoding = sum(len(wanted.ids) for wanted in writers)
        room = budget.rows(decoding, (len(group) - len(writers)) / max(len(writers), 1))
        passes: list[tuple[Running, Readable]] = []
        for running in group:
            wanted = running.wanted
            if isinstance(wanted, Logits | Continuation):
                passes.append((running, _in_turn(wanted, shares_time=shares_time)))
            elif isinstance(wanted, Hidden) and room > 0:
                piece = _piece(running, wanted, room)
                room -= len(piece.ids)
                passes.append((running, piece))
        begun = perf_counter()
        outcomes = _perform([wanted for _, wanted in passes], interrupt)
        seconds = perf_counter() - begun
        sharing = [running for running, _ in passes]
        read = sum(len(wanted.ids) for _, wanted in passes if isinstance(wanted, Hidden))
        passes_done = self._count(sharing, outcomes)
        budget.observe(decoding, read, seconds / passes_done)
        for (running, wanted), outcome in zip(passes, outcomes, strict=True):
            if isinstance(wanted, Hidden) and outcome.error is None and not _completes(running, wanted):
                running.read.append(outcome.result)
            else:
                _tell(running, _joined(running, outcome))

    def _budget(self, native: NativeDecoder) -> RowBudget:
        if native not in self._budgets:
            self._budgets[native] = RowBudget(native.rows_together)
        return self._budgets[native]

    def _count(self, sharing: Sequence[Running], outcomes: Sequence[Outcome]) -> int:
        """Tell everybody with how many it has shared; how many passes that were."""
        written = [len(outcome.result) for outcome in outcomes if isinstance(outcome.result, list)]
        passes = max(1, min(written)) if len(written) == len(outcomes) else 1
        for running in sharing:
            running.job.company.count(len(sharing), passes)
        return passes

    def _let_go(self) -> None:
        self.running = [running for running in self.running if running.wanted is not None]


def _is_ready(running: Running) -> bool:
    """Whether anything can be computed for a job now."""
    if running.is_parked:
        return False
    if running.job.is_cancelled():
        return True
    return running.reader_keeps_up() and (not isinstance(running.wanted, Wait) or running.wanted.is_over())


def _turn_of(running: Running) -> Hashable:
    """What passes must have in common to be done together; its own where one shares with nobody."""
    native = _native_of(running)
    return running if native is None else id(native)


def _native_of(running: Running) -> NativeDecoder | None:
    """What can do its pass together with those of others."""
    wanted = running.wanted
    return wanted.decoder.native_for(len(wanted.ids)) if isinstance(wanted, Readable) else None


def _perform(wanted: Sequence[Readable], interrupt: c_int32) -> list[Outcome]:
    """What came of passes that are done together; a defect in what does them is told to each."""
    try:
        return perform_together(wanted, interrupt)
    except BaseException as error:  # noqa: BLE001 (the engine's thread must outlive it)
        return [Outcome(error=error)] * len(wanted)


def _tell(running: Running, outcome: Outcome) -> None:
    """What came of its pass; what it had put off until its KV was there again comes next."""
    if running.put_off is not None and outcome.error is None:
        running.wanted, running.put_off = running.put_off, None
    else:
        running.put_off = None
        running.advance(outcome.hand_to)


def _in_turn(wanted: Readable, *, shares_time: bool) -> Readable:
    """What is wanted, cut short where another model waits for its turn."""
    if shares_time and isinstance(wanted, Continuation):
        return replace(wanted, seconds=min(wanted.seconds, TURN_S))
    return wanted


def _piece(running: Running, wanted: Hidden, room: int) -> Hidden:
    """As much of what is still to be read as there is room for. A sliding window is read as it was asked to be: where
    it is cut decides what leaves it."""
    rest = wanted.ids[sum(map(len, running.read)) :]
    return replace(wanted, ids=rest if wanted.cache.slides else rest[:room])


def _completes(running: Running, piece: Hidden) -> bool:
    wanted = running.wanted
    assert isinstance(wanted, Hidden)
    return sum(map(len, running.read)) + len(piece.ids) == len(wanted.ids)


def _joined(running: Running, outcome: Outcome) -> Outcome:
    """What came of a pass with what came of the pieces before it."""
    before, running.read = running.read, []
    return Outcome(cat([*before, outcome.result])) if before and outcome.error is None else outcome
