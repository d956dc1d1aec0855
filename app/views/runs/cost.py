"""What the lanes' answers cost, many times over."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from app import units
from app.literal import literal
from app.runs.pricing import Costs
from engine.types import RunMetrics

_HOURS_A_DAY = 24


def show_costs(lanes: Mapping[str, RunMetrics | None], *, per_hour: float, currency: str, prompts_per_day: int) -> None:
    """A line a lane: 1,000 prompts, and a day of them, with the difference from the first. Nothing where a lane was not
    measured.

    Args:
        lanes: what each measured, by its name.
        per_hour: the machine's price.
        currency: of that price.
        prompts_per_day: the traffic.
    """
    found = {name: Costs.of(per_hour, m, prompts_per_day) for name, m in lanes.items() if m and m.completion_tokens}
    if len(found) < len(lanes):
        return
    first = next(iter(found.values()))
    lines = [
        f"| Cost | 1,000 prompts | a day of {prompts_per_day:,} |",
        "|---|---|---|",
        *(_line(name, each, None if each is first else first, currency) for name, each in found.items()),
    ]
    st.markdown("\n".join(lines), width="content")
    st.caption(
        f"Derived: E2E at {literal(currency)}{per_hour:g} an hour, one prompt like this after the other.",
        help="Waiting is left out. Price and traffic stand under 'Machine price'.",
    )
    for name, each in found.items():
        if each.hours_a_day > _HOURS_A_DAY:
            st.caption(
                f":material/dns: {name} takes {each.hours_a_day:,.1f} h for a day's prompts, one at a time: more than "
                "one machine."
            )


def _line(name: str, costs: Costs, first: Costs | None, currency: str) -> str:
    def amount(of: Costs, figure: float) -> str:
        difference = _difference(first.thousand, of.thousand) if first else ""
        return f"{literal(units.money(figure, currency))}{difference}"

    return f"| {name} | {amount(costs, costs.thousand)} | {literal(units.money(costs.day, currency))} |"


def _difference(first: float, other: float) -> str:
    """ ", 86 % less"; empty where there is nothing to compare, or no difference to tell."""
    if not first or abs(other / first - 1) < 0.005:
        return ""
    return f", {units.percent(abs(1 - other / first))} {'less' if other < first else 'more'}"
