"""How long runs are kept."""

from __future__ import annotations

import streamlit as st

from app.store import RetentionRule, RunStore
from app.store.runs.retention.records import MOST_DAYS, MOST_RUNS
from app.units import counted, moment
from app.views.shared.clock import reader_zone
from app.views.shared.errors import show_error
from engine.errors import GearboxError


def show_retention(store: RunStore) -> None:
    """The rule, the button that changes it, and what was pruned by it."""
    retention = store.retention
    rule = retention.rule
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.subheader(
            "Retention",
            anchor=False,
            width="content",
            help="Older runs are pruned in the background. What is tagged, rated, noted, or belongs to a conversation "
            "or an experiment stays, and so does what was summed up: Operations still counts pruned runs.",
        )
        may_change = retention.fixed is None and store.may_administer
        if st.button(
            "Change",
            icon=":material/edit:",
            key="retention-change",
            disabled=not may_change,
            help=None
            if may_change
            else "It is set by GEARBOX_KEEP_DAYS or GEARBOX_KEEP_RUNS, or only the machine's own desk may set it.",
        ):
            change_rule(store, rule)
    st.write(in_words(rule))
    if pruned := retention.pruned:
        st.caption(
            f"{counted(pruned.runs, 'run')} from before {moment(pruned.before, reader_zone())} pruned, last at "
            f"{moment(pruned.at, reader_zone())}."
        )


def in_words(rule: RetentionRule) -> str:
    """The rule as a sentence."""
    parts = []
    if rule.keep_days is not None:
        parts.append(f"{counted(rule.keep_days, 'day')}")
    if rule.keep_runs is not None:
        parts.append(f"at most the newest {counted(rule.keep_runs, 'run')}")
    return f"Kept: {', and '.join(parts)}." if parts else "All runs are kept."


@st.dialog("How long are runs kept?", icon=":material/auto_delete:")
def change_rule(store: RunStore, rule: RetentionRule) -> None:
    """Ask for another rule, and say how many runs it is about."""
    days = st.number_input(
        "Days",
        1,
        MOST_DAYS,
        value=rule.keep_days,
        placeholder="All",
        help="Runs that are older are pruned. Empty keeps them however old.",
        key="retention-days",
    )
    runs = st.number_input(
        "Runs",
        1,
        MOST_RUNS,
        value=rule.keep_runs,
        placeholder="All",
        help="All but so many of the newest are pruned. Empty keeps them however many.",
        key="retention-runs",
    )
    asked = RetentionRule(days and int(days), runs and int(runs))
    try:
        old = store.retention.old_enough(asked)
    except GearboxError as error:
        show_error(str(error))
        return
    if old:
        st.warning(
            f"Up to {counted(old, 'run')} will be deleted, with their answers and tokens. This cannot be undone.",
            icon=":material/warning:",
        )
    if st.button("Save", type="primary", disabled=asked == rule, key="retention-save"):
        try:
            store.retention.set_rule(asked)
        except GearboxError as error:
            show_error(str(error))
        else:
            st.rerun()
