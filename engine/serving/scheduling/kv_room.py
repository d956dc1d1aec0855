"""What the KV of running sequences may take together: it is granted chunk by chunk as they grow, and where there is no
more the youngest gives its back."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.cache import KVCache
from engine.passes import Continuation, Hidden, Logits, Wait
from engine.serving.scheduling.running import Running

Readable = Hidden | Logits | Continuation

REREAD_SHARE = 0.25
"""Who gave KV back begins to read it again once there is so much more room than for what it held: read again for less,
it would soon be given back again."""


class KVRoom:
    """Grants running sequences the memory that their next passes write to.

    The oldest of them always goes on, so that in the end each has its turn. What a younger one gives back and reads
    again is what was there, to the last bit: rows are computed alike whatever they are computed beside.
    """

    def __init__(self, most_bytes: int, make_room: Callable[[int], bool] = lambda needed: True) -> None:
        """
        Args:
            most_bytes: of all running sequences together. One alone may take more.
            make_room: sees that the machine has so many bytes more, or says that it has not.
        """
        self._most_bytes = most_bytes
        self._make_room = make_room
        self.share = 0.0
        """Of what there is, what has been granted, 0 to 1."""
        self.used_bytes = 0
        """The same in bytes: whole chunks, and of a sequence that is kept only what is written behind it."""
        self.given_back = 0
        """How often a sequence had to give its KV back."""

    def settle(self, running: Sequence[Running]) -> None:
        """Before a pass: grant what it writes to. Some may have to give theirs back, or can begin to read it again.

        Args:
            running: in the order in which they began.
        """
        for each in running:
            if (cache := _cache_of(each)) is not None:
                # who comes is let in as one that waits to go on: before it has read what it would have to give back
                each.is_parked = each.is_parked or (not each.caches and _growth(each) > 0)
                each.caches.add(cache)
        self._take(running)
        self._let_on(running)
        for each in running:
            if (cache := _cache_of(each)) is not None and not each.is_parked:
                cache.grant(_positions_wanted(each))
        self.used_bytes = _granted(running)
        self.share = min(1.0, self.used_bytes / max(1, self._most_bytes))

    def _take(self, running: Sequence[Running]) -> None:
        """The youngest that go on give theirs back while there is too little for all; one always goes on."""
        going = [each for each in running if _goes_on(each)]
        while not self._fits(running, growth=sum(map(_growth, running))):
            youngest = next((each for each in reversed(going[1:]) if _can_be_read_again(each)), None)
            if youngest is None:
                return
            _park(youngest)
            self.given_back += 1

    def _let_on(self, running: Sequence[Running]) -> None:
        """Those that wait, the oldest first, while there is room for what they held and a chunk for each that goes on.

        Somebody must go on; and one that is cancelled ends as soon as its state is what it was.
        """
        has_place = True
        for each in running:
            if not each.is_parked:
                continue
            others = [other for other in running if _goes_on(other)]
            if has_place and others:
                wanted = _wants(each)
                growth = wanted + sum(map(_growth, running))
                margin = sum(map(_chunk_bytes, others)) + (0 if each.put_off is None else REREAD_SHARE * wanted)
                has_place = self._fits(running, int(margin) + growth)
            if has_place or each.job.is_cancelled():
                each.is_parked = False

    def _fits(self, running: Sequence[Running], growth: int) -> bool:
        """Whether those that run could take so much more."""
        if _granted(running) + growth > self._most_bytes:
            return False
        return not growth or self._make_room(growth + _unwritten(running))


def _granted(running: Sequence[Running]) -> int:
    """What their KV takes, drafting models' too."""
    return sum(cache.own_bytes for each in running for cache in each.caches)


def _unwritten(running: Sequence[Running]) -> int:
    """What has been granted and still counts as free."""
    caches = (cache for each in running for cache in each.caches if cache.by_use)
    return sum(max(0, cache.allocated_bytes - cache.used_bytes) for cache in caches)


def _goes_on(running: Running) -> bool:
    return not running.is_parked and running.wanted is not None and not isinstance(running.wanted, Wait)


def _cache_of(running: Running) -> KVCache | None:
    return running.wanted.cache if isinstance(running.wanted, Readable) else None


def _chunk_bytes(running: Running) -> int:
    cache = _cache_of(running)
    return cache.growth_bytes(cache.granted + 1) if cache is not None else 0


def _growth(running: Running) -> int:
    """What must be granted before its next pass."""
    return 0 if running.is_parked else _wants(running)


def _wants(running: Running) -> int:
    """The same, whether it goes on or not."""
    cache = _cache_of(running)
    return cache.growth_bytes(_positions_wanted(running)) if cache is not None else 0


def _positions_wanted(running: Running) -> int:
    """Positions that are written: by its next pass, and of a text that is being read by all of it."""
    wanted = running.wanted
    assert isinstance(wanted, Readable)
    cache, text = wanted.cache, wanted.text
    if text is None and isinstance(running.put_off, Readable):
        text = running.put_off.text
    rows = len(wanted.ids) - sum(map(len, running.read))
    return max(cache.length + rows, 0 if text is None else len(text) - cache.dropped)


def _can_be_read_again(running: Running) -> bool:
    wanted = running.wanted
    if not isinstance(wanted, Readable) or wanted.text is None or running.put_off is not None or running.read:
        return False
    cache = wanted.cache
    can_be_given_back = cache.by_use or not cache.kept_tokens
    written = cache.length > cache.kept_tokens and not cache.slides
    return written and can_be_given_back and wanted.decoder.native is wanted.decoder


def _park(running: Running) -> None:
    wanted = running.wanted
    assert isinstance(wanted, Readable)
    assert wanted.text is not None
    ids = wanted.text.ids[wanted.cache.kept_tokens : wanted.cache.tokens].clone()
    wanted.cache.give_back()
    running.put_off, running.wanted, running.is_parked = wanted, Hidden(wanted.decoder, ids, wanted.cache), True
