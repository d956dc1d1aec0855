"""What a session remembers of the Experiments page: which one is open, what is looked at, and a new one's parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from app import resources
from app.session import playground, presets
from app.session.address import named_anew, put
from app.session.identity import person_id
from app.session.options import ChosenOption
from engine.errors import InvalidRequestError
from engine.types import OptimizationConfig, Precision, RunConfig

EXPERIMENT_QUERY = "experiment"
SECTION = ChosenOption("experiments-section", "show")
CANDIDATE = ChosenOption("experiments-candidate", "candidate")
JUDGE = ChosenOption("experiments-judge", "judge")
"""Whose verdicts count, of those who have judged the experiment."""
PROMPTS = ChosenOption("experiments-prompts")
BASELINE = ChosenOption("experiments-baseline")
MARGIN, CATEGORIES, TRAFFIC, TARGET = (f"experiments-{name}" for name in ("margin", "categories", "traffic", "target"))
"""Keys of what the figures are looked at with: points, categories, requests a day, a latency target in seconds."""
LIMITS = {name: f"experiments-judge-{name}" for name in ("silent", "flips", "length", "kappa")}
"""Keys of the limits beyond which a judge fails its audit, by the fields of `Limits`; shares in percent, but for κ."""

ALL_GEARS = "All gears"


@dataclass(frozen=True, slots=True)
class Opened:
    """Which of the page's things of a kind is on view: the one that the address names."""

    query: str
    """The query parameter that names it."""

    def id(self) -> str | None:
        """Its id; ``None`` for none of them."""
        named = named_anew(self.query)
        if named is not None:
            st.session_state[self._key] = named
        elif self.query not in st.query_params:
            st.session_state[self._key] = st.session_state.pop(f"{self._key}-next", None)
        if found := st.session_state.get(self._key):
            put(self.query, found)
        return found or None

    def open(self, id: str) -> None:
        """Show one from the next script run on; called before the page is drawn again."""
        st.session_state[f"{self._key}-next"] = id

    def close(self) -> None:
        """Show the list from now on; called before the page is drawn."""
        st.session_state.pop(self._key, None)
        st.query_params.clear()

    @property
    def _key(self) -> str:
        return f"experiments-opened-{self.query}"


AUTOPILOT = Opened("autopilot")
_EXPERIMENT = Opened(EXPERIMENT_QUERY)


def opened() -> str | None:
    """The id of the experiment on view: the one that the address names; ``None`` for the list."""
    return _EXPERIMENT.id()


def open_experiment(experiment_id: str) -> None:
    """Show an experiment from the next script run on; called before the page is drawn again."""
    _EXPERIMENT.open(experiment_id)


def close() -> None:
    """Show the list from now on; called before the page is drawn."""
    _EXPERIMENT.close()


def offered(precisions: Sequence[Precision]) -> dict[str, RunConfig]:
    """Configurations that an experiment can have, by name: installed models in each precision, all gears, the
    Playground's lanes, and those saved.

    Args:
        precisions: that run here.
    """
    models = presets.models_here()
    found = {
        f"{model.name} {precision}": RunConfig(model=model.name, optimization=OptimizationConfig.at(precision))
        for model in models
        if model.installed
        for precision in precisions
    }
    if (every := presets.all_gears(models)) is not None:
        found[ALL_GEARS] = every
    for lane in playground.LANES:
        try:
            found[playground.lane_title(lane)] = playground.lane_form(lane).config()
        except InvalidRequestError:  # its own page says what is missing
            continue
    for saved in resources.get_store().configurations.saved(person_id()):
        try:
            found.setdefault(saved.name, RunConfig.from_dict(saved.config))
        except (InvalidRequestError, KeyError, TypeError, ValueError):  # of a version that had other settings
            continue
    return found
