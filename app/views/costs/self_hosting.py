"""Machines of one's own against an API: in a sentence, in figures, over the traffic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
import streamlit as st

from app import units
from app.costs.capacity import requests_per_day
from app.costs.energy import estimated_energy
from app.costs.running import RunCost, Served, listed_cost, own_cost, savings_a_day
from app.costs.self_hosting import DAYS_A_MONTH, BreakEven, OwnMachines, api_monthly, break_even
from app.literal import literal
from app.remote.prices import ListPrice
from app.session import self_hosting as session
from app.store import AnswerSpeed
from app.views.costs.inputs import served, speed_name
from app.views.shared import charts

_PERCENT = 0.01
_MOST_STEPS_DRAWN = 200
_FARTHEST = 8.0  # times the stated traffic, to which the chart goes for a crossing
_MILLION = 1_000_000
_CROSSINGS = ((True, "from here your own are cheaper", "circle"), (False, "from here the API is cheaper", "x"))


@dataclass(frozen=True, slots=True)
class Plan:
    """What is compared, at the traffic that the user states."""

    traffic: float
    """Requests a day."""
    own: OwnMachines
    api: RunCost
    even: BreakEven
    currency: str

    @property
    def own_monthly(self) -> float:
        """At that traffic."""
        return self.own.monthly(self.traffic)

    @property
    def api_monthly(self) -> float:
        """At that traffic."""
        return api_monthly(self.api.request, self.traffic)


def plan_of(speed: AnswerSpeed, currency: str) -> Plan | None:
    """What the session's figures say; ``None`` where the latency target is met by no number of machines.

    Raises:
        CostsError: a figure cannot be; it says which.
    """
    measured = served(speed)
    share = session.PEAK_PERCENT.value * _PERCENT
    each = requests_per_day(measured, session.TARGET_S.value, share)
    if not each:
        return None
    own = OwnMachines(
        requests_per_day=each,
        machine_s=measured.machine_s,
        per_hour=session.PER_HOUR.value,
        hours_a_day=session.HOURS_A_DAY.value,
        idle_watts=session.IDLE_WATTS.value,
        busy_watts=session.BUSY_WATTS.value,
        per_kwh=session.PER_KWH.value,
        upkeep_hours=session.UPKEEP_HOURS.value,
        wage=session.WAGE.value,
        upgrades=session.UPGRADES.value,
    )
    price = ListPrice(session.API_INPUT.value, session.API_OUTPUT.value)
    api = listed_cost(price, measured.prompt_tokens, measured.completion_tokens)
    return Plan(session.TRAFFIC.value, own, api, break_even(own, api.request), currency)


def verdict(plan: Plan) -> str:
    """The answer in a sentence or two, as plain text."""
    traffic = f"At {plan.traffic:,.0f} requests a day"
    own, api = (units.money(amount, plan.currency) for amount in (plan.own_monthly, plan.api_monthly))
    apart = units.money(abs(plan.own_monthly - plan.api_monthly), plan.currency)
    machines = units.counted(plan.own.machines(plan.traffic), "machine")
    if plan.own_monthly < plan.api_monthly:
        now = f"{traffic} your own {machines} cost {apart} a month less than the API: {own} against {api}."
    else:
        now = f"{traffic} the API costs {apart} a month less than your own {machines}: {api} against {own}."
    first = plan.even.first
    if first is None or plan.even.for_good is None:
        return f"{now} At these prices the API stays cheaper at any traffic."
    begin, for_good = f"{first.requests_per_day:,.0f}", f"{plan.even.for_good:,.0f}"
    if begin == for_good:
        return f"{now} Your own are cheaper from {begin} requests a day on."
    return f"{now} Your own can be cheaper from {begin} requests a day on, and always are from {for_good}."


def show_plan(plan: Plan) -> None:
    """The answer in words, the figures at the stated traffic, and the chart."""
    st.markdown(f"**{literal(verdict(plan))}**")
    own = RunCost(plan.own_monthly / DAYS_A_MONTH / plan.traffic if plan.traffic else 0.0, 0.0)
    saved = savings_a_day(plan.api, own, plan.traffic)
    energy = plan.own.energy_a_day(plan.traffic)
    with st.grid(min_column_width=215, gap="medium"):
        _metric(
            "Machines needed",
            units.count(plan.own.machines(plan.traffic)),
            f"each takes {plan.own.requests_per_day:,.0f} requests a day",
            help="Derived: for the busiest hour, 95 % of requests within the latency target, requests coming at random "
            "(Erlang C), each machine answering as many at once as when it was measured.",
        )
        _metric(
            "Own machines, a month",
            units.money(plan.own_monthly, plan.currency),
            f"{units.money(plan.own.fixed, plan.currency)} of it without any machine",
            help="Derived: machine hours, busy or idle, power, upkeep and upgrades.",
        )
        _metric(
            "API, a month",
            units.money(plan.api_monthly, plan.currency),
            f"{units.money(plan.api.million_tokens, plan.currency)} per 1 M answer tokens",
            help="Derived: the list prices that you entered, for requests as long as those measured, prompts included.",
        )
        _metric(
            "Saved a day by your own",
            units.money(saved, plan.currency),
            f"{units.money(365 * saved, plan.currency)} a year",
            help="Derived: what the API costs a day beyond your own machines.",
        )
        if plan.own.busy_watts:
            _metric(
                "Energy a day",
                units.energy(energy.joules),
                "estimated",
                help=f"Of all machines, {energy.provenance}.",
            )
    charts.show(monthly_chart(plan), key="costs-monthly")


def monthly_chart(plan: Plan) -> go.Figure:
    """Monthly cost over requests a day: a step for each machine, a line for the API, a mark at each crossing."""
    end = _end(plan)
    x = _steps(plan.own, end)
    own = [plan.own.monthly(traffic) for traffic in x]
    money = plan.currency
    figure = go.Figure()
    figure.add_scatter(
        x=x,
        y=own,
        name="own machines",
        mode="lines",
        line={"dash": charts.DASHES[0]},
        customdata=[units.counted(plan.own.machines(traffic), "machine") for traffic in x],
        hovertemplate=f"%{{x:,.0f}} requests a day: {charts.plain(money)}%{{y:,.2f}} a month, %{{customdata}}"
        "<extra>own machines</extra>",
    )
    figure.add_scatter(
        x=[0.0, end],
        y=[0.0, api_monthly(plan.api.request, end)],
        name="API",
        mode="lines",
        line={"dash": charts.DASHES[1]},
        hovertemplate=f"%{{x:,.0f}} requests a day: {charts.plain(money)}%{{y:,.2f}} a month<extra>API</extra>",
    )
    for cheaper, name, symbol in _CROSSINGS:
        crossed = [
            crossing.requests_per_day
            for crossing in plan.even.crossings
            if crossing.own_is_cheaper is cheaper and crossing.requests_per_day <= end
        ]
        if crossed:
            figure.add_scatter(
                x=crossed,
                y=[api_monthly(plan.api.request, traffic) for traffic in crossed],
                name=name,
                mode="markers",
                marker={"size": 11, "symbol": symbol},
                hovertemplate=f"%{{x:,.0f}} requests a day: {charts.plain(money)}%{{y:,.2f}} a month"
                f"<extra>{name}</extra>",
            )
    figure.add_vline(
        x=plan.traffic,
        line={"dash": "dot", "width": 1, "color": "gray"},
        annotation={"text": "your traffic", "showarrow": False, "yanchor": "bottom"},
    )
    figure = charts.finish(figure, "Cost a month over traffic", x="Requests a day", y=f"{money} a month")
    figure.update_layout(height=420, legend={**charts.LEGEND_BELOW, "y": -0.25})
    figure.update_xaxes(range=[0, end])
    return figure


def show_prices_of_tokens(speeds: Sequence[AnswerSpeed], api: RunCost, currency: str) -> None:
    """What a million tokens cost with each configuration measured here, a machine always busy, and at the API."""
    per_hour, watts = session.PER_HOUR.value, session.BUSY_WATTS.value
    measured = [served(speed) for speed in speeds]
    costs = [own_cost(per_hour, each) for each in measured]
    names = [*(speed_name(speed) for speed in speeds), "API, by its list price"]
    table: dict[str, list[str]] = {
        "Configuration": names,
        "Throughput": [*(units.rate(each.tokens_per_s) for each in measured), units.MISSING],
        "1 M answer tokens": [units.money(each.million_tokens, currency) for each in (*costs, api)],
        "1,000 requests": [units.money(1_000 * each.request, currency) for each in (*costs, api)],
    }
    if watts:
        table["Energy of 1 M tokens, estimated"] = [*(_energy_of(watts, each) for each in measured), units.MISSING]
    st.dataframe(table, hide_index=True, alt="What a million tokens cost")
    st.caption(
        f"Derived: {literal(currency)}{per_hour:g} per hour × the measured time that a request takes of the machine, "
        "which is always busy. Prompts are in the price. Idle hours, upkeep and upgrades are not; they are above."
    )


def _energy_of(watts: float, measured: Served) -> str:
    return units.energy(estimated_energy(watts, _MILLION / measured.tokens_per_s).joules)


def _end(plan: Plan) -> float:
    """How far the chart goes: beyond the stated traffic, and beyond the crossings if they are near."""
    end = 2 * plan.traffic or plan.own.requests_per_day
    wanted = [
        traffic for traffic in (plan.even.first and plan.even.first.requests_per_day, plan.even.for_good) if traffic
    ]
    return max([end, *(1.25 * traffic for traffic in wanted if traffic <= _FARTHEST * end)])


def _steps(own: OwnMachines, end: float) -> list[float]:
    """The traffic at which the line of costs bends: just before and after each step, or evenly where those are many."""
    count = own.machines(end)
    if count > _MOST_STEPS_DRAWN:
        return [end * place / _MOST_STEPS_DRAWN for place in range(_MOST_STEPS_DRAWN + 1)]
    edges = [own.requests_per_day * machines for machines in range(1, count)]
    return [0.0, *(traffic for edge in edges for traffic in (edge, edge * (1 + 1e-9))), end]


def _metric(label: str, value: str, detail: str, *, help: str) -> None:
    st.metric(label, value, detail, delta_color="off", delta_arrow="off", help=help)
