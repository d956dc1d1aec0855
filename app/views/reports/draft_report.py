"""How speculative decoding went in one run: the coloured answer, its figures, its time, the controller's notes."""

from __future__ import annotations

import streamlit as st

from app import units
from app.speculation.drafters import reported_name
from app.store import Timeline
from app.views.reports.draft_stream import show_draft_stream
from app.views.reports.metrics import ACCEPTANCE_LENGTH, ACCEPTANCE_RATE
from app.views.reports.speculation_charts import acceptance_by_position, by_position, stacked_bar, time_split
from app.views.shared import charts
from engine.types import ControllerNote, RunMetrics, SpeculationReport


def show_draft_report(timeline: Timeline, report: SpeculationReport, metrics: RunMetrics, *, key: str) -> None:
    """All of it."""
    show_draft_stream(timeline, report, key=f"{key}-stream")
    with st.container(horizontal=True, gap="medium"):
        for metric in (ACCEPTANCE_RATE, ACCEPTANCE_LENGTH):
            st.metric(metric.label, metric.text(metrics), help=metric.help, width="content")
        st.metric(
            "Tokens a pass",
            units.tokens(tokens_per_pass(metrics)),
            help="Tokens of the answer for each pass of the model: all / (all − accepted). Plain decoding gives 1.",
            width="content",
        )
        st.metric(
            "Drafts",
            units.count(len(report.rounds)),
            help=f"And {units.counted(report.plain_steps, 'plain step')} without one.",
            width="content",
        )
    with st.grid(2, min_column_width=360):
        if report.rounds:
            charts.show(acceptance_by_position(by_position(report)), key=f"{key}-positions")
        split = stacked_bar(time_split(report, metrics), title="Time after the first token, ms")
        charts.show(split, key=f"{key}-time")
    if report.notes:
        st.caption("Where the controller changed its mind")
        _show_notes(report.notes)


def tokens_per_pass(metrics: RunMetrics) -> float | None:
    """Answer tokens / passes of the model; ``None`` for an empty answer."""
    passes = metrics.completion_tokens - metrics.accepted_tokens
    return metrics.completion_tokens / passes if passes else None


def _show_notes(notes: tuple[ControllerNote, ...]) -> None:
    column = st.column_config
    st.dataframe(
        {
            "Token": [note.at + 1 for note in notes],
            "Drafter": [reported_name(note.drafter) for note in notes],
            "Drafts": [note.kind for note in notes],
            "Now": [note.state for note in notes],
            "Expected acceptance": [units.percent(note.acceptance) for note in notes],
            "Expected speed-up": [units.ratio(note.speedup) for note in notes],
        },
        hide_index=True,
        width="content",
        column_config={"Token": column.NumberColumn(help="Of the answer.", format="%d")},
        alt="The controller's notes",
    )
