"""KV lent to one request at a time: taken up in place, copied, given back."""

from __future__ import annotations

import pytest
import torch

from engine.cache import CacheIdentity, KVCache, PrefixCache, as_ids

MINE = CacheIdentity("weights", "int4", "gearbox", "bf16", None, "me")


def small_cache(capacity: int) -> KVCache:
    return KVCache(n_layers=2, capacity=capacity, kv_heads=1, head_dim=4)


def fill(kv: KVCache, ids: list[int]) -> None:
    """KV that tells which token stands where."""
    for at in range(kv.length, len(ids)):
        for layer in kv.layers:
            layer[at] = float(ids[at])
    kv.commit(len(ids) - kv.length)


def lend(cache: PrefixCache, ids: list[int], capacity: int = 16, *, cold: bool = False):  # type: ignore[no-untyped-def]
    return cache.lend(MINE, as_ids(ids), capacity, small_cache, most_tokens=64, cold=cold)


def hold(cache: PrefixCache, ids: list[int], capacity: int = 16) -> KVCache:
    lease = lend(cache, ids, capacity)
    fill(lease.kv, ids)
    cache.settle(lease, as_ids([*ids, 99]), ())
    kv: KVCache = lease.kv
    return kv


def test_a_prompt_that_goes_on_takes_the_kept_kv_itself_and_copies_nothing() -> None:
    cache = PrefixCache(10**6)
    kv = hold(cache, [1, 2, 3])
    lease = lend(cache, [1, 2, 3, 4])
    assert lease.kv is kv
    assert (lease.cached_tokens, lease.kv.length) == (3, 3)


def test_the_last_token_chosen_has_no_kv_and_is_not_kept() -> None:
    cache = PrefixCache(10**6)
    hold(cache, [1, 2, 3])
    assert [kept.ids.tolist() for kept in cache.index.kept()] == [[1, 2, 3]]


def test_a_branch_copies_what_it_shares_and_leaves_the_other_as_it_was() -> None:
    cache = PrefixCache(10**6)
    kv = hold(cache, [1, 2, 3])
    lease = lend(cache, [1, 2, 7, 8])
    assert lease.kv is not kv
    assert lease.cached_tokens == 2
    assert all(torch.equal(mine[:2], its[:2]) for mine, its in zip(lease.kv.layers, kv.layers, strict=True))
    fill(lease.kv, [1, 2, 7, 8])
    cache.settle(lease, as_ids([1, 2, 7, 8, 99]), ())
    assert sorted(kept.ids.tolist() for kept in cache.index.kept()) == [[1, 2, 3], [1, 2, 7, 8]]
    assert float(kv.layers[0][2, 0, 0, 0]) == 3


def test_the_whole_prompt_again_leaves_one_token_to_compute() -> None:
    cache = PrefixCache(10**6)
    hold(cache, [1, 2, 3])
    assert lend(cache, [1, 2, 3]).cached_tokens == 2


def test_a_sequence_that_outgrows_its_room_moves_into_a_larger_one() -> None:
    cache = PrefixCache(10**6)
    kv = hold(cache, [1, 2, 3], capacity=4)
    lease = lend(cache, [1, 2, 3, 4], capacity=5)
    assert lease.kv is not kv
    assert lease.kv.capacity == 6
    assert torch.equal(lease.kv.layers[1][:3], kv.layers[1][:3])
    assert lend(PrefixCache(0), [1], capacity=5).kv.capacity == 5


def test_a_failed_request_leaves_what_it_was_lent_as_it_was() -> None:
    cache = PrefixCache(10**6)
    hold(cache, [1, 2, 3])
    lease = lend(cache, [1, 2, 3, 4, 5])
    fill(lease.kv, [1, 2, 3, 4])
    cache.discard(lease)
    assert [(k.ids.tolist(), k.payload.length, k.pinned) for k in cache.index.kept()] == [([1, 2, 3], 3, False)]


def test_no_room_for_a_new_cache_leaves_the_kept_one_unpinned() -> None:
    cache = PrefixCache(10**6)
    hold(cache, [1, 2, 3])

    def no_room(capacity: int) -> KVCache:
        raise MemoryError

    with pytest.raises(MemoryError):
        cache.lend(MINE, as_ids([1, 2, 9]), 16, no_room, most_tokens=64)
    assert [kept.pinned for kept in cache.index.kept()] == [False]


def test_a_session_that_ends_while_its_request_runs_leaves_nothing() -> None:
    cache = PrefixCache(10**6)
    hold(cache, [1, 2, 3])
    lease = lend(cache, [1, 2, 3, 4])
    cache.forget("me")
    fill(lease.kv, [1, 2, 3, 4])
    cache.settle(lease, as_ids([1, 2, 3, 4, 99]), ())
    assert cache.index.kept() == ()
