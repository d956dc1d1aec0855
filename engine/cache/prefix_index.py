"""Which token sequences are cached, whose they are, and which is evicted first.

Nothing here knows what is kept of a sequence: the prefix cache holds its KV, and a test nothing at all. A few dozen
sequences need a list, not a tree.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from time import time
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.types import Message

P = TypeVar("P")
Ids = NDArray[np.int32]

EVICTED_REMEMBERED = 64
"""How many sequences that left are remembered by their ids, so that a miss can be explained."""


@dataclass(frozen=True, slots=True)
class CacheIdentity:
    """All that must agree before KV may be reused, besides the token ids."""

    weights_sha256: str
    """Of the weights and of ``config.json``, so that other positions are another identity too."""
    precision: str
    kernel: str
    """What multiplied: two kernels round differently."""
    kv_dtype: str
    window: int | None
    salt: str
    """Whose it is."""
    is_system: bool = False
    """Whether it is a system prompt kept for itself: what goes on from it is given a copy and never takes its place."""
    codes: str = ""
    """Which file's 4-bit codes the weights are, where the precision takes them over."""

    def computation(self) -> CacheIdentity:
        """How it was computed, whosever and whatever it is."""
        return replace(self, salt="", is_system=False)

    def of_system_prompts(self, salt: str | None = None) -> CacheIdentity:
        """Of system prompts computed alike; of the same owner unless another is named."""
        return replace(self, salt=self.salt if salt is None else salt, is_system=True)


class Work(NamedTuple):
    """Prefill done for a sequence."""

    tokens: int
    seconds: float

    @property
    def pace_s(self) -> float:
        """Seconds a token."""
        return self.seconds / self.tokens if self.tokens else 0.0


NO_WORK = Work(0, 0.0)


class EvictionReason(StrEnum):
    """Why a sequence is no longer kept."""

    BUDGET = "budget"
    """Longest unused when the budget ran out, or larger than the whole of it."""
    MEMORY = "memory"
    """Longest unused when the machine's memory ran out."""
    EXTENDED = "extended"
    """A longer sequence that begins with it is kept instead."""
    SESSION = "session over"
    DISTRUSTED = "distrusted"
    """Recomputing it gave something else."""


@dataclass(slots=True, eq=False)
class Entry(Generic[P]):
    """One cached sequence."""

    identity: CacheIdentity
    ids: Ids
    messages: tuple[Message, ...]
    """What the ids say, the answer included."""
    payload: P
    nbytes: int
    created: float
    """Seconds since 1970, like ``used``."""
    used: float
    hits: int = 0
    reused_tokens: int = 0
    """Of all hits together."""
    work: Work = NO_WORK
    """What computing it has cost so far."""
    saved_s: float = 0.0
    """Prefill that its hits have saved, at the pace it was computed with."""
    pinned: bool = False
    """Lent to a running request, which appends to it."""


@dataclass(frozen=True, slots=True)
class Evicted:
    """A sequence that has left."""

    identity: CacheIdentity
    ids: Ids
    messages: tuple[Message, ...]
    reason: EvictionReason
    when: float


class Match(NamedTuple, Generic[P]):
    """A kept sequence, and how many of the first tokens it shares with a prompt."""

    kept: Entry[P]
    tokens: int


def shared_prefix(one: Ids, other: Ids) -> int:
    """How many first tokens two sequences have in common."""
    n = min(len(one), len(other))
    parted = np.flatnonzero(one[:n] != other[:n])
    return int(parted[0]) if len(parted) else n


@dataclass(slots=True)
class PrefixIndex(Generic[P]):
    """Cached sequences under a byte budget. Safe to use from any thread."""

    budget_bytes: int
    clock: Callable[[], float] = time
    evictions: int = 0
    """How many have left, ever; those that a longer one replaced are no loss."""
    _evicted: deque[Evicted] = field(default_factory=lambda: deque(maxlen=EVICTED_REMEMBERED))
    _kept: list[Entry[P]] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def kept(self) -> tuple[Entry[P], ...]:
        """All of them, longest unused first."""
        with self._lock:
            return tuple(sorted(self._kept, key=lambda kept: kept.used))

    @property
    def used_bytes(self) -> int:
        """What they take together."""
        with self._lock:
            return sum(kept.nbytes for kept in self._kept)

    def nearest(self, identities: Collection[CacheIdentity], ids: Ids) -> Match[P] | None:
        """The sequence of those very identities that shares most first tokens with ``ids``.

        Of several a system prompt kept for itself, else the latest used.
        """
        with self._lock:
            matches = [Match(kept, shared_prefix(kept.ids, ids)) for kept in self._kept if kept.identity in identities]
            best = max(matches, key=lambda one: (one.tokens, one.kept.identity.is_system, one.kept.used), default=None)
            return best if best and best.tokens else None

    def begins_one(self, identity: CacheIdentity, ids: Ids) -> bool:
        """Whether a kept sequence of an identity begins with ``ids``, which then counts as used."""
        with self._lock:
            same = [kept for kept in self._kept if kept.identity == identity]
            longer = next((kept for kept in same if shared_prefix(kept.ids, ids) == len(ids)), None)
            if longer:
                longer.used = self.clock()
            return longer is not None

    def pin(self, kept: Entry[P]) -> None:
        """A request is lent what is kept of a sequence, which stays until :meth:`unpin`."""
        with self._lock:
            kept.pinned = True

    def count(self, kept: Entry[P], reused_tokens: int) -> None:
        """A request reuses so much of a sequence."""
        with self._lock:
            kept.hits += 1
            kept.reused_tokens += reused_tokens
            kept.saved_s += reused_tokens * kept.work.pace_s
            kept.used = self.clock()

    def unpin(self, kept: Entry[P]) -> None:
        """The request has ended."""
        with self._lock:
            kept.pinned = False
            self._evict_to_budget()

    def add(
        self,
        identity: CacheIdentity,
        ids: Ids,
        messages: tuple[Message, ...],
        payload: P,
        nbytes: int,
        work: Work = NO_WORK,
    ) -> bool:
        """Keep a sequence in place of those it extends; says whether it is kept.

        One that a kept sequence begins with already is not, nor one that is larger than the whole budget.
        """
        with self._lock:
            if self.begins_one(identity, ids):
                return False
            now = self.clock()
            if nbytes > self.budget_bytes:  # it would only push all others out before it leaves itself
                self._evicted.append(Evicted(identity, ids, messages, EvictionReason.BUDGET, now))
                return False
            kept = Entry(identity, ids, messages, payload, nbytes, now, now, work=work)
            for shorter in self._extended_by(identity, ids):
                kept.hits += shorter.hits
                kept.reused_tokens += shorter.reused_tokens
                kept.saved_s += shorter.saved_s
                kept.work = Work(kept.work.tokens + shorter.work.tokens, kept.work.seconds + shorter.work.seconds)
                kept.created = min(kept.created, shorter.created)
                self._evict(shorter, EvictionReason.EXTENDED)
            self._kept.append(kept)
            self._evict_to_budget()
            return kept in self._kept

    def room_for(self, identity: CacheIdentity, ids: Ids) -> int:
        """Bytes that :meth:`add` could take for a sequence before one that it does not extend has to leave."""
        with self._lock:
            return self.budget_bytes - self.used_bytes + sum(old.nbytes for old in self._extended_by(identity, ids))

    def recharge(self, payload: P, nbytes: int) -> None:
        """What is kept takes another number of bytes from now on."""
        with self._lock:
            for kept in self._kept:
                if kept.payload is payload:
                    kept.nbytes = nbytes

    def evict(self, kept: Entry[P], reason: EvictionReason) -> None:
        """Let one go, pinned or not."""
        with self._lock:
            if kept in self._kept:
                self._evict(kept, reason)

    def evict_oldest(self, reason: EvictionReason) -> bool:
        """Let the longest unused go that no request uses; ``False`` if there is none."""
        with self._lock:
            oldest = next((kept for kept in self.kept() if not kept.pinned), None)
            if oldest:
                self._evict(oldest, reason)
            return oldest is not None

    def forget(self, salt: str) -> None:
        """Let all of a session's go, and what is remembered of those that had left."""
        with self._lock:
            self._kept = [kept for kept in self._kept if kept.identity.salt != salt]
            others = (left for left in self._evicted if left.identity.salt != salt)
            self._evicted = deque(others, maxlen=EVICTED_REMEMBERED)

    def resize(self, budget_bytes: int) -> None:
        """Set another budget; who has no room in it leaves."""
        with self._lock:
            self.budget_bytes = budget_bytes
            self._evict_to_budget()

    def evicted(self) -> tuple[Evicted, ...]:
        """Sequences that have left, the latest last."""
        with self._lock:
            return tuple(self._evicted)

    def _extended_by(self, identity: CacheIdentity, ids: Ids) -> list[Entry[P]]:
        """The sequences whose place a longer one takes."""
        same = [old for old in self._kept if old.identity == identity and not old.pinned]
        return [old for old in same if shared_prefix(old.ids, ids) == len(old.ids)]

    def _evict_to_budget(self) -> None:
        while self.used_bytes > self.budget_bytes:
            if not self.evict_oldest(EvictionReason.BUDGET):
                return

    def _evict(self, kept: Entry[P], reason: EvictionReason) -> None:
        self._kept.remove(kept)
        if reason is not EvictionReason.EXTENDED:
            self.evictions += 1
            self._evicted.append(Evicted(kept.identity, kept.ids, kept.messages, reason, self.clock()))


def as_ids(token_ids: Sequence[int]) -> Ids:
    """Token ids in the form they are kept in."""
    return np.asarray(token_ids, dtype=np.int32)
