"""How a run met the prefix cache: what was reused, and why not more."""

from __future__ import annotations

import streamlit as st

from app import units
from app.literal import literal
from engine import CacheStatus
from engine.types import CacheReport, MissCause, RunMetrics

_HEADINGS = {
    MissCause.COLD: "Started cold",
    MissCause.SYSTEM_PROMPT: "Another system prompt",
    MissCause.TURN: "An earlier turn differs",
    MissCause.TEMPLATE: "The template rewrote the history",
    MissCause.CONFIGURATION: "Computed otherwise",
    MissCause.SESSION: "Another person's",
    MissCause.EVICTED: "No longer kept",
    MissCause.NOTHING: "Nothing kept yet",
}


def show_cache_report(report: CacheReport, metrics: RunMetrics) -> None:
    """The miss explainer of one run."""
    if report.verified is False:
        st.error(
            "Recomputing the reused KV gave other logits. The answer was made from the recomputed KV.",
            title="Stale cache caught",
            icon=":material/gpp_bad:",
        )
    with st.container(horizontal=True, gap="medium"):
        st.metric("Reused", units.counted(metrics.cached_tokens, "token"), width="content")
        st.metric("Computed", units.counted(metrics.prompt_tokens - metrics.cached_tokens, "token"), width="content")
        st.metric(
            "Cost of the miss",
            units.seconds(lost_s(report, metrics)),
            help="Derived: tokens computed though they had been kept × this run's prefill time per token.",
            width="content",
        )
        if report.verified:
            st.badge("Verified", icon=":material/verified:", color="green", help="Recomputing gave the same logits.")
    if report.cause is None:
        st.caption(f":material/check: {literal(report.detail)}")
        return
    st.caption(f":material/help: **{_HEADINGS[report.cause]}.** {literal(report.detail)}")
    if report.parted_at is not None:
        st.caption(f"They part at prompt token {report.parted_at + 1:,}. Kept, then asked:")
        st.code(f"{report.kept_text}\n{report.came_text}", language=None)


def show_verification(status: CacheStatus) -> None:
    """How reused prefixes stood up to being computed anew, if any were."""
    if status.mismatches:
        st.error(
            f"{units.counted(status.mismatches, 'run')} of {status.verified:,} verified since the start would have "
            "been answered from other logits. They were answered from KV computed anew.",
            title="Stale cache caught",
            icon=":material/gpp_bad:",
        )
    elif status.verified:
        verified = units.counted(status.verified, "run")
        st.caption(f":material/verified: Reused prefixes of {verified} verified since the start: the same logits.")


def lost_s(report: CacheReport, metrics: RunMetrics) -> float:
    """Seconds of prefill that the miss cost, at this run's own pace."""
    computed = metrics.prompt_tokens - metrics.cached_tokens
    return report.lost_tokens * metrics.prefill_s / computed if computed else 0.0
