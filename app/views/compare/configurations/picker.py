"""The widgets that choose which configurations are compared, and by which runs."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, replace

import streamlit as st

from app.experiments.comparing.configurations import WholeConfiguration, named_by, whole_configurations
from app.session import compare as session
from app.store import Configuration, GoneError, RunFilter, RunSource, RunStore
from app.units import counted
from app.views.runs.naming import MAX_COMPARED, configuration_names
from app.views.runs.sources import choose_sources
from app.views.shared.clock import TimeRange, now

_PICKER = "compare-configurations-picker"


@dataclass(frozen=True, slots=True)
class Picked:
    """What is to be compared."""

    configurations: tuple[WholeConfiguration, ...]
    names: tuple[str, ...]
    """Of each."""
    filter: RunFilter
    """Which of their runs."""

    @property
    def which(self) -> Hashable:
        """The same for the same runs: told by how many they are and by the latest, for the moment since when they count
        goes on with the clock."""
        runs = tuple((each.id, each.runs, each.latest) for each in self.configurations)
        return runs, self.filter.group_id, self.filter.sources

    @property
    def of_chosen(self) -> RunFilter:
        """Those of the chosen ones alone."""
        return replace(
            self.filter, config_hashes=tuple(hash for each in self.configurations for hash in each.most_tokens)
        )

    @property
    def experiment(self) -> str | None:
        """The one whose runs they are; ``None`` where others count too."""
        return self.filter.group_id


def pick_configurations(store: RunStore) -> Picked:
    """Choose runs, and among their configurations some; all of it stands in the page's address."""
    filter = _choose_runs(store)
    offered = {each.id: each for each in whole_configurations(store.used_configurations(filter))}
    names = configuration_names([_as_listed(each) for each in offered.values()])
    wanted = [id for id in st.query_params.get(session.CONFIGURATIONS_QUERY, "").split(",") if id]
    named = named_by(offered.values(), wanted)
    for each in named.values():
        if each is None:
            st.warning("A configuration of this link has no runs among these.", icon=":material/search_off:")
    chosen = tuple(each for each in named.values() if each)[:MAX_COMPARED]
    # The address is the truth: whatever the picker held before gives way to it.
    st.session_state[_PICKER] = [each.id for each in chosen]
    st.multiselect(
        "Configurations",
        list(offered),
        format_func=lambda id: f"{names[id]} · {counted(offered[id].runs, 'run')}",
        max_selections=MAX_COMPARED,
        placeholder=f"Choose 2 to {MAX_COMPARED} configurations",
        help="How long answers may be, and seeds, tell no configurations apart: prompts say the one, draws the other.",
        key=_PICKER,
        on_change=lambda: _compare(st.session_state[_PICKER]),
    )
    return Picked(chosen, tuple(names[each.id] for each in chosen), filter)


def _choose_runs(store: RunStore) -> RunFilter:
    experiments = {session.ALL_RUNS: "All runs", **{each.id: each.name for each in store.experiments.all()}}
    experiments |= _named_in_address(store, experiments.keys())
    if st.query_params.get(session.EXPERIMENT.parameter, session.ALL_RUNS) not in experiments:
        st.warning(
            "The experiment of this link is not here: it was deleted, or is somebody else's.",
            icon=":material/search_off:",
        )
    session.EXPERIMENT.prepare(experiments)
    session.PERIOD.prepare(list(TimeRange), TimeRange.ALL)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        experiment = st.selectbox(
            "By the runs of",
            list(experiments),
            format_func=lambda id: experiments[id],
            key=session.EXPERIMENT.key,
            persist_state="session",
        )
        period = st.selectbox(
            "Started",
            list(TimeRange),
            format_func=lambda choice: TimeRange(choice).label,
            key=session.PERIOD.key,
            width=180,
            persist_state="session",
        )
        sources: tuple[RunSource | None, ...] = ()
        if experiment == session.ALL_RUNS:
            sources = choose_sources(store.facets(), key="compare-runs-of", all_first=True)
    session.EXPERIMENT.into_address()
    session.PERIOD.into_address()
    return RunFilter(
        group_id=None if experiment == session.ALL_RUNS else experiment,
        since=TimeRange(period or TimeRange.ALL).since(now()),
        sources=sources,
    )


def _named_in_address(store: RunStore, listed: Collection[str]) -> dict[str, str]:
    """An experiment that no list has, as those of autopilots, by its id."""
    id = st.query_params.get(session.EXPERIMENT.parameter)
    if not id or id in listed:
        return {}
    try:
        return {id: store.experiments.get(id).name}
    except GoneError:
        return {}


def _as_listed(each: WholeConfiguration) -> Configuration:
    config = each.config
    return Configuration(
        config_hash=each.id,
        model=config.model,
        backend=config.backend,
        precision=config.precision,
        gears=config.optimization,
    )


def _compare(ids: Sequence[str]) -> None:
    if ids:
        st.query_params[session.CONFIGURATIONS_QUERY] = ",".join(ids)
    else:
        st.query_params.pop(session.CONFIGURATIONS_QUERY, None)
