"""What is kept gives way to what runs, unless that would not help."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.machine.memory import RESERVE_BYTES
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
