"""Who judges, how much of the traffic, and what it may take."""

from __future__ import annotations

from datetime import UTC, datetime

import streamlit as st

from app import resources, units
from app.costs.pricing import load_prices, prices_path
from app.experiments.judging.judge import LONGEST_MODEL
from app.literal import literal
from app.operations.judging.duty import JOB
from app.operations.judging.options import MOST_CALLS, Judged, JudgingOptions
from app.operations.judging.running import DAY
from app.store import RunStore
from app.views.gears.models import answering
from app.views.shared.background_job import BackgroundJob
from app.views.shared.errors import errors_shown
from engine import list_models
from engine.types import PRECISIONS, Precision, is_remote

_KEY = "live-judging"
_NOBODY, _SERVER = "Nobody", "A model of the server"
_PRICE_HELP = "0 where it is free. A server's model that was added costs its list price, where it has one."


def show_state(store: RunStore, options: JudgingOptions) -> None:
    """Whether it is on, what the last 24 hours took, and how far it is while it runs."""
    calls, money = store.judging.spent(datetime.now(UTC) - DAY)
    under_way = store.judging.under_way
    with st.container(horizontal=True, vertical_alignment="center"):
        if options.on:
            st.badge("On", icon=":material/balance:", color="green")
        else:
            st.badge("Off", icon=":material/power_settings_new:", color="gray")
        names = " and ".join(map(str, options.judges)) or "no judge chosen"
        st.caption(
            f"{literal(names)} · {units.percent(options.share)} of the runs, of each configuration and tier · "
            f"last 24 hours: {calls:,} of {options.calls_a_day:,} questions, "
            f"{units.money(money, _currency())} of {units.money(options.money_a_day, _currency())}".replace("$", r"\$"),
            width="content",
        )
    if options.on and (calls >= options.calls_a_day or money >= options.money_a_day):
        st.warning("The budget of these 24 hours is spent: judging goes on once it is less.", icon=":material/savings:")
    job = BackgroundJob(JOB, title="Judging live traffic", when_cancelled="What was judged is kept.")
    if under_way and not job.running:
        st.caption(f":material/progress_activity: It is judged {under_way.where}.")
    job.follow(lambda: sum(each.asked for each in store.judging.counts()) // 10)


def show_choice(store: RunStore, options: JudgingOptions) -> None:
    """The form. It begins with what is chosen."""
    server, remotes = resources.get_settings().judge_url, resources.get_remote_models()
    has_servers = server is not None or bool(remotes.names())
    with st.expander("Judge and budget", icon=":material/tune:", expanded=not options.on), st.form(_KEY, border=False):
        on = st.toggle("Judge live traffic", options.on, key=f"{_KEY}-on")
        first, second = st.columns(2)
        with first:
            judge = _choose("Judge", options.judge, server, key="first")
        with second:
            other = _choose("Second judge", options.second, server, key="second")
        share_at, calls_at, money_at = st.columns(3)
        share = share_at.number_input(
            "Share of runs, %", 0.1, 100.0, 100 * options.share, help="Of each configuration one run at least."
        )
        calls = calls_at.number_input("Questions in 24 hours", 1, MOST_CALLS, options.calls_a_day)
        money = money_at.number_input(
            f"Money in 24 hours ({_currency()})",
            0.0,
            1e6,
            options.money_a_day,
            step=0.1,
            help="A model of this machine costs its price per hour while it judges.",
        )
        read_at, written_at = st.columns(2)
        read = read_at.number_input(
            f"Server: million tokens read ({_currency()})",
            0.0,
            1e6,
            options.read_price,
            disabled=not has_servers,
            placeholder="Not known",
            help=_PRICE_HELP,
            key=f"{_KEY}-read-price",
        )
        written = written_at.number_input(
            f"Server: million tokens written ({_currency()})",
            0.0,
            1e6,
            options.written_price,
            disabled=not has_servers,
            placeholder="Not known",
            help=_PRICE_HELP,
            key=f"{_KEY}-written-price",
        )
        if not has_servers:
            st.caption("A server's model can judge too: add it on the Models page.")
        st.caption(
            "The judge works while nobody asks anything, and gives way at once. Everybody's runs may be in the "
            "sample; a server's judge is sent their prompts and answers."
        )
        if st.form_submit_button("Save", icon=":material/save:", type="primary"):
            with errors_shown():
                chosen = JudgingOptions(
                    on=on,
                    judge=judge,
                    second=other,
                    share=share / 100,
                    calls_a_day=int(calls),
                    money_a_day=money,
                    read_price=read,
                    written_price=written,
                )
                if chosen.on:
                    listed = remotes.prices()
                    for each in chosen.judges:
                        if not each.is_local:
                            chosen.price_of(each, listed)
                chosen.keep(store.options)
                st.rerun()


def _choose(label: str, chosen: Judged | None, server: str | None, *, key: str) -> Judged | None:
    """A model of this machine at a precision, or of the server."""
    installed = [info.name for info in list_models(resources.get_settings().models_dir) if info.installed]
    offered = [_NOBODY, *answering(installed), *([_SERVER] if server else [])]
    now = _NOBODY if chosen is None else chosen.model if chosen.is_local or chosen.is_added else _SERVER
    if now not in offered:
        offered.append(now)
    model = st.selectbox(label, offered, index=offered.index(now), format_func=str, key=f"{_KEY}-{key}")
    precisions = [str(each) for each in PRECISIONS]
    held = chosen.precision if chosen and chosen.precision in precisions else str(Precision.INT4)
    precision = st.selectbox("Precision", precisions, index=precisions.index(held), key=f"{_KEY}-{key}-precision")
    name = ""
    if server:
        is_there = chosen is not None and not chosen.is_local and not chosen.is_added
        name = st.text_input(
            "The server's model",
            chosen.model if chosen and is_there else "",
            max_chars=LONGEST_MODEL,
            key=f"{_KEY}-{key}-remote",
        )
    if model == _NOBODY:
        return None
    if model == _SERVER:
        return Judged(name.strip() or " ", None, added=False)
    return Judged(model, None if is_remote(model) else precision)


def _currency() -> str:
    return load_prices(prices_path(resources.get_settings().data_dir)).currency
