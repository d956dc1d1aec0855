"""How much of a measurement is made: quick, standard or full, each with the time it will take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import streamlit as st

from app import units


@dataclass(frozen=True, slots=True)
class Size:
    """One size that is offered."""

    name: str
    """Alone among those offered: "Quick"."""
    count: int
    """How many things are measured."""
    noun: str
    """What they are, in the singular: "prompt"."""
    left: int
    """How many of all their measurements are still to be made."""
    seconds: float | None
    """What these will take, loading included; ``None`` where nobody knows yet."""

    @property
    def label(self) -> str:
        """What it is and takes, for the user: "Quick · 6 prompts · about 40 s"."""
        parts = [self.name, units.counted(self.count, self.noun)]
        if not self.left:
            parts.append("measured")
        elif self.seconds is not None:
            parts.append(units.about(self.seconds))
        return " · ".join(parts)


def choose_size(sizes: Sequence[Size], *, key: str, first: str, disabled: bool = False) -> Size:
    """One of the sizes.

    Args:
        sizes: from the smallest to the largest; those that measure as much as the one after them are left out.
        key: the widget's.
        first: the name of the one that is chosen at first.
        disabled: whether it cannot be changed now.
    """
    smaller = [size for size, larger in pairwise(sizes) if size.count < larger.count]
    offered = {size.name: size for size in (*smaller, sizes[-1])}
    kept = f"{key}-kept"  # labels change as more is measured, which must not change what is chosen
    chosen = st.session_state.get(kept, first)
    st.session_state[key] = chosen if chosen in offered else next(reversed(offered))

    def keep() -> None:
        st.session_state[kept] = st.session_state[key]

    name = st.segmented_control(
        "Size",
        list(offered),
        key=key,
        required=True,
        format_func=lambda each: offered[each].label,
        disabled=disabled,
        on_change=keep,
        help="A larger size goes on from a smaller one: what is measured already is not measured again.",
    )
    size = offered[name or first]
    if any(each.left and each.seconds is None for each in offered.values()):
        st.caption(
            "Times are told once this machine has given an answer with these models, in the Playground, Chat or a lab."
        )
    return size
