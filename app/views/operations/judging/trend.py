"""Scores by configuration and tier over the days, with intervals, and each judge's audit beside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from itertools import groupby

import plotly.graph_objects as go
import streamlit as st

from app import units
from app.experiments.judging.audit import Limits, State
from app.experiments.judging.opinions import judge_words
from app.literal import literal
from app.operations.judging.audit import audit
from app.operations.judging.trend import Mean, Stratum, by_day, overall
from app.store import RunStore, ScoreSums
from app.views.shared.charts import DASHES, LEGEND_BELOW, SYMBOLS, finish, plain, show
from app.views.shared.clock import reader_zone

_MOST_LINES = 6
_ICONS = {State.PASSED: "✓", State.FAILED: "✗", State.UNKNOWN: "?", State.NOTED: "–"}


def show_trend(sums: Sequence[ScoreSums]) -> None:
    """A chart a judge, and a table of all the time that is looked at."""
    means = overall(sums)
    if not means:
        st.info("No run of this time has a score yet.")
        return
    days = by_day(sums, reader_zone())
    for judge, strata in groupby(sorted(means, key=lambda each: each.judge), key=lambda each: each.judge):
        chosen = sorted(strata, key=lambda each: -means[each].count)
        shown = chosen[:_MOST_LINES]
        title = f"Mean score by {judge_words(judge)}"
        show(_chart({each: days[each] for each in shown}, title), key=f"judged-{judge.name}-{judge.weights_sha256[:8]}")
        if len(chosen) > len(shown):
            st.caption(f"The {len(shown)} with most scores of {len(chosen):,} configurations and tiers; all are below.")
    _show_means(means)


def _chart(lines: Mapping[Stratum, Mapping[date, Mean]], title: str) -> go.Figure:
    figure = go.Figure()
    for place, (stratum, days) in enumerate(lines.items()):
        means = list(days.values())
        figure.add_scatter(
            x=[datetime.combine(day, time(9 + place)) for day in days],  # side by side: intervals can be told apart
            y=[each.mean for each in means],
            name=plain(_name(stratum)),
            mode="lines+markers",
            marker={"size": 8, "symbol": SYMBOLS[place % len(SYMBOLS)]},
            line={"dash": DASHES[place % len(DASHES)]},
            error_y={
                "array": [(each.high or each.mean) - each.mean for each in means],
                "arrayminus": [each.mean - (each.mean if each.low is None else each.low) for each in means],
                "thickness": 1.5,
                "width": 4,
            },
            customdata=[_hover(each) for each in means],
            hovertemplate="%{x|%Y-%m-%d}: %{customdata}<extra>%{fullData.name}</extra>",
        )
    figure = finish(figure, title, x="Day on which the runs began", y="Score, 0 to 1", legend=len(lines) > 1)
    figure.update_layout(height=340, legend={**LEGEND_BELOW, "y": -0.3})
    figure.update_yaxes(range=[0, 1.02])
    figure.update_xaxes(tickformat="%b %-d")
    return figure


def _hover(mean: Mean) -> str:
    interval = "" if mean.low is None else f" ({mean.low:.2f} to {mean.high:.2f}, 95 %)"
    return f"{mean.mean:.2f}{interval}, {units.counted(mean.count, 'run')}"


def _name(stratum: Stratum) -> str:
    return f"{stratum.tier} · {stratum.config_hash[:6]}"


def _show_means(means: Mapping[Stratum, Mean]) -> None:
    column = st.column_config
    rows = list(means.items())
    st.dataframe(
        {
            "tier": [each.tier for each, _ in rows],
            "configuration": [each.config_hash for each, _ in rows],
            "judge": [judge_words(each.judge) for each, _ in rows],
            "mean": [mean.mean for _, mean in rows],
            "low": [mean.low for _, mean in rows],
            "high": [mean.high for _, mean in rows],
            "count": [mean.count for _, mean in rows],
        },
        column_config={
            "tier": column.TextColumn("Answered by", help="The model and its precision; of a cascade, the tier."),
            "configuration": column.TextColumn("Configuration"),
            "judge": column.TextColumn("Judge"),
            "mean": column.NumberColumn("Mean score", format="%.2f", help="0 to 1. No verdict is no score."),
            "low": column.NumberColumn("From", format="%.2f", help="Student's interval of the mean, 95 %."),
            "high": column.NumberColumn("To", format="%.2f"),
            "count": column.NumberColumn("Runs", format="%d"),
        },
        hide_index=True,
        placeholder=units.MISSING,
        alt="Mean scores",
    )


def show_audits(store: RunStore, sums: Sequence[ScoreSums], since: datetime | None) -> None:
    """Each judge's figures beside their limits: never its scores without them."""
    counts = store.judging.counts(since)
    for each in counts:
        found = audit(store.judging, each, [other for other in counts if other.judge != each.judge], sums)
        checks = [check for check in found.checks(Limits()) if check.name not in _IN_EXPERIMENTS]
        st.markdown(f"**Audit of {literal(judge_words(each.judge))}**")
        st.dataframe(
            {
                "": [_ICONS[check.state] for check in checks],
                "Figure": [check.name for check in checks],
                "Found": [check.value for check in checks],
                "Limit": [check.limit for check in checks],
                "On": [check.detail for check in checks],
            },
            hide_index=True,
            alt="The judge's audit",
        )
        concerns = [check.concern for check in checks if check.state is State.FAILED]
        if concerns:
            st.warning(f"It fails its audit: {literal('; '.join(concerns))}.", icon=":material/balance:")
        for caution in found.cautions:
            st.caption(f":orange[:material/warning:] {literal(caution)}")
        st.caption(f"Cost: {found.cost}.")


_IN_EXPERIMENTS = ("Swayed by order", "Longer answer preferred", "Agreement with checkers")
"""What traffic cannot tell of a judge."""
