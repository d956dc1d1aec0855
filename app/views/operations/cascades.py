"""What cascades saved against their largest models alone, and whether their guards stand aside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from app import units
from app.cascade.words import guard_words, saved_text
from app.costs.pricing import Machine, cost
from app.store import CascadeSums


def show_cascades(
    sums: Sequence[CascadeSums], names: Mapping[str, str], machine: Machine, currency: str, *, of: int
) -> None:
    """Time, money and the share sent up over all of them, and a row a configuration; nothing without any.

    Args:
        sums: of each configuration, the most used first.
        names: what to call each, by its hash.
        machine: whose price is taken.
        currency: of that price.
        of: how many such runs there are, those of configurations that are used too seldom to be among these too.
    """
    if not sums:
        return
    st.subheader("Cascades", anchor=False)
    runs = sum(each.runs for each in sums)
    measured_s, derived_s = (
        sum(each.measured_saved_s for each in sums),
        sum(each.derived_saved_s for each in sums),
    )
    alone_s, saved_s = sum(each.alone_s for each in sums), measured_s + derived_s
    with st.grid(min_column_width=170, gap="medium"):
        _metric(
            "Time",
            saved_text(saved_s),
            f"{units.percent(abs(saved_s) / alone_s, 1)} of the large model's {units.seconds(alone_s)}"
            if alone_s
            else "",
            "Against what the largest model of each cascade alone would have taken: "
            f"{saved_text(measured_s)} where it answered, measured, and {saved_text(derived_s)} where a smaller one "
            "did, derived from what reading and writing a token takes the large one.",
        )
        _metric(
            "Money",
            f"{units.money(abs(cost(machine.per_hour, saved_s)), currency)} {'saved' if saved_s >= 0 else 'lost'}",
            f"at {currency}{machine.per_hour:g} an hour",
            f"Derived: that time on “{machine.name}”, the first machine of the price file.",
        )
        went_up = sum(each.went_up for each in sums)
        _metric(
            "Sent up",
            units.percent(went_up / runs),
            f"{units.count(went_up)} of {units.counted(runs, 'cascade run')}",
            "Answered by the largest model, whether a smaller one was tried before or not.",
        )
    column = st.column_config
    st.dataframe(
        {
            "configuration": [names.get(each.config_hash, each.config_hash) for each in sums],
            "runs": [each.runs for each in sums],
            "up": [100 * each.went_up / each.runs for each in sums],
            "saved": [100 * each.saved_s / each.alone_s if each.alone_s else None for each in sums],
            "guard": ["; ".join(map(guard_words, each.guards)) or "none" for each in sums],
            "measured": [each.measured_saved_s for each in sums],
            "derived": [each.derived_saved_s for each in sums],
        },
        column_config={
            "configuration": column.TextColumn("Configuration"),
            "runs": column.NumberColumn("Runs", format="%d"),
            "up": column.NumberColumn("Sent up (%)", format="%.0f"),
            "saved": column.NumberColumn(
                "Saved (%)", format="%.1f", help="Of what the largest model alone would have taken; below 0: lost."
            ),
            "measured": column.NumberColumn(
                "Saved, measured (s)", format="%.2f", help="Where the largest model answered: what the try cost."
            ),
            "derived": column.NumberColumn("Saved, derived (s)", format="%.2f", help="Where a smaller one answered."),
            "guard": column.TextColumn("Guard", help="As the latest of these runs met it."),
        },
        hide_index=True,
        placeholder=units.MISSING,
        alt="Cascades by configuration",
    )
    if of > runs:
        st.caption(f"Left out: {units.counted(of - runs, 'cascade run')} of configurations that are used less.")


def _metric(label: str, value: str, detail: str, help_text: str) -> None:
    st.metric(label, value, detail, delta_color="off", delta_arrow="off", help=help_text)
