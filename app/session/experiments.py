"""What a session remembers of the Experiments page: which one is open, what is looked at, and a new one's parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from app import resources
from app.session import playground, presets
from app.session.identity import person_id
from app.session.options import ChosenOption
from engine.errors import InvalidRequestError
from engine.types import Backend, OptimizationConfig, Precision, RunConfig

EXPERIMENT_QUERY = "experiment"
SECTION = ChosenOption("experiments-section", "show")
CANDIDATE = ChosenOption("experiments-candidate", "candidate")
PROMPTS = ChosenOption("experiments-prompts")
BASELINE = ChosenOption("experiments-baseline")
MARGIN, CATEGORIES, TRAFFIC, TARGET = (f"experiments-{name}" for name in ("margin", "categories", "traffic", "target"))
"""Keys of what the figures are looked at with: points, categories, requests a day, a latency target in seconds."""
FLIP, REPLAYED = "experiments-flip", "experiments-replayed"
"""Keys of the prompts whose answers are read, and played again."""

ALL_GEARS = "All gears"

_LOOKED_AT = "experiments-looked-at"


@dataclass(frozen=True, slots=True)
class Opened:
    """Which of the page's things of a kind is on view."""

    query: str
    """The query parameter that names it."""

    def id(self) -> str | None:
        """The one that was just begun, or that the address names; ``None`` for the list."""
        found = st.session_state.pop(self._next, None) or st.query_params.get(self.query)
        if not found:
            return None
        st.query_params[self.query] = found
        return str(found)

    def open(self, id: str) -> None:
        """Show one from the next script run on; called before the page is drawn again."""
        st.session_state[self._next] = id

    def close(self) -> None:
        """Show the list from now on; called before the page is drawn."""
        st.query_params.clear()

    @property
    def _next(self) -> str:
        return f"experiments-next-{self.query}"


AUTOPILOT = Opened("autopilot")
_EXPERIMENT = Opened(EXPERIMENT_QUERY)


def opened() -> str | None:
    """The id of the experiment on view; ``None`` for the list."""
    found = _EXPERIMENT.id()
    if found and st.session_state.get(_LOOKED_AT) not in (None, found):
        for key in (MARGIN, CATEGORIES, FLIP, REPLAYED):  # what another one was looked at with does not fit
            st.session_state.pop(key, None)
    if found:
        st.session_state[_LOOKED_AT] = found
    return found


def open_experiment(experiment_id: str) -> None:
    """Show an experiment from the next script run on; called before the page is drawn again."""
    _EXPERIMENT.open(experiment_id)


def close() -> None:
    """Show the list from now on; called before the page is drawn."""
    _EXPERIMENT.close()


def offered(precisions: Sequence[Precision]) -> dict[str, RunConfig]:
    """Configurations that an experiment can have, by name: installed models in each precision, servers'
    models, all gears, the Playground's lanes, and those saved.

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
    for name in resources.get_remote_models().names():
        found[name] = RunConfig(model=name, backend=Backend.REMOTE)
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
