"""What a day costs at a traffic, and how many machines it needs within a latency target."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from app.experiments.reporting.day import Day, day_rows, energy_note, energy_text, saving
from app.experiments.results.figures import Figures
from app.literal import literal
from app.session import experiments as session
from app.views.experiments.reckoning import stated_day


def show_day(before: Figures, after: Figures) -> Day:
    """A baseline's and a candidate's day, and what it is reckoned with; nothing is drawn where one was not timed."""
    day = stated_day()
    if before.alone is None or after.alone is None:
        return day
    st.subheader("A day", anchor=False)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        requests = st.number_input(
            "Requests a day",
            min_value=1,
            value=int(day.requests),
            step=1_000,
            key=session.TRAFFIC,
            persist_state="session",
            help="One in ten of them in the busiest hour.",
        )
        target_s = st.number_input(
            "Answered within, s",
            min_value=0.1,
            value=day.target_s,
            step=0.5,
            key=session.TARGET,
            persist_state="session",
            help="95 % of the requests of the busiest hour.",
        )
    day = replace(day, requests=requests, target_s=target_s)
    rows = day_rows((before, after), day)
    st.dataframe(
        {
            "Configuration": [row.name for row in rows],
            "Requests": [row.how for row in rows],
            "Batch size": [row.served.at_once for row in rows],
            "Answer, s": [row.served.e2e_s for row in rows],
            "Tokens/s": [row.served.tokens_per_s for row in rows],
            "A million tokens": [row.million_tokens for row in rows],
            "A day": [row.a_day for row in rows],
            "Machines": [row.machines for row in rows],
            "Energy, a run": [energy_text(row.energy) for row in rows],
            "Energy, 1 M tokens": [row.energy_million for row in rows],
            "Energy, a day": [row.energy_a_day for row in rows],
        },
        column_config={
            "Batch size": st.column_config.NumberColumn(format="%.1f", help="Requests answered at once, as measured."),
            "Answer, s": st.column_config.NumberColumn(format="%.2f", help="Mean E2E of one request."),
            "Tokens/s": st.column_config.NumberColumn(format="%.1f", help="Throughput over all answered at once."),
            "Energy, a run": st.column_config.TextColumn(help="Of one request, the machine always busy."),
            "Machines": st.column_config.TextColumn(help="Derived: Poisson arrivals, 10 % of the day in one hour."),
        },
        hide_index=True,
        alt="Cost of a day",
    )
    st.caption(
        literal(
            f"Derived at {day.currency}{day.per_hour:g} an hour (Playground, “Machine price”). "
            f"{saving(before, after, day)} {energy_note(rows)}"
        )
    )
    return day
