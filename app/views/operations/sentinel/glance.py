"""Whether all is as accepted, in one glance, and how far a replay is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial

import streamlit as st

from app import resources, units
from app.literal import literal
from app.operations.sentinel.options import MOST_HOURS, SentinelOptions
from app.operations.sentinel.replaying import JOB
from app.operations.sentinel.standing import Standing, State, overall
from app.store import RunStore, SentinelRound
from app.views.operations.sentinel.words import CAUSES
from app.views.shared.background_job import BackgroundJob
from app.views.shared.clock import reader_zone
from app.views.shared.errors import errors_shown

_FIRST_HOURS = 24.0


def show_glance(found: Sequence[Standing], rounds: Sequence[SentinelRound]) -> None:
    """One line that says it, and the counts."""
    counts = Counter(each.state for each in found)
    clauses = [
        f"{counts[state]:,} {words}"
        for state, words in (
            (State.FLIPPED, "flipped"),
            (State.FAILED, "without an answer"),
            (State.DRIFTED, "drifted"),
        )
        if counts[state]
    ]
    if clauses:
        of = units.counted(len(found), "golden prompt")
        (st.warning if set(clauses) == {f"{counts[State.DRIFTED]:,} drifted"} else st.error)(
            f"**Of {of}: {', '.join(clauses)}.**", icon=":material/gpp_bad:"
        )
    elif counts[State.NEW] == len(found):
        st.info("Nothing was replayed yet against what is accepted.", icon=":material/schedule:")
    else:
        known = f", {counts[State.KNOWN]:,} of them differ in what is known" if counts[State.KNOWN] else ""
        new = f"; {counts[State.NEW]:,} not replayed yet" if counts[State.NEW] else ""
        st.success(f"**All is as accepted{known}{new}.**", icon=":material/verified_user:")
    if rounds:
        _show_last(rounds[0], found)


def _show_last(last: SentinelRound, found: Sequence[Standing]) -> None:
    when = units.moment(last.created_at, reader_zone())
    how = CAUSES[last.cause].lower()
    state = "" if last.ended_at else f" It stands at {last.answered:,} of {len(last.golden_ids):,}, and goes on."
    changed = f" Changed: {literal('; '.join(last.changes))}." if last.changes else ""
    speed = overall(found)
    interval = f" ({speed.interval.low:.2f} to {speed.interval.high:.2f}, 95 %)" if speed and speed.interval else ""
    pace = f" TPOT of all: × {speed.ratio:.2f}{interval} of the accepted one." if speed else ""
    st.caption(f"Last replay {when}, {how}.{pace}{changed}{state}")


def show_replay(store: RunStore, wanted: Sequence[str]) -> None:
    """The button, and how far it is; or where else it runs."""
    job = BackgroundJob(JOB, title="Sentinel", when_cancelled="What was replayed is kept.")
    under_way = store.sentinel.under_way
    elsewhere = under_way is not None and not job.running
    with st.container(horizontal=True, vertical_alignment="center"):
        pressed = job.start_button(
            "Replay now",
            key="sentinel-replay",
            why_not=f"It is replayed already, {under_way.where}." if under_way and elsewhere else "",
            help="Answers every golden prompt again with its settings, times it, and holds it against what is "
            "accepted.",
            icon=":material/replay:",
        )
        with st.popover("Settings", icon=":material/tune:"), errors_shown():
            _choose(store)
    if pressed:
        job.start(partial(resources.replay_golden_prompts, wanted))
    if under_way and elsewhere:
        st.caption(f":material/progress_activity: It is replayed {under_way.where}.")
    job.follow(lambda: len(store.sentinel.latest()))


def _choose(store: RunStore) -> None:
    """When it replays by itself, and from where on a drift is one."""
    kept = SentinelOptions.kept(store.options)
    with st.form("sentinel-options", border=False):
        on_change = st.toggle("Replay after a change", kept.on_change, help="Of weights, kernels or version.")
        scheduled = st.toggle("Replay on schedule", kept.every_hours is not None)
        every_hours = st.number_input(
            "Hours between two replays", 0.5, float(MOST_HOURS), kept.every_hours or _FIRST_HOURS, step=1.0
        )
        kld = st.toggle("Measure KLD", kept.kld, help="Loads the 16-bit model beside the one that answers.")
        speed = st.number_input(
            "Speed drift, %",
            1.0,
            1000.0,
            100 * kept.speed_limit,
            help="A drift is one if all of its interval is beyond this.",
        )
        limit = st.number_input("KLD drift, nats a token", 0.001, 10.0, kept.kld_limit, step=0.001, format="%.3f")
        st.caption("By itself it replays in idle time only, and gives way to whoever asks something.")
        if st.form_submit_button("Save", icon=":material/save:"):
            SentinelOptions(
                every_hours=every_hours if scheduled else None,
                on_change=on_change,
                kld=kld,
                speed_limit=speed / 100,
                kld_limit=limit,
            ).keep(store.options)
            st.toast("Saved, for every server on this database.")
