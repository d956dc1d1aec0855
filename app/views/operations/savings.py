"""What all gears saved together against the large model alone, in time and money."""

from __future__ import annotations

import streamlit as st

from app import units
from app.costs.pricing import Machine, cost
from app.costs.savings import Savings
from app.literal import literal
from app.views.shared import charts


def show_savings(found: Savings | None, machine: Machine, currency: str) -> None:
    """A sentence, a chart and a table, gear by gear; what is missing where it cannot be told.

    Args:
        found: over the runs in view.
        machine: whose price is taken.
        currency: of that price.
    """
    st.subheader("Savings", anchor=False)
    if found is None or not found.runs:
        st.info(
            "What the gears saved is reckoned against the large model in 16 bits. No run in this time measured a model "
            "in 16 bits with no other gear on, undisturbed and with the engine to itself: one such run is enough."
        )
        return
    share = found.saved_s / found.alone_s if found.alone_s else 0.0
    money = units.money(abs(cost(machine.per_hour, found.saved_s)), currency)
    st.markdown(
        f"**{units.percent(abs(share))} {'less' if share >= 0 else 'more'} machine time** than always "
        f"{literal(found.large)} in 16 bits with nothing reused: {units.seconds(found.machine_s)} measured, "
        f"{units.seconds(found.alone_s)} derived. {money} {'saved' if share >= 0 else 'lost'} at "
        f"{literal(currency)}{machine.per_hour:g} an hour ({literal(machine.name)})."
    )
    bars = [charts.Bar("Always the large model, 16 bits", found.alone_s, units.seconds(found.alone_s))]
    bars += [charts.Bar(f"− {each.gear}", each.seconds, _signed(each.seconds)) for each in found.gears]
    bars.append(charts.Bar("As it ran", found.machine_s, units.seconds(found.machine_s)))
    charts.show(
        charts.horizontal_bars(bars, title="Machine time, and what each gear took off it", unit="s"), key="ops-savings"
    )
    column = st.column_config
    st.dataframe(
        {
            "gear": [str(each.gear) for each in found.gears],
            "measured": [each.measured_s for each in found.gears],
            "derived": [each.derived_s for each in found.gears],
            "money": [cost(machine.per_hour, each.seconds) for each in found.gears],
        },
        column_config={
            "gear": column.TextColumn("Gear"),
            "measured": column.NumberColumn("Saved, measured (s)", format="%.2f", help="Both ways were taken."),
            "derived": column.NumberColumn(
                "Saved, derived (s)",
                format="%.2f",
                help="From what reading and writing a token takes each model at each precision, as runs with no gear "
                "in the way measured it in this time. For shared passes: what these runs would have taken alone.",
            ),
            "money": column.NumberColumn(f"Saved ({currency})", format="%.4f", help="Derived: time × price."),
        },
        hide_index=True,
        alt="What each gear saved",
    )
    if found.left_out:
        kinds = ", ".join(f"{literal(name)} ({count:,})" for name, count in sorted(found.left_out.items()))
        st.caption(f"Left out, for nobody measured it with no gear in the way: {kinds} runs.")


def _signed(seconds: float) -> str:
    return units.seconds(seconds) if seconds >= 0 else f"lost {units.seconds(-seconds)}"
