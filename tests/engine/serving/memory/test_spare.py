"""What is kept gives way to what runs, unless that would not help."""

from __future__ import annotations

from mmap import MAP_ANONYMOUS, MAP_PRIVATE, PAGESIZE, mmap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.errors import InsufficientMemoryError
from engine.machine.memory import RESERVE_BYTES, held_bytes
from engine.serving.memory.pool import ModelPool


class Kept:
    """Sequences that are kept, a byte each."""

    def __init__(self, spare_bytes: int) -> None:
        self.spare_bytes = spare_bytes

    def release_oldest(self) -> bool:
        has_any = self.spare_bytes > 0
        self.spare_bytes -= has_any
        return has_any


@pytest.mark.parametrize(
    ("needed", "fits", "left"), [(10, True, 5), (12, True, 3), (15, True, 0), (16, False, 5)], ids=str
)
def test_what_is_kept_goes_only_as_far_as_it_makes_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, needed: int, fits: bool, left: int
) -> None:
    kept = Kept(5)
    monkeypatch.setattr("engine.machine.memory.available_bytes", lambda: RESERVE_BYTES + 15 - kept.spare_bytes)
    pool = ModelPool(tmp_path, spare=kept)
    assert pool.make_spare_room(needed) == fits
    assert kept.spare_bytes == left
    assert ModelPool(tmp_path).make_spare_room(10)


@pytest.mark.parametrize(("needed", "is_final"), [(20, None), (21, False), (27, False), (28, True)], ids=str)
def test_it_is_told_what_others_could_give_from_what_could_never_fit_beside_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, needed: int, is_final: bool | None
) -> None:
    monkeypatch.setattr("engine.machine.memory.available_bytes", lambda: RESERVE_BYTES + 10)
    monkeypatch.setattr("engine.serving.memory.pool.held_bytes", lambda device: 20)
    model: Any = SimpleNamespace(weights_bytes=3)
    pool = ModelPool(tmp_path, spare=Kept(4), running_kv=lambda: 6)
    try:
        pool.require_possible(needed, "It", model)
        found = None
    except InsufficientMemoryError as error:
        found = error.is_final
    assert found is is_final


def test_what_this_process_takes_counts_as_what_could_be_given_back() -> None:
    size = 32 * 2**20
    # new to this process, where an allocator may have room left from before
    with mmap(-1, size, flags=MAP_PRIVATE | MAP_ANONYMOUS) as taken:
        before = held_bytes()
        for page in range(0, size, PAGESIZE):
            taken[page] = 1
        assert held_bytes() - before >= size - 2**20
