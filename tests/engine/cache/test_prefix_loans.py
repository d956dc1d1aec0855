"""KV lent to one request at a time: taken up in place, copied, given back."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.cache import CacheIdentity, KVCache, PrefixCache, SystemPrompt, as_ids
from engine.cache.prefix_cache import GROWTH
from engine.types import KVDtype, Message
from tests.support.lazy_memory import needs_lazy_memory

MINE = CacheIdentity("weights", "int4", "gearbox", "bf16", None, "me")


def small_cache(capacity: int) -> KVCache:
    return KVCache(n_layers=2, capacity=capacity, kv_heads=1, head_dim=4)


def at_once(capacity: int) -> KVCache:
    """As on a GPU, or where address space is limited."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("engine.cache.kv_cache.takes_by_use", lambda device: False)
        return small_cache(capacity)


def fill(kv: KVCache, ids: list[int]) -> None:
    """KV that tells which token stands where."""
    kv.claim(len(ids) - kv.length)
    for at in range(kv.length, len(ids)):
        for layer in kv.layers:
            layer[at] = float(ids[at])
    kv.commit(len(ids) - kv.length)


def lend(cache: PrefixCache, ids: list[int], capacity: int = 16, *, cold: bool = False, make=small_cache):  # type: ignore[no-untyped-def]
    return cache.lend(MINE, as_ids(ids), capacity, make, most_tokens=64, cold=cold)


def hold(cache: PrefixCache, ids: list[int], capacity: int = 16, make=small_cache) -> KVCache:  # type: ignore[no-untyped-def]
    lease = lend(cache, ids, capacity, make=make)
    fill(lease.kv, ids)
    cache.settle(lease, as_ids([*ids, 99]), ())
    kv: KVCache = lease.kv
    return kv


def test_a_prompt_that_goes_on_takes_the_kept_kv_itself_and_copies_nothing() -> None:
    cache = PrefixCache(10**6)
    kv = hold(cache, [1, 2, 3], capacity=4)
    lease = lend(cache, [1, 2, 3, 4], capacity=4)
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


@pytest.mark.parametrize(("make", "room"), [(at_once, 6), pytest.param(small_cache, 5, marks=needs_lazy_memory)])
def test_a_sequence_that_outgrows_its_room_moves_into_a_larger_one_where_room_takes_memory(make, room: int) -> None:  # type: ignore[no-untyped-def]
    cache = PrefixCache(10**6)
    kv = hold(cache, [1, 2, 3], capacity=4, make=make)
    lease = lend(cache, [1, 2, 3, 4], capacity=5, make=make)
    assert lease.kv is not kv
    assert lease.kv.capacity == room
    assert torch.equal(lease.kv.layers[1][:3], kv.layers[1][:3])
    assert lend(PrefixCache(0), [1], capacity=5).kv.capacity == 5


def test_a_sequence_with_room_for_the_context_never_moves_however_it_grows() -> None:
    cache = PrefixCache(10**6)
    ids = [1, 2, 3]
    kv = hold(cache, ids, capacity=64)
    for _ in range(5):
        ids = [*ids, *range(4, 14)]
        lease = lend(cache, ids, capacity=len(ids) + 10)
        assert lease.kv is kv
        assert kv.own_bytes == kv.allocated_bytes - cache.index.used_bytes, "what is kept is charged to what is kept"
        fill(kv, ids)
        cache.settle(lease, as_ids([*ids, 99]), ())
        assert cache.index.used_bytes == kv.allocated_bytes == len(ids) * PER_TOKEN
        assert kv.own_bytes == 0


def test_a_failed_request_leaves_what_it_was_lent_as_it_was() -> None:
    cache = PrefixCache(10**6)
    kv = hold(cache, [1, 2, 3, 4], capacity=6)
    lease = lend(cache, [1, 2, 3, 4, 5, 6], capacity=6)
    assert lease.kv is kv
    fill(lease.kv, [1, 2, 3, 4, 5])
    cache.discard(lease)
    assert [(k.ids.tolist(), k.payload.length) for k in cache.index.kept()] == [([1, 2, 3, 4], 4)]
    assert kv.allocated_bytes == cache.index.used_bytes == 4 * PER_TOKEN


def test_a_failed_request_leaves_a_sequence_without_room_as_it_was() -> None:
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
    assert lease.kv.own_bytes == lease.kv.allocated_bytes, "it is charged to nobody else"
    fill(lease.kv, [1, 2, 3, 4])
    cache.settle(lease, as_ids([1, 2, 3, 4, 99]), ())
    assert cache.index.kept() == ()


# --- what is charged is what is held -------------------------------------------------------------------

PER_TOKEN = small_cache(1).position_bytes


def test_room_far_beyond_what_was_written_is_given_back_when_a_sequence_is_kept() -> None:
    cache = PrefixCache(5 * PER_TOKEN)
    kv = hold(cache, [1, 2, 3], capacity=4000)
    assert kv.allocated_bytes == cache.index.used_bytes == 3 * PER_TOKEN
    lease = lend(cache, [1, 2, 3, 4], capacity=4001)
    assert (lease.cached_tokens, lease.kv.capacity) == (3, 4001)
    assert [int(lease.kv.layers[1][at, 0, 0, 0]) for at in range(3)] == [1, 2, 3]


def test_a_little_room_stays_while_nobody_else_needs_it_and_is_given_back_before_a_sequence_leaves() -> None:
    cache = PrefixCache(8 * PER_TOKEN)
    old = hold(cache, [1, 2, 3], capacity=4, make=at_once)
    assert old.capacity == 4
    new = hold(cache, [5, 6, 7], capacity=4, make=at_once)
    assert (old.capacity, new.capacity) == (4, 4)
    third = hold(cache, [8, 9], capacity=3, make=at_once)
    assert (old.capacity, new.capacity, third.capacity) == (3, 3, 2)
    assert cache.index.used_bytes == 8 * PER_TOKEN
    assert cache.index.evicted() == ()
    hold(cache, [4], capacity=1, make=at_once)
    assert [gone.ids.tolist() for gone in cache.index.evicted()] == [[1, 2, 3]]


def test_a_sequence_that_grew_where_it_was_is_charged_anew_when_it_is_cut_to_size() -> None:
    cache = PrefixCache(9 * PER_TOKEN)
    hold(cache, [1, 2, 3, 4], capacity=6, make=at_once)
    lease = lend(cache, [1, 2, 3, 4, 5], capacity=6, make=at_once)
    cache.index.resize(5 * PER_TOKEN)  # meanwhile; what a request uses stays
    fill(lease.kv, [1, 2, 3, 4, 5])
    cache.settle(lease, as_ids([1, 2, 3, 4, 5, 99]), ())
    assert [(k.ids.tolist(), k.nbytes) for k in cache.index.kept()] == [([1, 2, 3, 4, 5], 5 * PER_TOKEN)]


def test_what_is_larger_than_the_whole_budget_costs_nobody_their_room() -> None:
    cache = PrefixCache(8 * PER_TOKEN)
    kv = hold(cache, [1, 2, 3], capacity=4, make=at_once)
    hold(cache, list(range(10, 20)), capacity=10, make=at_once)
    assert (kv.capacity, len(cache.index.kept())) == (4, 1)


def windowed(capacity: int) -> KVCache:
    return KVCache(n_layers=2, capacity=16, kv_heads=1, head_dim=4, rotation=torch.ones(2))


def in_eight_bits(capacity: int) -> KVCache:
    return KVCache(n_layers=2, capacity=capacity, kv_heads=1, head_dim=4, dtype=KVDtype.INT8)


@pytest.mark.parametrize("make", [at_once, small_cache, windowed, in_eight_bits])
def test_a_cache_cut_to_size_holds_what_it_held_where_the_kernels_look_for_it(make) -> None:  # type: ignore[no-untyped-def]
    kv = make(12)
    fill(kv, [1, 2, 3, 4, 5])
    before = [layer[:5].clone() for layer in kv.layers]
    kv.shrink()
    assert all(torch.equal(layer[:5], old) for layer, old in zip(kv.layers, before, strict=True))
    assert list(kv.addresses) == [layer.data_ptr() for layer in kv.layers]
    assert kv.allocated_bytes == kv.used_bytes
    if make is at_once:
        assert kv.allocated_bytes == sum(layer.untyped_storage().nbytes() for layer in kv.layers)
        with pytest.raises(ValueError, match="6 positions"):
            kv.claim(1)
    else:
        kv.claim(7)
    copy = make(12)
    copy.copy_prefix(kv, 5)
    copy.claim(1)


prompts = st.lists(st.integers(0, 2), min_size=1, max_size=8)
requests = st.tuples(
    st.sampled_from(["me", "you"]),
    st.booleans(),
    prompts,
    st.integers(0, 60),
    st.integers(0, 8),
    st.sampled_from(["kept", "kept", "kept", "failed", "forgotten", "resized", "memory"]),
)


@given(
    st.lists(requests, min_size=1, max_size=25),
    st.integers(0, 40),
    st.sampled_from([at_once, small_cache, in_eight_bits]),
)
def test_whatever_is_asked_each_kept_sequence_is_charged_what_it_holds_and_the_budget_is_kept(
    steps: list[tuple[str, bool, list[int], int, int, str]], budget_tokens: int, make
) -> None:  # type: ignore[no-untyped-def]
    per_token = make(1).position_bytes
    cache = PrefixCache(budget_tokens * per_token)
    for salt, with_system, prompt, max_tokens, written, end in steps:
        identity = replace(MINE, salt=salt)
        ids = [7, 8, *prompt] if with_system else prompt
        system = SystemPrompt(identity.of_system_prompts(), as_ids([7, 8]), Message("system", "Be brief."))
        lease = cache.lend(
            identity,
            as_ids(ids),
            len(ids) + max_tokens,
            make,
            most_tokens=64,
            system=system if with_system else None,
        )
        answer = [3] * min(written, max_tokens)
        whole = [*ids, *answer]
        lease.kv.claim(len(whole) - lease.kv.length)
        for at in range(lease.kv.length, len(whole)):
            for layer in lease.kv.layers:
                layer[at] = whole[at]
        lease.kv.commit(len(whole) - lease.kv.length)
        if end == "forgotten":
            cache.forget(salt)
        if end == "resized":
            cache.index.resize(cache.index.budget_bytes // 2)
        if end == "failed":
            cache.discard(lease)
        else:
            before = len(cache.index.evicted())
            cache.settle(lease, as_ids([*whole, 99]), (), new_cache=make)
            left = cache.index.evicted()[before:]
            if end == "kept" and left:
                # nothing leaves for room that nobody uses
                stays = sum(kept.payload.used_bytes for kept in cache.index.kept())
                assert stays + sum(len(gone.ids) * per_token for gone in left) > cache.index.budget_bytes
        if end == "memory":
            cache.release_oldest()
        assert cache.index.used_bytes <= cache.index.budget_bytes
        for kept in cache.index.kept():
            kv = kept.payload
            assert kept.nbytes == kv.allocated_bytes <= GROWTH * kv.used_bytes
            assert make is not at_once or kept.nbytes == sum(layer.untyped_storage().nbytes() for layer in kv.layers)
            assert kv.length == len(kept.ids)
            assert kept.identity.is_system or kv.kept_tokens == kv.length
            assert list(kv.addresses) == [layer.data_ptr() for layer in kv.layers]
            assert all([int(layer[at, 0, 0, 0]) for at in range(kv.length)] == kept.ids.tolist() for layer in kv.layers)
