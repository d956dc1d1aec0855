"""What costs are reckoned from: which figures measured here, the traffic, the prices."""

from __future__ import annotations

from collections.abc import Sequence
from time import sleep

import streamlit as st

from app import units
from app.costs.energy import EnergyMeter, find_counters
from app.costs.pricing import Machine, Prices
from app.costs.running import Served
from app.literal import literal
from app.session import self_hosting as session
from app.store import AnswerSpeed

_WATCHED_S = 1.0


def served(speed: AnswerSpeed) -> Served:
    """Measured figures as costs are reckoned from them."""
    return Served(
        prompt_tokens=speed.prompt_tokens,
        completion_tokens=speed.completion_tokens,
        e2e_s=speed.e2e_s,
        at_once=speed.mean_batch_size,
    )


def speed_name(speed: AnswerSpeed) -> str:
    """ "smollm2-135m · int4, 4.2 at once"."""
    how = "alone" if speed.mean_batch_size == 1 else f"{units.mean(speed.mean_batch_size)} at once"
    return f"{speed.model} · {speed.precision}, {how}"


def choose_speed(speeds: Sequence[AnswerSpeed]) -> AnswerSpeed:
    """Which of the configurations measured here is meant. There is at least one."""
    named = {f"{speed.model} {speed.precision} {speed.mean_batch_size > 1}": speed for speed in speeds}
    session.SPEED.prepare(named)
    name = st.selectbox(
        "Measured here",
        list(named),
        format_func=lambda name: f"{speed_name(named[name])}: {units.rate(served(named[name]).tokens_per_s)}",
        key=session.SPEED.key,
        persist_state="session",
        help="Medians of the latest finished runs on this machine, disturbed ones left out. Tokens of answers a second "
        "over all requests at once, reading their prompts included; waiting is not.",
    )
    speed = named[name]
    st.caption(
        f"Of {units.counted(speed.runs, 'run')}: {units.counted(speed.prompt_tokens, 'prompt token')}, "
        f"{units.counted(speed.completion_tokens, 'answer token')}, {units.seconds(speed.e2e_s)} an answer. "
        "All requests are taken to be like these."
    )
    return speed


def enter_figures(prices: Prices) -> None:
    """The traffic and the prices, with what is usually forgotten folded away."""
    currency = literal(prices.currency)
    with st.grid(min_column_width=200):
        _number("Requests a day", session.TRAFFIC, step=1_000, help="On average, every day of the month.")
        _number(
            "Busiest hour, % of a day",
            session.PEAK_PERCENT,
            step=1.0,
            help="Machines are counted for this hour. 4.2 % is a day on which all hours are alike.",
        )
        _number(
            "Latency target, s",
            session.TARGET_S,
            step=1.0,
            help="95 % of requests get their whole answer within this time, waiting included.",
        )
        _number(
            f"API, {currency} for 1 M input tokens",
            session.API_INPUT,
            step=0.05,
            help="From the price list of the API that you compare with. An assumption until you put it in.",
        )
        _number(
            f"API, {currency} for 1 M output tokens",
            session.API_OUTPUT,
            step=0.05,
            help="From the price list of the API that you compare with. An assumption until you put it in.",
        )
        _choose_machine(prices)
        _number(
            f"Machine, {currency} per hour",
            session.PER_HOUR,
            step=0.01,
            help="Rent, or the purchase price over the hours that it will be used. An assumption until you put it in.",
        )
    with st.expander("Hidden costs: idle hours, power, upkeep, upgrades", icon=":material/visibility:"):
        with st.grid(min_column_width=200):
            _number(
                "Hours a day paid for",
                session.HOURS_A_DAY,
                step=1.0,
                help="Idle hours are paid like busy ones. 24 unless machines are switched off at night.",
            )
            _number(
                "Power while idle, W",
                session.IDLE_WATTS,
                step=10.0,
                help="Of one machine. 0 where its price includes power.",
            )
            _number("Power while busy, W", session.BUSY_WATTS, step=10.0, help="Of one machine, at least the idle one.")
            _number(f"Electricity, {currency} per kWh", session.PER_KWH, step=0.05)
            _number("Upkeep, hours a month", session.UPKEEP_HOURS, step=1.0, help="Of people, for all machines.")
            _number(f"Upkeep, {currency} per hour", session.WAGE, step=10.0, help="Wage, with what comes on top of it.")
            _number(
                f"Upgrades, {currency} a month",
                session.UPGRADES,
                step=10.0,
                help="New hardware, new models, their evaluation: for all machines together.",
            )
        _measure_power()


def _choose_machine(prices: Prices) -> None:
    st.selectbox(
        "Machine",
        prices.machines,
        format_func=lambda machine: machine.name,
        key=session.MACHINE,
        on_change=_use_machine,
        persist_state="session",
        help="From data/prices.toml. It sets the price per hour.",
    )


def _use_machine() -> None:
    machine: Machine = st.session_state[session.MACHINE]
    session.set_per_hour(machine.per_hour)


def _measure_power() -> None:
    """What this machine uses right now, where it counts its energy."""
    counters = find_counters()
    if not counters:
        st.caption("This machine does not tell how much energy it uses: energy is estimated from these figures.")
        return
    if st.button("Measure this machine's power now", icon=":material/bolt:", key="costs-measure-power"):
        meter = EnergyMeter(counters)
        sleep(_WATCHED_S)
        found = meter.end()
        st.caption(f"{found.joules / _WATCHED_S:.3g} W over {_WATCHED_S:g} s, {found.provenance}.")


def _number(label: str, figure: session.Figure, *, step: float, help: str | None = None) -> None:
    kind = int if figure.whole else float
    st.number_input(
        label,
        min_value=kind(figure.least),
        max_value=kind(figure.most),
        step=kind(step),
        format="%d" if figure.whole else "%.4g",
        key=figure.key,
        persist_state="session",
        help=help,
    )
