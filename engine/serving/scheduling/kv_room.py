"""What the KV of running sequences may take together: the youngest gives its back when it is more."""

from __future__ import annotations

from collections.abc import Sequence

from engine.cache import KVCache
from engine.passes import Continuation, Hidden, Logits
from engine.serving.scheduling.running import Running

Readable = Hidden | Logits | Continuation


class KVRoom:
    """Lets the youngest of several sequences give its KV back, and read it again when there is room.

    What is read again is what was there, to the last bit: rows are computed alike whatever they are computed beside.
    """

    def __init__(self, most_bytes: int) -> None:
        """
        Args:
            most_bytes: of all running sequences together. One alone may take more.
        """
        self._most_bytes = most_bytes
        self.share = 0.0
        """Of what there is, what was taken before the last pass, 0 to 1."""
        self.used_bytes = 0
        """The same in bytes."""
        self.given_back = 0
        """How often a sequence had to give its KV back."""

    def settle(self, running: Sequence[Running]) -> None:
        """Before a pass: some may have to give theirs back, or can begin to read it again.

        Args:
            running: in the order in which they began.
        """
        for each in running:
            if (cache := _cache_of(each)) is not None:
                each.caches.add(cache)
        used = used_bytes(running)
        for each in reversed(running[1:]):
            if used <= self._most_bytes:
                break
            if (cache := _cache_of(each)) is not None and _can_be_read_again(each):
                used -= cache.used_bytes
                _park(each)
                self.given_back += 1
        for each in running:
            if not each.is_parked:
                continue
            # somebody must go on; and one that is cancelled ends as soon as its state is what it was
            nobody_goes_on = all(other.is_parked for other in running)
            if used + _needed_bytes(each) <= self._most_bytes or nobody_goes_on or each.job.is_cancelled():
                used += _needed_bytes(each)
                each.is_parked = False
        self.used_bytes = used
        self.share = min(1.0, used / max(1, self._most_bytes))


def used_bytes(running: Sequence[Running]) -> int:
    """What their KV takes, drafting models' too."""
    return sum(cache.used_bytes for each in running for cache in each.caches)


def _cache_of(running: Running) -> KVCache | None:
    return running.wanted.cache if isinstance(running.wanted, Readable) else None


def _can_be_read_again(running: Running) -> bool:
    wanted = running.wanted
    if not isinstance(wanted, Readable) or wanted.text is None or running.put_off is not None or running.read:
        return False
    cache = wanted.cache
    return bool(cache.length) and not cache.slides and not cache.is_kept and wanted.decoder.native is wanted.decoder


def _park(running: Running) -> None:
    wanted = running.wanted
    assert isinstance(wanted, Readable)
    assert wanted.text is not None
    ids = wanted.text.ids[: wanted.cache.tokens].clone()
    wanted.cache.give_back()
    running.put_off, running.wanted, running.is_parked = wanted, Hidden(wanted.decoder, ids, wanted.cache), True


def _needed_bytes(running: Running) -> int:
    wanted = running.wanted
    assert isinstance(wanted, Hidden)
    return wanted.cache.allocated_bytes // wanted.cache.capacity * len(wanted.ids)
