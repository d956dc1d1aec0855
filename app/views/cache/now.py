"""The prefix cache as it is now: what it holds, what that saved, what left, and its budget."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime

import plotly.graph_objects as go
import streamlit as st

from app import units
from app.cache.prefix_tree import Node, prefix_tree
from app.views.reports.cache_report import show_verification
from app.views.runs.naming import one_line
from app.views.shared import charts
from app.views.shared.clock import reader_zone
from engine import CacheStatus, Engine, EvictedSequence, KeptSequence

_MIB = 2**20
_BUDGET = "cache-budget"
_REFRESH_EVERY = "2s"
_LARGEST_MIB = 4096
_ROOT = "all"


def show_kept(engine: Engine, person_id: str) -> None:
    """The budget, and below it what is kept, drawn again every two seconds."""
    _choose_budget(engine)

    def draw() -> None:
        status = engine.cache_status()
        _show_figures(status)
        show_verification(status)
        own = [sequence for sequence in status.kept if sequence.salt == person_id]
        shared = [sequence for sequence in status.kept if sequence.shared_as is not None]
        if not status.kept:
            st.info(
                "Nothing is kept yet. Turn on the KV caching gear of a lane, across runs, and what it computes stays "
                "here for the next prompt that begins alike."
            )
            st.page_link("pages/playground.py", label="Open the playground", icon=":material/play_circle:")
        if own or shared:
            _show_sequences([sequence for sequence in status.kept if sequence in own or sequence in shared])
        if own:
            charts.show(_tree(prefix_tree(own)), key="cache-tree")
        if others := len(status.kept) - len(own) - len(shared):
            st.caption(f"{units.counted(others, 'sequence')} of others, whose texts are theirs alone.")
        if left := [gone for gone in status.evicted if gone.salt == person_id]:
            _show_evicted(left)

    st.fragment(draw, run_every=_REFRESH_EVERY)()


def _choose_budget(engine: Engine) -> None:
    status = engine.cache_status()
    st.session_state.setdefault(_BUDGET, min(status.budget_bytes // _MIB, _LARGEST_MIB))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen_mib = st.slider(
            "Budget, MiB",
            0,
            _LARGEST_MIB,
            step=16,
            key=_BUDGET,
            help="What keys and values kept across runs may take, for everybody together. Nothing leaves before "
            "you apply it. After a restart GEARBOX_KV_CACHE_MIB holds again.",
            width="stretch",
            persist_state="session",
        )
        stays = status.would_stay(chosen_mib * _MIB)
        if st.button(
            "Apply",
            icon=":material/check:",
            disabled=chosen_mib * _MIB == status.budget_bytes,
            key="cache-apply",
        ):
            engine.set_cache_budget(chosen_mib * _MIB)
            st.rerun()
    st.caption(f"Would keep {stays} of {units.counted(len(status.kept), 'sequence')} now held.")


def _show_figures(status: CacheStatus) -> None:
    with st.container(horizontal=True, gap="medium"):
        st.metric(
            "In use",
            units.memory(status.used_bytes),
            help=f"Of a budget of {units.memory(status.budget_bytes)}.",
            width="content",
        )
        st.metric("Sequences", units.count(len(status.kept)), width="content")
        st.metric("Hits", units.count(sum(kept.hits for kept in status.kept)), width="content")
        st.metric("Tokens reused", units.count(sum(kept.reused_tokens for kept in status.kept)), width="content")
        st.metric(
            "Prefill saved",
            units.seconds(sum(kept.saved_s for kept in status.kept)),
            help="Derived: tokens reused × the time a token took when the sequence was computed.",
            width="content",
        )


def _show_sequences(sequences: Sequence[KeptSequence]) -> None:
    now = time.time()
    column = st.column_config
    st.dataframe(
        {
            "kind": [_kind(sequence) for sequence in reversed(sequences)],
            "sequence": ["" if sequence.shared_as else _preview(sequence) for sequence in reversed(sequences)],
            "precision": [sequence.precision for sequence in reversed(sequences)],
            "tokens": [sequence.tokens for sequence in reversed(sequences)],
            "size": [sequence.nbytes / _MIB for sequence in reversed(sequences)],
            "age": [now - sequence.created for sequence in reversed(sequences)],
            "idle": [now - sequence.used for sequence in reversed(sequences)],
            "hits": [sequence.hits for sequence in reversed(sequences)],
            "reused": [sequence.reused_tokens for sequence in reversed(sequences)],
            "saved": [sequence.saved_s * 1000 for sequence in reversed(sequences)],
        },
        column_config={
            "kind": column.TextColumn(
                "Kind",
                help="A system prompt is kept for itself, and copied into every conversation that begins with it. A "
                "shared one serves everybody, as the administrator allows.",
            ),
            "sequence": column.TextColumn("Ends with", width="large"),
            "precision": column.TextColumn("Precision"),
            "tokens": column.NumberColumn("Tokens", format="localized"),
            "size": column.NumberColumn("Size (MiB)", format="%.1f"),
            "age": column.NumberColumn("Age (s)", format="%.0f"),
            "idle": column.NumberColumn("Unused for (s)", format="%.0f"),
            "hits": column.NumberColumn("Hits", format="localized"),
            "reused": column.NumberColumn("Tokens reused", format="localized"),
            "saved": column.NumberColumn("Saved (ms)", format="%.0f", help="Derived, as above."),
        },
        hide_index=True,
        key="cache-sequences",
    )


def _show_evicted(left: Sequence[EvictedSequence]) -> None:
    st.subheader("Left lately", anchor=False)
    column = st.column_config
    st.dataframe(
        {
            "when": [datetime.fromtimestamp(gone.when, UTC) for gone in reversed(left)],
            "reason": [gone.reason.capitalize() for gone in reversed(left)],
            "tokens": [gone.tokens for gone in reversed(left)],
            "sequence": [_preview(gone) for gone in reversed(left)],
        },
        column_config={
            "when": column.DatetimeColumn("When", format="HH:mm:ss", timezone=str(reader_zone())),
            "reason": column.TextColumn("Reason"),
            "tokens": column.NumberColumn("Tokens", format="localized"),
            "sequence": column.TextColumn("Ends with", width="large"),
        },
        hide_index=True,
        key="cache-evicted",
    )


def _kind(sequence: KeptSequence) -> str:
    if sequence.shared_as is not None:
        return f"Shared: {sequence.shared_as}"
    return "System prompt" if sequence.is_system else "Conversation"


def _preview(sequence: KeptSequence | EvictedSequence) -> str:
    return one_line(" … ".join(message.content for message in sequence.messages[-2:]), 100)


def _tree(nodes: Sequence[Node]) -> go.Figure:
    boxes = [
        charts.Box(
            id=node.id,
            parent=node.parent or _ROOT,
            label=one_line(f"{node.role}: {node.text}", 32),
            amount=1 + len(node.text),
            details=f"<b>{charts.plain(node.role)}</b>, in {units.counted(node.sequences, 'sequence')}, saved "
            f"{units.seconds(node.saved_s)}<br>{charts.plain(one_line(node.text, 90))}",
        )
        for node in nodes
    ]
    whole = charts.Box(_ROOT, "", "All of yours", 0, units.counted(len(boxes), "message"))
    return charts.icicle([whole, *boxes], title="What your sequences share")
