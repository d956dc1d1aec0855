"""Which round a race is in."""

from __future__ import annotations

import math

import streamlit as st

from app import units
from app.runs.progress import left_s, round_on_view
from app.runs.race import Race


class RoundView:
    """A line that says which round runs, where there are several; written anew only when it has changed."""

    def __init__(self) -> None:
        self._place = st.empty()
        self._written = ""

    def draw(self, race: Race) -> None:
        """Say it."""
        words = _words(race)
        if words != self._written:
            self._place.caption(words)
            self._written = words


def _words(race: Race) -> str:
    if len(race.rounds) == 1:
        return ""
    number, rounds = round_on_view(race), len(race.rounds)
    if race.over.is_set():
        return f":material/repeat: Below stands the last of {units.counted(rounds, 'round')}."
    order = " → ".join(letter.upper() for letter in (race.lanes if number % 2 else reversed(race.lanes)))
    left = left_s(race)
    rest = "" if left is None else f" · about {math.ceil(left)} s left"
    return f":material/repeat: Round {number} of {rounds}, {order}{rest}"
