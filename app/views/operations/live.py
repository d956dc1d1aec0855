"""What the engine does now, refreshed by itself."""

from __future__ import annotations

import streamlit as st

from app import resources, units
from app.literal import literal
from app.views.shared.errors import errors_shown
from engine.types import BreakerState, RemoteStatus

LIVE_EVERY = "2s"


def show_now() -> None:
    """Who runs and who waits, the pace, and who holds the memory."""
    with errors_shown():
        engine = resources.get_engine()
        status, cache = engine.status(), engine.cache_status()
        weights = sum(each.weights_bytes for each in status.resident)
        holders = {"weights": weights, "KV of runs": status.kv_bytes, "kept KV": cache.used_bytes}
        if status.device == "cpu":
            holders["rest"] = max(0, _process_bytes() - sum(holders.values()))
        running = int(status.running)
        rate = resources.get_store().throughput.per_second
        parts = [
            f":material/bolt: **{running:,}** running" if running else ":material/bedtime: Idle",
            f"**{status.queued:,}** waiting",
            f"**{units.rate(rate)}** now",
            f"KV room **{units.percent(status.kv_share)}** taken",
            "memory: " + ", ".join(f"{name} **{units.memory(held)}**" for name, held in holders.items()),
        ]
        st.markdown(" · ".join(parts))
        for server in engine.remote_status():
            st.caption(server_words(server))


_STATES = {
    BreakerState.CLOSED: (":green[:material/dns: {}]", "answers"),
    BreakerState.HALF_OPEN: (":orange[:material/dns: {}]", "is tried again"),
    BreakerState.OPEN: (":red[:material/dns: {}]", "is not asked for now"),
}


def server_words(server: RemoteStatus) -> str:
    """How a server stands that was asked since this one started, as Markdown."""
    colour, state = _STATES[server.state]
    names = ", ".join(server.models)
    parts = [
        f"{colour.format(literal(f'{names} at {server.server}' if names else server.server))} {state}",
        f"{server.running:,} running",
        f"{server.failures:,} of {units.counted(server.requests, 'request')} failed",
    ]
    if server.retry_in_s is not None:
        parts.append(f"asked again in {units.about(server.retry_in_s)}")
    if server.last_error and server.state is not BreakerState.CLOSED:
        parts.append(literal(server.last_error))
    return " · ".join(parts)


def _process_bytes() -> int:
    import psutil

    return int(psutil.Process().memory_info().rss)
