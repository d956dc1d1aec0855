"""What the cache would make of a log, at other budgets, without running a model."""

from __future__ import annotations

import streamlit as st

from app import units
from app.cache.simulations import Simulations
from app.session.labs import cache as lab_session
from app.views.shared import charts
from app.views.shared.background_job import BackgroundJob
from app.views.shared.errors import errors_shown
from engine.errors import InvalidRequestError
from engine.untrusted import decode_text, valid_text

_MIB = 2**20
_BYTES_PER_TOKEN = {"smollm2-135m": 23_040, "qwen2.5-coder-0.5b": 12_288, "qwen2.5-coder-1.5b": 28_672}
"""16-bit keys and values: 2 · layers · KV heads · head size · 2 bytes."""


def show_simulator(simulations: Simulations) -> None:
    """A log in, a curve out."""
    key = lab_session.simulation()
    job = BackgroundJob(key or "", "Press Simulate to begin again.")
    lab_session.prepare_log(list(_BYTES_PER_TOKEN))
    with st.form("cache-simulator", border=False):
        file = st.file_uploader(
            "Log (JSON Lines)",
            type=("jsonl", "json", "txt"),
            help="A conversation on each line, as `messages` or as `history` of `user` and `bot`; or a request of a "
            "trace, with `hash_ids` and `timestamp`. `time` and `session` may say when and whose.",
        )
        text = st.text_area(
            "Or paste one",
            height=110,
            key=lab_session.LOG,
            persist_state="session",
        )
        with st.container(horizontal=True, vertical_alignment="bottom"):
            model = st.selectbox(
                "Keys and values of", list(_BYTES_PER_TOKEN), key=lab_session.LOG_MODEL.key, persist_state="session"
            )
            largest_mib = st.number_input(
                "Largest budget, MiB",
                min_value=1,
                max_value=lab_session.MOST_BUDGET_MIB,
                key=lab_session.LOG_BUDGET,
                persist_state="session",
            )
            at_once = st.number_input(
                "Conversations at once",
                min_value=1,
                max_value=lab_session.MOST_AT_ONCE,
                key=lab_session.LOG_AT_ONCE,
                persist_state="session",
                help="Of conversations without a time, so many are held at the same time.",
            )
            start = job.start_button("Simulate", key="cache-simulate", in_form=True)
    if start:
        with errors_shown():
            log = decode_text(file.getvalue(), file.name) if file else valid_text(text)
            if not log.strip():
                raise InvalidRequestError("Choose a file or paste a log first.")
            largest_bytes = int(largest_mib) * _MIB
            lab_session.set_simulation(simulations.start(log, largest_bytes, _BYTES_PER_TOKEN[model], int(at_once)))
            st.rerun()
    if key is None:
        st.caption("Tokens are estimated from pieces of the text; no model is run.")
        return
    job.follow()
    if results := simulations.result(key):
        line = charts.Line("hit rate", [r.budget_bytes for r in results], [100 * r.hit_rate for r in results])
        names = [units.memory(r.budget_bytes) for r in results]
        figure = charts.curve(
            line, title="Prompt tokens reused, by budget (estimated)", x="budget", y="% of prompt tokens", names=names
        )
        charts.show(figure, key="cache-curve")
        best = results[-1]
        st.caption(
            f"At {units.memory(best.budget_bytes)}: {units.percent(best.hit_rate, 1)} of prompt tokens reused, "
            f"{units.counted(best.evictions, 'sequence')} left for want of room."
        )
