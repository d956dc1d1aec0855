"""KV of finished requests, kept beside their token ids and taken up again by what begins alike."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from engine.cache.kv_cache import KVCache
from engine.cache.prefix_index import NO_WORK, CacheIdentity, Entry, EvictionReason, Ids, PrefixIndex, Work
from engine.cache.system_prompt import SystemPrompt, within_reach
from engine.types import Message

GROWTH = 1.5
"""A sequence that has outgrown its room moves into one so much larger, so that a chat moves but rarely; and no sequence
is kept in a room that is larger still."""


@dataclass(slots=True, eq=False)
class Lease:
    """KV on loan to one request."""

    identity: CacheIdentity
    kv: KVCache
    """Holds the first ``cached_tokens`` of the prompt; the request appends to it."""
    cached_tokens: int
    source: Entry[KVCache] | None
    """The kept sequence that they came from; it lends its own KV if the prompt goes on where it ended."""
    system: SystemPrompt | None = None
    """The prompt's beginning that is to be kept for itself."""
    forgotten: bool = False
    """Its session ended meanwhile: nothing of it is to be kept."""


class PrefixCache:
    """Lends KV to requests and keeps what they leave. One request at a time; the rest is safe from any thread."""

    def __init__(self, budget_bytes: int) -> None:
        self.index: PrefixIndex[KVCache] = PrefixIndex(budget_bytes)
        self.verified = 0
        """Reused prefixes that were computed anew and compared."""
        self.mismatches = 0
        """How many of them gave other logits."""
        self._lease: Lease | None = None

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
        if match is None or tokens <= match.kept.payload.uncut_tokens:
            self._lease = Lease(identity, new_cache(capacity), 0, None, system)
            return self._lease
        kept = match.kept
        self.index.pin(kept, tokens)  # before room is made for a new one
        with ExitStack() as if_there_is_no_room:
            if_there_is_no_room.callback(self.index.unpin, kept)
            kv = _room_for(kept, tokens, capacity, new_cache, most_tokens)
            if_there_is_no_room.pop_all()
        self._lease = Lease(identity, kv, tokens, kept, system)
        return self._lease

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
        if lease.source:
            self.index.unpin(lease.source)
        if not lease.forgotten and lease.kv.length:
            ids = ids[: lease.kv.tokens]
            if not self.index.begins_one(lease.identity, ids):
                self._fit(lease.kv, lease.identity, ids)
                self.index.add(lease.identity, ids, messages, lease.kv, lease.kv.allocated_bytes, work)
            if lease.system:
                # after the conversation: the longest unused leave first, and its beginning helps more than one
                self._keep_for_itself(lease, lease.system, work, new_cache)
        self._lease = None

    def _keep_for_itself(
        self, lease: Lease, system: SystemPrompt, work: Work, new_cache: Callable[[int], KVCache | None]
    ) -> None:
        """Keep a copy of a prompt's system prompt, unless it is kept, or would push the conversation out."""
        tokens, kv = len(system.ids), lease.kv
        if kv.slides or kv.length < tokens or self.index.begins_one(system.identity, system.ids):
            return
        needed = kv.allocated_bytes // kv.capacity * tokens
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
        """Give back room that is not in use before a sequence is kept: its own where it is much, and everybody's where
        another one would have to leave for it."""
        if kv.capacity > GROWTH * kv.length:
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
        if lease.source:
            if lease.kv is lease.source.payload:
                lease.kv.truncate(len(lease.source.ids))
            self.index.unpin(lease.source)
        self._lease = None

    def was_verified(self, lease: Lease, *, agrees: bool) -> None:
        """What was lent has been computed anew; if it turned out wrong, it is not lent again."""
        self.verified += 1
        if not agrees:
            self.mismatches += 1
            if lease.source:
                self.index.evict(lease.source, EvictionReason.DISTRUSTED)

    @property
    def spare_bytes(self) -> int:
        """What could be had back if memory ran short."""
        return sum(kept.nbytes for kept in self.index.kept() if not kept.pinned)

    def release_oldest(self) -> bool:
        """Give the longest unused sequence's memory back; ``False`` if there is none."""
        return self.index.evict_oldest(EvictionReason.MEMORY)

    def forget(self, salt: str) -> None:
        """Let go of all that belongs to a session, what a running request holds included."""
        lease = self._lease
        if lease and lease.identity.salt == salt:
            lease.forgotten = True
        self.index.forget(salt)


def _room_for(
    kept: Entry[KVCache], tokens: int, capacity: int, new_cache: Callable[[int], KVCache], most_tokens: int
) -> KVCache:
    """The kept sequence's own KV where the prompt goes on at its end and has room; else a copy of its beginning."""
    goes_on = tokens == len(kept.ids) and not kept.identity.is_system
    # a window moves its tokens about, and would not be what it was if the request failed
    if goes_on and kept.payload.capacity >= capacity and not kept.payload.slides:
        return kept.payload
    room = min(most_tokens, int(kept.payload.capacity * GROWTH)) if goes_on else capacity
    kv = new_cache(max(room, capacity))
    kv.copy_prefix(kept.payload, tokens)
    return kv
