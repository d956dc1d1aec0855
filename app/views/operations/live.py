"""What the engine does now, refreshed by itself."""

from __future__ import annotations

import streamlit as st

from app import resources, units
from app.views.shared.errors import errors_shown

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


def _process_bytes() -> int:
    import psutil

    return int(psutil.Process().memory_info().rss)
