"""The widget that chooses whose kind of runs a list or a figure covers: at first all but labs' and experiments'."""

from __future__ import annotations

import streamlit as st

from app.store import WITHOUT_LABS, Facets, RunSource
from app.views.runs.naming import source_label

_DEFAULT, _ALL = "without-labs", "all"
"""Values beside those of `RunSource`."""
_LABELS = {_DEFAULT: "Without labs and experiments", _ALL: "All"}


def sources_values(sources: tuple[RunSource | None, ...]) -> list[str]:
    """What stands in the address for some of them."""
    if sources in ((), WITHOUT_LABS):
        return [_DEFAULT if sources else _ALL]
    return [str(source) for source in sources if source]


def sources_of(value: str) -> tuple[RunSource | None, ...] | None:
    """The inverse, of one value; ``None`` where it means nothing."""
    if value in _LABELS:
        return () if value == _ALL else WITHOUT_LABS
    return (RunSource(value),) if value in set(RunSource) else None


def sources_words(sources: tuple[RunSource | None, ...]) -> str:
    """Some of them in words, after "runs"."""
    if sources in ((), WITHOUT_LABS):
        return "without labs and experiments" if sources else "from all sources"
    return f"from {' or '.join(map(source_label, sources))}"


def choose_sources(facets: Facets, *, key: str, all_first: bool = False) -> tuple[RunSource | None, ...]:
    """Which sources are meant, for `RunFilter.sources`. The choice stands in the page's address as ``key``, which no
    other page may use: a widget keeps its value on the way through other pages only if these do not draw it too.
    ``all_first`` begins with all of them, where runs that were made to be compared are what is looked for."""
    first = _ALL if all_first else _DEFAULT
    offered = (_DEFAULT, _ALL, *(str(source) for source in facets.sources))
    if st.session_state.get(key, first) not in offered:
        del st.session_state[key]
    chosen = st.segmented_control(
        "Runs of",
        offered,
        default=first,
        required=True,
        format_func=lambda choice: _LABELS.get(choice) or source_label(RunSource(choice)),
        key=key,
        help="Labs and experiments measure again and again, often beside other models, which makes their runs slower "
        "than those that people wait for.",
        bind="query-params",
        persist_state="session",
    )
    if chosen == _ALL:
        return ()
    return WITHOUT_LABS if chosen is None or chosen == _DEFAULT else (RunSource(chosen),)
