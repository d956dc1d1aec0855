"""Some of many prompts, each kind among them. Three promises, for no choice keeps all of them:

* :func:`stratified` draws by chance: what is measured on the chosen holds for those that were left out. What a seed
  chooses never changes, for an experiment that is kept is found by its prompts. Shares are as exact as whole numbers
  can be (largest remainders), and so a larger choice may have fewer of a kind than a smaller one (the Alabama paradox).
* :func:`shares_of` gives each smaller choice as a part of the larger ones, so that what was recorded of it counts when
  more is asked for. It chooses by the ids alone, whatever their order, and its shares are as near as that allows.
* :func:`some_of_each` gives equally many of each kind however common that is, the first ones: the sets that come with
  Gearbox begin with the plainest of a kind. Each smaller choice is a part of the larger ones.
"""

from __future__ import annotations

import hashlib
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeVar


class _Categorised(Protocol):
    @property
    def category(self) -> str: ...


_Item = TypeVar("_Item", bound=_Categorised)
_Any = TypeVar("_Any")


def stratified(items: Sequence[_Item], count: int, seed: int) -> tuple[_Item, ...]:
    """So many of some prompts, of each category about its share but at least one where that is possible, chosen at
    random by ``seed``; in the order in which they stand there."""
    if count >= len(items):
        return tuple(items)
    places = _by_kind((item.category, place) for place, item in enumerate(items))
    draw = random.Random(seed)
    chosen: set[int] = set()
    for category, wanted in _exact_shares({name: len(each) for name, each in places.items()}, count).items():
        chosen.update(draw.sample(places[category], wanted))
    return tuple(item for place, item in enumerate(items) if place in chosen)


def shares_of(kind_of: Mapping[str, str], count: int | None) -> frozenset[str]:
    """So many of some ids, of each kind its share; a smaller choice is a part of each larger one.

    Args:
        kind_of: all there are, by id.
        count: how many; ``None`` is all.
    """
    if count is None or count >= len(kind_of):
        return frozenset(kind_of)
    by_chance = sorted(kind_of, key=lambda id: hashlib.sha256(id.encode("utf-8", "replace")).digest())
    kinds = _by_kind((kind_of[id], id) for id in by_chance)
    places = [((rank + 0.5) / len(ids), kind, id) for kind, ids in kinds.items() for rank, id in enumerate(ids)]
    return frozenset(id for *_, id in sorted(places)[:count])


def some_of_each(items: Sequence[_Item], most: int) -> tuple[_Item, ...]:
    """The first of each category, at most so many of each, in the order in which they stand there; a smaller choice is
    a part of each larger one."""
    places = _by_kind((item.category, place) for place, item in enumerate(items))
    chosen = {place for each in places.values() for place in each[:most]}
    return tuple(item for place, item in enumerate(items) if place in chosen)


def _by_kind(pairs: Iterable[tuple[str, _Any]]) -> dict[str, list[_Any]]:
    """What belongs to each kind, in its order; the kinds as they come."""
    found: defaultdict[str, list[_Any]] = defaultdict(list)
    for kind, each in pairs:
        found[kind].append(each)
    return found


def _exact_shares(sizes: Mapping[str, int], count: int) -> dict[str, int]:
    total = sum(sizes.values())
    exact = {name: count * size / total for name, size in sizes.items()}
    least = 1 if count >= len(sizes) else 0
    shares = {name: max(least, int(share)) for name, share in exact.items()}
    by_remainder = sorted(sizes, key=lambda name: (shares[name] - exact[name], name))
    while (left := count - sum(shares.values())) != 0:
        for name in by_remainder if left > 0 else reversed(by_remainder):
            if left > 0 and shares[name] < sizes[name]:
                shares[name], left = shares[name] + 1, left - 1
            elif left < 0 and shares[name] > least:
                shares[name], left = shares[name] - 1, left + 1
    return shares
