"""Which installed models make a cascade."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from app.cascade.pairs import Pair, Sized, largest_pair, pair_for, smaller_than


def library(*models: tuple[str, int | None], missing: tuple[str, ...] = ()) -> list[Sized]:
    return [SimpleNamespace(name=name, parameters=size, installed=name not in missing) for name, size in models]  # type: ignore[misc]


ALL = library(("s", 135), ("m", 494), ("l", 1_544))


def test_the_largest_pair_is_the_two_largest_installed() -> None:
    assert largest_pair(ALL) == Pair("m", "l")
    assert largest_pair(ALL[::-1]) == Pair("m", "l")
    assert largest_pair(library(("s", 135), ("m", 494), ("l", 1_544), missing=("m",))) == Pair("s", "l")
    assert largest_pair(library(("s", 135), ("l", 9), missing=("s",))) == Pair(None, "l")
    assert largest_pair(library(("twin", 9), ("other", 9))) == Pair(None, "other")
    assert largest_pair(library(("unknown", None))) == Pair(None, "unknown")
    assert largest_pair(library(("unknown", None), ("s", 1))) == Pair(None, "s")
    assert largest_pair([]) is None


@pytest.mark.parametrize(("name", "small"), [("l", "m"), ("m", "s"), ("s", None), ("org/typed", None)])
def test_the_next_smaller_one_stands_in_front(name: str, small: str | None) -> None:
    assert smaller_than(name, ALL) == small


@pytest.mark.parametrize(
    ("name", "pair"),
    [("l", Pair("m", "l")), ("m", Pair("s", "m")), ("s", Pair("s", "l")), ("org/typed", Pair("l", "org/typed"))],
)
def test_a_model_finds_its_partner(name: str, pair: Pair) -> None:
    assert pair_for(name, ALL) == pair


def test_a_model_alone_has_none() -> None:
    assert pair_for("s", library(("s", 135))) is None
    assert pair_for("s", library(("s", 135), ("twin", 135))) is None
    assert pair_for("s", []) is None
