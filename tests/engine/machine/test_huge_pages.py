"""Tensors in large pages are what they were."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.machine.huge_pages import HugePages

shapes = st.lists(st.lists(st.integers(1, 70), min_size=1, max_size=3), min_size=1, max_size=5)


@given(shapes, st.sampled_from([torch.uint8, torch.float, torch.bfloat16]))
def test_tensors_stand_side_by_side_and_none_reaches_into_another(shapes: list[list[int]], dtype: torch.dtype) -> None:
    tensors = [torch.randint(0, 200, shape).to(dtype) for shape in shapes]
    room = HugePages(sum(map(HugePages.size_of, tensors)))
    placed = [room.place(tensor) for tensor in tensors]
    assert all(torch.equal(there, tensor) for there, tensor in zip(placed, tensors, strict=True))
    assert all(there.data_ptr() % 64 == 0 and there.is_contiguous() for there in placed)
    placed[0].zero_()
    assert all(torch.equal(there, tensor) for there, tensor in zip(placed[1:], tensors[1:], strict=True))


def test_what_has_no_room_is_refused() -> None:
    room = HugePages(100)
    room.place(torch.zeros(64, dtype=torch.uint8))
    with pytest.raises(ValueError, match="beside 64 of 100"):
        room.place(torch.zeros(64, dtype=torch.uint8))


def test_they_outlive_the_room() -> None:
    placed = HugePages(4096).place(torch.full((1024,), 3.0))
    assert placed.sum() == 3 * 1024
