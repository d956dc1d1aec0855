"""KV of finished requests, kept beside their token ids and taken up again by what begins alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from engine.cache.kv_cache import KVCache
from engine.cache.prefix_index import (
    NO_WORK,
    CacheIdentity,
    Entry,
    EvictionReason,
    Ids,
    PrefixIndex,
    Work,
    shared_prefix,
)
from engine.cache.system_prompt import SystemPrompt, within_reach
from engine.types import Message

GROWTH = 1.5
"""Where room takes memory, a sequence that has outgrown its own moves into one so much larger, so that a chat moves but
rarely; and no sequence is kept in a room that is larger still."""


WORTH_WAITING = 32
"""So many tokens must a running request still compute of another's prompt for that to wait for them."""


@dataclass(slots=True, eq=False)
class Lease:
    """KV on loan to one request."""

    identity: CacheIdentity
    ids: Ids
    """The prompt."""
    kv: KVCache
    """Holds the first ``cached_tokens`` of the prompt; the request appends to it."""
    cached_tokens: int
    source: Entry[KVCache] | None
    """The kept sequence that they came from; it lends its own KV if the prompt goes on where it ended and nobody else
    has been lent it."""
    system: SystemPrompt | None = None
    """The prompt's beginning that is to be kept for itself."""
    forgotten: bool = False
    """Its session ended meanwhile: nothing of it is to be kept."""


class _Beginning(NamedTuple):
    """What the prompt of a running request has in common with another one."""

    lease: Lease
    tokens: int


class PrefixCache:
    """Lends KV to requests and keeps what they leave. Used by one thread; the index is safe from any."""

    def __init__(self, budget_bytes: int) -> None:
        self.index: PrefixIndex[KVCache] = PrefixIndex(budget_bytes)
        self.verified = 0
        """Reused prefixes that were computed anew and compared."""
        self.mismatches = 0
        """How many of them gave other logits."""
        self._leases: list[Lease] = []

    def lend(
        self,
        identity: CacheIdentity,
        prompt_ids: Ids,
        capacity: int,
        new_cache: Callable[[int], KVCache],
        *,
        most_tokens: int,
        cold: bool = False,
        system: SystemPrompt | None = None,
    ) -> Lease:
        """KV for a prompt, with as much of it as a kept sequence within its reach has.

        At least one token is always left to compute: its logits choose the first of the answer.

        Args:
            identity: what must agree.
            prompt_ids: the prompt.
            capacity: positions that the request may need in all.
            new_cache: makes an empty cache of a capacity.
            most_tokens: the model's context; no cache needs more positions.
            cold: reuse nothing.
            system: what the prompt begins with, and whose that is.
        """
        match = None if cold else self.index.nearest(within_reach(identity, system), prompt_ids)
        tokens = min(match.tokens, len(prompt_ids) - 1) if match else 0
        running = None if cold else self._nearest_running(identity, prompt_ids)
        if running and (computed := min(running.tokens, running.lease.kv.tokens)) > tokens:
            kv = new_cache(capacity)
            kv.copy_prefix(running.lease.kv, computed)
            return self._keep_track(Lease(identity, prompt_ids, kv, computed, None, system))
        if match is None or tokens <= match.kept.payload.uncut_tokens:
            return self._keep_track(Lease(identity, prompt_ids, new_cache(capacity), 0, None, system))
        kept, was_pinned = match.kept, match.kept.pinned
        self.index.pin(kept)  # before room is made for a new one
        lent: KVCache | None = None
        try:
            lent = _room_for(kept, tokens, capacity, new_cache, most_tokens, is_free=not was_pinned)
        finally:
            if lent is not kept.payload and not was_pinned:
                self.index.unpin(kept)
        self.index.count(kept, tokens)
        return self._keep_track(Lease(identity, prompt_ids, lent, tokens, kept, system))

    def being_computed(self, identity: CacheIdentity, prompt_ids: Ids) -> Callable[[], bool] | None:
        """Whether a running request computes a beginning of a prompt that is worth waiting for: ask what is returned
        whether it has come so far, or has ended; ``None`` where nothing is. To be looked at again then."""
        running = self._nearest_running(identity, prompt_ids)
        if running is None:
            return None
        kept = self.index.nearest([identity], prompt_ids)
        has = max(running.lease.kv.tokens, min(kept.tokens, len(prompt_ids) - 1) if kept else 0)
        if running.tokens - has < WORTH_WAITING:
            return None
        return lambda: running.lease not in self._leases or running.lease.kv.tokens >= running.tokens

    def _nearest_running(self, identity: CacheIdentity, prompt_ids: Ids) -> _Beginning | None:
        """The running request of an identity whose prompt has most first tokens in common with another one."""
        same = [lease for lease in self._leases if lease.identity == identity and not lease.kv.slides]
        common = [_Beginning(lease, shared_prefix(lease.ids, prompt_ids)) for lease in same]
        nearest = max(common, key=lambda one: one.tokens, default=None)
        return nearest._replace(tokens=min(nearest.tokens, len(prompt_ids) - 1)) if nearest else None

    def _keep_track(self, lease: Lease) -> Lease:
        self._leases.append(lease)
        self._charge(lease.kv)
        return lease

    def _charge(self, kv: KVCache) -> None:
        """Of a cache, what is kept is charged to what is kept, and the rest to who uses it."""
        kept = (len(kept.ids) for kept in self.index.kept() if kept.payload is kv)
        kv.kept_tokens = min(next(kept, 0), kv.length)

    def _restore(self, lease: Lease) -> None:
        """A sequence that stays kept as it was has its KV back as it was."""
        source = lease.source
        if source and lease.kv is source.payload and source in self.index.kept():
            lease.kv.truncate(len(source.ids))
            if lease.kv.by_use:  # it takes the place of no other that is kept
                self._shrink(lease.kv)

    def _take_back(self, lease: Lease) -> None:
        """A request needs no KV any more."""
        self._leases.remove(lease)
        if lease.source and lease.kv is lease.source.payload:
            self.index.unpin(lease.source)

    def settle(
        self,
        lease: Lease,
        ids: Ids,
        messages: tuple[Message, ...],
        work: Work = NO_WORK,
        new_cache: Callable[[int], KVCache | None] = lambda capacity: None,
    ) -> None:
        """A request has ended: keep its sequence, as far as its KV goes, and a copy of its system prompt.

        Args:
            lease: from :meth:`lend`.
            ids: prompt and answer. The last token chosen has no KV yet, and those of a prompt given up midway
                have none either: they are left out.
            messages: what the ids say.
            work: the prefill that the request has cost.
            new_cache: makes an empty cache of a capacity for the copy; ``None`` if there is no memory for one.
        """
        self._take_back(lease)
        if not lease.forgotten and lease.kv.length:
            ids = ids[: lease.kv.tokens]
            if not self.index.begins_one(lease.identity, ids):
                self._fit(lease.kv, lease.identity, ids)
                self.index.add(lease.identity, ids, messages, lease.kv, lease.kv.allocated_bytes, work)
            self._restore(lease)
            if lease.system:
                # after the conversation: the longest unused leave first, and its beginning helps more than one
                self._keep_for_itself(lease, lease.system, work, new_cache)
        self._charge(lease.kv)

    def _keep_for_itself(
        self, lease: Lease, system: SystemPrompt, work: Work, new_cache: Callable[[int], KVCache | None]
    ) -> None:
        """Keep a copy of a prompt's system prompt, unless it is kept, or would push the conversation out."""
        tokens, kv = len(system.ids), lease.kv
        if kv.slides or kv.length < tokens or self.index.begins_one(system.identity, system.ids):
            return
        needed = kv.position_bytes * tokens
        beside = kv.used_bytes if kv.used_bytes <= self.index.budget_bytes else 0
        if needed + beside > self.index.budget_bytes:
            return
        copy = new_cache(tokens)
        if copy is not None:
            copy.copy_prefix(kv, tokens)
            self._fit(copy, system.identity, system.ids)
            computed_by = lease.source.work if lease.source and lease.cached_tokens >= tokens else work
            work = system.work(computed_by.pace_s)
            self.index.add(system.identity, system.ids, (system.message,), copy, copy.allocated_bytes, work)

    def _fit(self, kv: KVCache, identity: CacheIdentity, ids: Ids) -> None:
        """Give back memory that is not in use before a sequence is kept: its own, but for a little room that would be
        gone with it, and everybody's where another one would have to leave for it."""
        if kv.by_use or kv.capacity > GROWTH * kv.length:
            self._shrink(kv)
        if kv.used_bytes > self.index.budget_bytes:
            return  # it is not kept whatever others give
        for holder in (kv, *(kept.payload for kept in self.index.kept() if not kept.pinned)):
            if kv.allocated_bytes <= self.index.room_for(identity, ids):
                return
            self._shrink(holder)

    def _shrink(self, kv: KVCache) -> None:
        kv.shrink()
        self.index.recharge(kv, kv.allocated_bytes)

    def discard(self, lease: Lease) -> None:
        """A request has failed: keep nothing of it, and what it had been lent as it was."""
        self._restore(lease)
        self._take_back(lease)
        self._charge(lease.kv)

    def was_verified(self, lease: Lease, *, agrees: bool) -> None:
        """What was lent has been computed anew; if it turned out wrong, it is not lent again."""
        self.verified += 1
        if not agrees:
            self.mismatches += 1
            if lease.source:
                self.index.evict(lease.source, EvictionReason.DISTRUSTED)
                self._charge(lease.kv)

    @property
    def spare_bytes(self) -> int:
        """What could be had back if memory ran short."""
        return sum(kept.nbytes for kept in self.index.kept() if not kept.pinned)

    def release_oldest(self) -> bool:
        """Give the longest unused sequence's memory back; ``False`` if there is none."""
        return self.index.evict_oldest(EvictionReason.MEMORY)

    def forget(self, salt: str) -> None:
        """Let go of all that belongs to a session, what running requests hold included."""
        leases = [lease for lease in tuple(self._leases) if lease.identity.salt == salt]
        for lease in leases:
            lease.forgotten = True
        self.index.forget(salt)
        for lease in leases:
            self._charge(lease.kv)


def _room_for(
    kept: Entry[KVCache],
    tokens: int,
    capacity: int,
    new_cache: Callable[[int], KVCache],
    most_tokens: int,
    *,
    is_free: bool,
) -> KVCache:
    """The kept sequence's own KV where the prompt goes on at its end, it has room and is lent to nobody; else a copy of
    its beginning."""
    goes_on = tokens == len(kept.ids) and not kept.identity.is_system and is_free
    # a window moves its tokens about, and would not be what it was if the request failed
    if goes_on and kept.payload.capacity >= capacity and not kept.payload.slides:
        return kept.payload
    grows = goes_on and not kept.payload.by_use
    room = min(most_tokens, int(kept.payload.capacity * GROWTH)) if grows else capacity
    kv = new_cache(max(room, capacity))
    kv.copy_prefix(kept.payload, tokens)
    return kv
