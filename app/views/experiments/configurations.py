"""All configurations of an experiment in one table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import streamlit as st

from app import units
from app.experiments.planning.design import whole
from app.experiments.reporting.day import day_rows, energy_note, energy_text
from app.experiments.results.arrays import Bools, Floats, Measure, Results
from app.experiments.results.divergence import UNIT, Kld
from app.experiments.results.figures import Figures, figures_of
from app.literal import literal
from app.session.compare import of_configurations
from app.views.experiments.reckoning import stated_day
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
    rows, day = figures_of(results, measure, among), stated_day()
    alone = [next(iter(day_rows([each], day)), None) if each.alone else None for each in rows]
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
            **_likeness(results, among, rows, measure),
            "E2E p50": [each.e2e.p50 for each in rows],
            "E2E p95": [each.e2e.p95 for each in rows],
            "TTFT p50": [_ms(each.ttft.p50) for each in rows],
            "TPOT p50": [_ms(each.tpot.p50) for each in rows],
            "Throughput": [each.together.tokens_per_s if each.together else None for each in rows],
            "Batch": [each.together.at_once if each.together else None for each in rows],
            "Weights": [each.weights_bytes / _MIB if each.weights_bytes else None for each in rows],
            "Cost": [each and each.million_tokens for each in alone],
            "Energy": [each and energy_text(each.energy) for each in alone],
            "Energy 1 M": [each and each.energy_million for each in alone],
            "Disturbed": [each.disturbed for each in rows],
        },
        column_config={
            "Configuration": column.TextColumn(pinned=True),
            "Score": column.NumberColumn(f"Score (%), {measure or 'none'}", format="%.1f"),
            "Same text": column.NumberColumn(
                "Same text (%)", format="%.0f", help="Answers without a checker that are the baseline's word for word."
            ),
            "Word F1": column.NumberColumn("Word F1 (%)", format="%.0f", help="With the baseline's answers, mean."),
            "KLD": column.NumberColumn(
                f"KLD from 16 bits ({UNIT})",
                format="%.4f",
                help="Mean over the tokens of the baseline's answers: how alike the models are, not how good.",
            ),
            "E2E p50": column.NumberColumn("E2E p50 (s)", format="%.2f", help="With the engine alone."),
            "E2E p95": column.NumberColumn("E2E p95 (s)", format="%.2f"),
            "TTFT p50": column.NumberColumn("TTFT p50 (ms)", format="%.0f"),
            "TPOT p50": column.NumberColumn("TPOT p50 (ms)", format="%.1f"),
            "Throughput": column.NumberColumn(
                "Throughput (tok/s)", format="%.1f", help="Of answers given several at once, all together."
            ),
            "Batch": column.NumberColumn("Batch size", format="%.1f", help="In the quality pass, mean."),
            "Weights": column.NumberColumn("Weights (MiB)", format="%.0f"),
            "Cost": column.TextColumn("Cost of 1 M tokens", help="Derived, one request after the other."),
            "Energy": column.TextColumn("Energy a run", help="With the engine alone."),
            "Energy 1 M": column.TextColumn("Energy of 1 M tokens"),
            "Disturbed": column.NumberColumn(help="Prompts whose times are of disturbed runs alone."),
        },
        hide_index=True,
        placeholder=units.MISSING,
        alt="Configurations",
    )
    if measure is Measure.JUDGE and results.judged:
        st.caption(f":material/gavel: Scores are {literal(results.judged.judge)}'s. {literal(results.judged.audit)}")
    said = [f"No KLD: {why}" for why in dict.fromkeys(_no_kld(results, rows))]
    said.append(f"Cost at {day.currency}{day.per_hour:g} an hour. {energy_note([each for each in alone if each])}")
    st.caption(literal(" ".join(said)))
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


def _likeness(
    results: Results, among: Bools, rows: Sequence[Figures], score: Measure | None
) -> dict[str, list[float | None]]:
    """What answers and models have in common with the baseline's; without columns that nothing was measured of, and
    without what is the score already."""
    found = {
        title: [_percent(results.scores(measure)[place][among]) for place in range(len(rows))]
        for title, measure in (("Same text", Measure.SAME_TEXT), ("Word F1", Measure.WORD_F1))
        if measure is not score
    }
    found["KLD"] = [each.kld.mean if isinstance(each.kld, Kld) else None for each in rows]
    return {title: values for title, values in found.items() if any(value is not None for value in values)}


def _no_kld(results: Results, rows: Sequence[Figures]) -> Iterator[str]:
    """Why candidates have none, where one was expected."""
    for place, each in enumerate(rows):
        if place != results.design.baseline and isinstance(each.kld, str):
            yield each.kld


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000


def _percent(values: Floats) -> float | None:
    return 100 * float(np.nanmean(values)) if np.isfinite(values).any() else None
