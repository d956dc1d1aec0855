"""What a cache takes of the machine's memory, and what is charged for it: chunks that are begun, and no more."""

from __future__ import annotations

import mmap
import resource
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.cache import CHUNK, KVCache
from engine.types import KVDtype
from tests.support.lazy_memory import needs_lazy_memory

LAYERS = 2


def new_cache(capacity: int, dtype: KVDtype = KVDtype.BF16, rotation: torch.Tensor | None = None) -> KVCache:
    """A page a position and layer in 16 bits."""
    return KVCache(LAYERS, capacity, 1, mmap.PAGESIZE // 4, dtype=dtype, rotation=rotation)


def write(kv: KVCache, tokens: int) -> None:
    start, end = kv.claim(tokens)
    for layer in kv.layers:
        layer[start:end] = 1
    kv.commit(tokens)


def resident_bytes(kv: KVCache) -> int:
    """What the kernel has given for it."""
    first, end = kv.layers[0].data_ptr(), kv.layers[-1].data_ptr() + kv.layers[-1].nbytes
    found, counts = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        begin, _, rest = line.partition("-")
        with suppress(ValueError):
            counts = int(begin, 16) < end and int(rest.split(" ")[0], 16) > first
        if counts and line.startswith("Rss:"):
            found += 1024 * int(line.split()[1])
    return found


@needs_lazy_memory
def test_room_for_a_whole_context_takes_no_memory_before_it_is_written() -> None:
    kv = new_cache(40_000)
    before = resident_bytes(kv)
    assert kv.allocated_bytes == 0
    write(kv, 10)
    assert kv.allocated_bytes == CHUNK * kv.position_bytes
    assert resident_bytes(kv) - before <= kv.allocated_bytes


@needs_lazy_memory
@pytest.mark.parametrize("dtype", list(KVDtype))
@pytest.mark.parametrize("end", ["shrunk", "given back"])
def test_memory_that_is_not_in_use_goes_back_to_the_system(dtype: KVDtype, end: str) -> None:
    kv = new_cache(2_000, dtype)
    for _ in range(3):  # again and again
        write(kv, 1_000)
        full = resident_bytes(kv)
        if end == "shrunk":
            kv.truncate(100)
            kv.shrink()
        else:
            kv.kept_tokens = 100
            kv.give_back()
        assert (kv.length, kv.capacity, kv.allocated_bytes) == (100, 2_000, 100 * kv.position_bytes)
        assert full - resident_bytes(kv) >= 890 * kv.position_bytes
        assert all(bool((layer[:100] == 1).all()) for layer in kv.layers)
        kv.truncate(0)


def test_under_a_limit_on_address_space_all_of_it_is_charged_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (2**40, 2**40))
    kv = new_cache(40)
    assert (kv.by_use, kv.allocated_bytes) == (False, 40 * kv.position_bytes)
    write(kv, 10)
    kv.give_back()
    assert kv.allocated_bytes == 0
    write(kv, 1)
    assert kv.allocated_bytes == 40 * kv.position_bytes
    kv.shrink()
    assert (kv.capacity, kv.allocated_bytes) == (1, kv.position_bytes)


steps = st.one_of(
    st.tuples(st.just("write"), st.integers(1, 700)),
    st.tuples(st.just("truncate"), st.integers(0, 2_000)),
    st.tuples(st.sampled_from(["shrink", "give back"]), st.just(0)),
    st.tuples(st.just("keep"), st.integers(0, 2_000)),
)


@needs_lazy_memory
@given(st.lists(steps, max_size=20), st.booleans())
def test_what_is_charged_is_the_chunks_in_use_at_any_time(taken: list[tuple[str, int]], slides: bool) -> None:
    kv = KVCache(LAYERS, 1_500, 1, 4, rotation=torch.ones(2) if slides else None)
    charged = 0
    for step, count in taken:
        do: dict[str, Callable[[], None]] = {
            "write": lambda count=count: write(kv, count),
            "truncate": lambda count=count: kv.truncate(max(kv.kept_tokens, min(count, kv.length))),
            "shrink": kv.shrink,
            "give back": kv.give_back,
            "keep": lambda count=count: setattr(kv, "kept_tokens", min(count, kv.length)),
        }
        if slides and step in ("give back", "keep"):
            continue
        with suppress(ValueError):  # there is no room for so many
            do[step]()
        if step in ("shrink", "give back"):
            charged = kv.length
        elif step == "write":
            charged = max(charged, min(-(-kv.length // CHUNK) * CHUNK, kv.capacity))
        assert kv.length <= kv.granted == charged
        assert kv.allocated_bytes == kv.granted * kv.position_bytes
        assert kv.own_bytes == kv.allocated_bytes - kv.kept_tokens * kv.position_bytes
        assert kv.growth_bytes(kv.granted + 1) <= CHUNK * kv.position_bytes
        assert all(len(layer) == 1_500 for layer in kv.layers)
