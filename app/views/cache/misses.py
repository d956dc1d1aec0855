"""How much was reused over time, and why a run did not reuse more."""

from __future__ import annotations

from datetime import timedelta

import streamlit as st

from app.store import WITHOUT_LABS, RunFilter, RunStore
from app.units import counted
from app.views.reports.cache_report import show_cache_report
from app.views.runs.naming import describe, link_to_run
from app.views.runs.table import say_whose
from app.views.shared import charts
from app.views.shared.clock import now

_STRETCH, _BUCKET = timedelta(days=1), timedelta(minutes=15)
_LATEST = 50


def show_reuse_over_time(store: RunStore) -> None:
    """The share of prompt tokens reused, by quarter of an hour, for the last day.

    Raises:
        StoreError: the run database cannot be read.
    """
    until = now()
    buckets = store.over_time(RunFilter(since=until - _STRETCH, sources=WITHOUT_LABS), _BUCKET)
    shares = [
        (bucket.start, 100 * bucket.totals.cached_tokens / bucket.totals.prompt_tokens)
        for bucket in buckets
        if bucket.totals.prompt_tokens
    ]
    if shares:
        line = charts.Line("hit rate", [at for at, _ in shares], [share for _, share in shares])
        figure = charts.lines_over_time([line], title="Prompt tokens reused, last 24 hours, without lab runs", unit="%")
        figure.update_xaxes(range=[until - _STRETCH, until])
        charts.show(figure, key="cache-hit-rate")


def show_misses(store: RunStore) -> None:
    """The latest runs that asked the cache, and what it had for the one chosen.

    Raises:
        StoreError: the run database cannot be read.
    """
    st.subheader("Why not more?", anchor=False)
    say_whose(store)
    newest = store.page(RunFilter(sources=WITHOUT_LABS), limit=_LATEST)
    asked = {run.id: run for run in store.get_many([run.id for run in newest.rows]) if run.cache and run.metrics}
    if not asked:
        st.info(f"None of the latest {_LATEST} runs asked the prefix cache. Turn on the KV caching gear across runs.")
        return
    chosen = st.selectbox("Run", list(asked), format_func=lambda run_id: describe(asked[run_id]), key="cache-run")
    run = asked[chosen]
    if run.cache and run.metrics:
        show_cache_report(run.cache, run.metrics)
    link_to_run(run.id)
    if newest.total > len(newest.rows):
        st.caption(
            f"Offered are those among the newest {_LATEST} of {counted(newest.total, 'run')}, lab runs left out. An "
            "older run's own page, under Runs, says the same of it."
        )
