"""What is kept gives way to what runs, unless that would not help."""

from __future__ import annotations

from collections.abc import Callable
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, PAGESIZE, mmap
from types import SimpleNamespace
from typing import Any

import pytest

from engine.errors import InsufficientMemoryError
from engine.machine.memory import RESERVE_BYTES, held_bytes
from engine.models.decoders.weights import CPU
from engine.serving.memory.residents import ModelKey, Residents
from engine.types import Backend, Precision


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
    monkeypatch: pytest.MonkeyPatch, needed: int, fits: bool, left: int
) -> None:
    kept = Kept(5)
    monkeypatch.setattr("engine.machine.memory.available_bytes", lambda: RESERVE_BYTES + 15 - kept.spare_bytes)
    assert Residents(CPU, spare=kept).make_spare_room(needed) == fits
    assert kept.spare_bytes == left
    assert Residents(CPU).make_spare_room(10)


@pytest.mark.parametrize(("needed", "is_final"), [(20, None), (21, False), (27, False), (28, True)], ids=str)
def test_it_is_told_what_others_could_give_from_what_could_never_fit_beside_the_model(
    monkeypatch: pytest.MonkeyPatch, needed: int, is_final: bool | None
) -> None:
    monkeypatch.setattr("engine.machine.memory.available_bytes", lambda: RESERVE_BYTES + 10)
    monkeypatch.setattr("engine.serving.memory.residents.held_bytes", lambda device: 20)
    residents = Residents(CPU, spare=Kept(4), running_kv=lambda: 6)
    assert is_refused_for_good(lambda: residents.require_possible(needed, "It", 3)) is is_final


@pytest.mark.parametrize(
    ("needed", "is_final", "stay"),
    [
        (14, None, "ab"),
        (20, None, "b"),
        (21, False, "ab"),
        (27, False, "ab"),
        (28, True, "ab"),
    ],
    ids=str,
)
def test_a_model_that_could_never_fit_beside_what_must_stay_is_refused_for_good_and_none_goes_for_it(
    monkeypatch: pytest.MonkeyPatch, needed: int, is_final: bool | None, stay: str
) -> None:
    """Whoever holds the others."""
    kept, sizes = Kept(4), {"a": 6, "b": 3}
    keys = {name: ModelKey(name, Backend.LOCAL, Precision.INT4) for name in sizes}
    residents = Residents(CPU, spare=kept)
    in_memory = lambda: sum(residents.sizes().values()) + kept.spare_bytes  # noqa: E731
    monkeypatch.setattr("engine.machine.memory.available_bytes", lambda: RESERVE_BYTES + 23 - in_memory())
    monkeypatch.setattr("engine.serving.memory.residents.held_bytes", lambda device: 7 + in_memory())
    for name, key in keys.items():
        model: Any = SimpleNamespace(weights_bytes=sizes[name])
        residents.add(key, model)
    with residents.hold() as hold:
        residents.keep(keys["b"], hold)
        assert is_refused_for_good(lambda: residents.admit(needed, "It", 3)) is is_final
    assert "".join(key.model for key in residents.sizes()) == stay


def is_refused_for_good(ask: Callable[[], None]) -> bool | None:
    """``None`` where it is granted."""
    try:
        ask()
    except InsufficientMemoryError as error:
        return error.is_final
    return None


def test_what_this_process_takes_counts_as_what_could_be_given_back() -> None:
    size = 32 * 2**20
    # new to this process, where an allocator may have room left from before
    with mmap(-1, size, flags=MAP_PRIVATE | MAP_ANONYMOUS) as taken:
        before = held_bytes()
        for page in range(0, size, PAGESIZE):
            taken[page] = 1
        assert held_bytes() - before >= size - 2**20
