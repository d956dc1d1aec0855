"""What the lanes' answers cost, many times over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

import streamlit as st

from app import units
from app.costs.runs import Costs
from app.literal import literal

_HOURS_A_DAY = 24


def show_costs(
    lanes: Mapping[str, Sequence[Costs]],
    *,
    per_hour: float,
    currency: str,
    prompts_per_day: int,
    has_list_prices: bool = False,
) -> None:
    """A row a lane: 1,000 prompts, and a day of them, with the difference from the first; medians of the rounds.

    Args:
        lanes: what the rounds of each would cost, by its name.
        per_hour: the machine's price.
        currency: of that price.
        prompts_per_day: the traffic.
        has_list_prices: whether a server took part, whose tokens cost what its list says.
    """
    thousand = [median(each.thousand for each in rounds) for rounds in lanes.values()]
    day = [median(each.day for each in rounds) for rounds in lanes.values()]
    st.dataframe(
        {
            "Cost": list(lanes),
            "1,000 prompts": [units.money(amount, currency) for amount in thousand],
            f"A day of {prompts_per_day:,}": [units.money(amount, currency) for amount in day],
            f"Against {next(iter(lanes))}": [units.MISSING, *(_difference(thousand[0], each) for each in thousand[1:])],
        },
        hide_index=True,
        width="content",
        alt="What the answers of the lanes cost",
    )
    listed = " Servers: their tokens at their list prices." if has_list_prices else ""
    st.caption(
        f"Derived: E2E at {literal(currency)}{per_hour:g} an hour, one prompt like this after the other.{listed}",
        help="Waiting is left out. Price and traffic stand under 'Machine price'.",
    )
    for name, rounds in lanes.items():
        if (hours := median(each.hours_a_day for each in rounds)) > _HOURS_A_DAY:
            st.caption(
                f":material/dns: {name} takes {hours:,.1f} h for a day's prompts, one at a time: more than one machine."
            )


def _difference(first: float, other: float) -> str:
    """ "86 % less"; "the same" where there is no difference to tell."""
    if not first or abs(other / first - 1) < 0.005:
        return "the same"
    return f"{units.percent(abs(1 - other / first))} {'less' if other < first else 'more'}"
