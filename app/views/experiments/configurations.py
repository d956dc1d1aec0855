"""All configurations of an experiment in one table."""

from __future__ import annotations

import streamlit as st

from app import units
from app.experiments.planning.design import whole
from app.experiments.results.arrays import Bools, Measure, Results
from app.experiments.results.figures import figures_of
from app.literal import literal
from app.session.compare import of_configurations
from app.views.runs.naming import MAX_COMPARED

_MIB = 2**20


def show_configurations(results: Results, among: Bools) -> None:
    """A line each; the baseline is marked. While some have answered more than others, all are shown on the prompts that
    every one has come to."""
    by_all = results.answered_by(*range(len(results.names))) & among
    if by_all.any() and (by_all != among).any():
        st.caption(f"On the {units.counted(int(by_all.sum()), 'prompt')} that every configuration has answered so far.")
        among = by_all
    measures = results.measures
    measure = Measure.CHECKER if Measure.CHECKER in measures else next(iter(measures), None)
    rows = figures_of(results, measure, among)
    column = st.column_config
    st.dataframe(
        {
            "Configuration": [
                f"{each.name} (baseline)" if place == results.design.baseline else each.name
                for place, each in enumerate(rows)
            ],
            "Answered": [each.prompts for each in rows],
            "Failed": [each.failed for each in rows],
            "Score": [None if each.score is None else 100 * each.score for each in rows],
            "E2E p50": [each.e2e.p50 for each in rows],
            "E2E p95": [each.e2e.p95 for each in rows],
            "TTFT p50": [_ms(each.ttft.p50) for each in rows],
            "TPOT p50": [_ms(each.tpot.p50) for each in rows],
            "Throughput": [each.together.tokens_per_s if each.together else None for each in rows],
            "Batch": [each.together.at_once if each.together else None for each in rows],
            "Weights": [each.weights_bytes / _MIB if each.weights_bytes else None for each in rows],
            "Disturbed": [each.disturbed for each in rows],
        },
        column_config={
            "Configuration": column.TextColumn(pinned=True),
            "Score": column.NumberColumn(f"Score (%), {measure or 'none'}", format="%.1f"),
            "E2E p50": column.NumberColumn("E2E p50 (s)", format="%.2f", help="With the engine alone."),
            "E2E p95": column.NumberColumn("E2E p95 (s)", format="%.2f"),
            "TTFT p50": column.NumberColumn("TTFT p50 (ms)", format="%.0f"),
            "TPOT p50": column.NumberColumn("TPOT p50 (ms)", format="%.1f"),
            "Throughput": column.NumberColumn(
                "Throughput (tok/s)", format="%.1f", help="Of answers given several at once, all together."
            ),
            "Batch": column.NumberColumn("Batch size", format="%.1f", help="In the quality pass, mean."),
            "Weights": column.NumberColumn("Weights (MiB)", format="%.0f"),
            "Disturbed": column.NumberColumn(help="Prompts whose times are of disturbed runs alone."),
        },
        hide_index=True,
        placeholder=units.MISSING,
        alt="Configurations",
    )
    if measure is Measure.JUDGE and results.judged:
        st.caption(f":material/gavel: Scores are {literal(results.judged.judge)}'s. {literal(results.judged.audit)}")
    first = results.design.baseline
    in_order = sorted(range(len(rows)), key=lambda place: place != first)[:MAX_COMPARED]
    ids = [whole(results.design.configurations[place].config).hash for place in in_order]
    if len(rows) > 1:
        st.page_link(
            "pages/compare.py",
            label="Compare configurations",
            icon=":material/compare_arrows:",
            query_params=of_configurations(ids, results.kept.id),
            help="What each was set to, and all figures beside each other on the same prompts.",
        )
    st.page_link("pages/runs.py", label="Its runs", icon=":material/history:", query_params={"group": results.kept.id})


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000
