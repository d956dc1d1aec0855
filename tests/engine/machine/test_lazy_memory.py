"""Memory that is taken as it is written and given back in pieces, by pages of either size."""

from __future__ import annotations

import mmap

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.machine.lazy_memory import LazyMemory, address_space_is_free

pytestmark = pytest.mark.skipif(not address_space_is_free(), reason="address space counts here")
SIZE = 6 * 2**20
places = st.tuples(st.integers(0, SIZE), st.integers(0, SIZE)).map(sorted)


@given(places, places, st.booleans())
@settings(max_examples=15)
def test_what_is_given_back_holds_zeros_and_the_rest_what_it_held(
    expected: list[int], gone: list[int], at_all: bool
) -> None:
    memory = LazyMemory(SIZE)
    if at_all:
        memory.expect(*expected)
    assert int(memory.bytes.sum()) == 0
    memory.bytes.fill_(1)
    memory.give_back(*gone)
    whole = range(-(-gone[0] // mmap.PAGESIZE) * mmap.PAGESIZE, gone[1] // mmap.PAGESIZE * mmap.PAGESIZE)
    wanted = torch.ones_like(memory.bytes)
    wanted[whole.start : max(whole.start, whole.stop)] = 0
    assert torch.equal(memory.bytes, wanted)
    memory.bytes.fill_(1)
    assert bool((memory.bytes == 1).all())
