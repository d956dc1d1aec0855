"""Which runs an objective or a rule is about."""

from __future__ import annotations

import streamlit as st

from app.store import Facets, RunSource, Scope
from app.views.runs.naming import configuration_names, source_label

_ANY = "All"


def choose_scope(facets: Facets, scope: Scope, *, key: str) -> Scope:
    """A choice of model, source and configuration, each of which may be left open.

    Args:
        facets: what there is.
        scope: as it is now. What it names stays on offer, whatever there is.
        key: what the widgets' keys begin with.
    """
    names = configuration_names(facets.configurations)
    models = _with(facets.models, scope.model)
    sources = _with(facets.sources, scope.source)
    hashes = _with(tuple(names), scope.config_hash)
    first, second = st.columns(2)
    model = first.selectbox("Model", models, index=_place(models, scope.model), placeholder=_ANY, key=f"{key}-model")
    source = second.selectbox(
        "Asked for in",
        sources,
        index=_place(sources, scope.source),
        format_func=lambda each: source_label(RunSource(each)),
        placeholder="All but labs and experiments",
        key=f"{key}-source",
    )
    config_hash = st.selectbox(
        "Configuration",
        hashes,
        index=_place(hashes, scope.config_hash),
        format_func=lambda each: names.get(each, each[:6]),
        placeholder=_ANY,
        key=f"{key}-configuration",
    )
    return Scope(model=model, source=RunSource(source) if source else None, config_hash=config_hash)


def _with(offered: tuple[str, ...] | tuple[RunSource, ...], kept: str | None) -> list[str]:
    found: list[str] = [str(each) for each in offered]
    return [*found, kept] if kept is not None and kept not in found else found


def _place(offered: list[str], kept: str | None) -> int | None:
    return None if kept is None else offered.index(kept)
