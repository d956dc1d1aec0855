"""Who the runs were: by configuration, model, precision, source and key, how they ended and who answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from app import units
from app.store import ConfigurationStats, GroupStats, Latency, Overview, RunFilter, RunPage, RunSource
from app.views.runs.naming import column_config, configuration_names, run_columns, run_url, source_label
from app.views.runs.narrowed import runs_url

_MIB = 2**20
_UNKNOWN = "not known"


def show_configurations(seen: Overview, names: Mapping[str, str], filter: RunFilter) -> None:
    """A row a configuration, the most used first.

    Args:
        seen: of some runs.
        names: what to call each, by its hash; one that is not among them is named by itself.
        filter: which runs these are.
    """
    stats: Sequence[ConfigurationStats] = seen.by_configuration
    own = configuration_names([each.configuration for each in stats])
    keys = [each.configuration.config_hash for each in stats]
    column = st.column_config
    left_out = [each.latency.left_out for each in stats]
    st.dataframe(
        {
            "configuration": [names.get(key, own[key]) for key in keys],
            "link": [runs_url(replace(filter, config_hashes=(key,))) for key in keys],
            "runs": [each.totals.runs for each in stats],
            **({"left_out": left_out} if any(left_out) else {}),
            "rate": [each.tokens_per_second for each in stats],
            **_times([each.latency for each in stats]),
            "errors": [_percent(each.totals.error_rate) for each in stats],
            "hits": [_percent(each.totals.hit_rate) for each in stats],
            "batch": [each.work.mean_batch_size for each in stats],
            "weights": [_mib(each.weights_bytes) for each in stats],
            "kv": [_mib(each.kv_bytes) for each in stats],
        },
        column_config={
            "configuration": column.TextColumn("Configuration"),
            **_COLUMNS,
            "left_out": column.NumberColumn(
                "Left out", format="%d", help="Disturbed runs that count into no latency of this row."
            ),
            "rate": column.NumberColumn("tok/s", format="%.1f", help="1 / TPOT of the median run."),
            "weights": column.NumberColumn("Weights (MiB)", format="%.0f"),
            "kv": column.NumberColumn("KV, most (MiB)", format="%.1f"),
        },
        hide_index=True,
        placeholder=units.MISSING,
        alt="Runs by configuration",
    )
    if seen.configurations > len(stats):
        st.caption(
            f"The {len(stats):,} most used of {seen.configurations:,} configurations. Choose a model or a shorter time "
            "for others."
        )


def show_groups(seen: Overview, filter: RunFilter) -> None:
    """By model, precision, source and key; how runs ended, and who answered of cascades."""
    with st.grid(2, min_column_width=380):
        _group("Model", seen.by_model, lambda name: replace(filter, models=(name,)))
        _group("Precision", seen.by_precision, lambda name: replace(filter, precisions=(name,)))
        _group(
            "Source",
            seen.by_source,
            lambda name: replace(filter, sources=(RunSource(name) if name else None,)),
            shown=lambda name: source_label(RunSource(name)) if name else _UNKNOWN,
        )
        if any(each.name for each in seen.by_key):
            _group("API key", seen.by_key, lambda name: replace(filter, key_names=(name or None,)), shown=_key)
        endings = {"stop": seen.work.ended_stop, "length": seen.work.ended_length}
        _counted("Finish reason", endings, lambda name: replace(filter, finish_reasons=(name,)))
        _counted("Error", seen.work.errors, lambda name: replace(filter, error_kinds=(name,)))
        _counted("Answered by, of cascades", seen.work.tiers, lambda name: replace(filter, tiers=(name,)))


def show_slowest(page: RunPage) -> None:
    """A table of runs, each with its link, and the way to the others."""
    columns = {"run": [run_url(run.id) for run in page.rows], **run_columns(page.rows)}
    config = {"run": st.column_config.LinkColumn("Run", display_text="Open"), **column_config()}
    figures = ("e2e", "ttft", "tpot", "disturbed", "tokens")
    order = ("run", "started", "configuration", *figures, "prompt", "source", "status")
    st.dataframe(
        columns,
        column_config=config,
        column_order=order,
        hide_index=True,
        placeholder=units.MISSING,
        alt="Slowest runs",
    )
    if page.total > len(page.rows):
        st.caption(f"The slowest {len(page.rows)} of {page.total:,} runs. Under Runs, sort by E2E to see all.")


def _group(heading: str, groups: Sequence[GroupStats], to: Any, *, shown: Any = str) -> None:
    st.dataframe(
        {
            "name": [shown(each.name) for each in groups],
            "link": [runs_url(to(each.name)) if each.name else None for each in groups],
            "runs": [each.totals.runs for each in groups],
            **_times([each.latency for each in groups]),
            "errors": [_percent(each.totals.error_rate) for each in groups],
            "hits": [_percent(each.totals.hit_rate) for each in groups],
            "batch": [each.work.mean_batch_size for each in groups],
        },
        column_config={"name": st.column_config.TextColumn(heading), **_COLUMNS},
        hide_index=True,
        placeholder=units.MISSING,
        alt=f"Runs by {heading}",
    )


def _counted(heading: str, counts: Mapping[str, int], to: Any) -> None:
    known = sorted(((name, count) for name, count in counts.items() if count), key=lambda each: -each[1])
    if not known:
        return
    whole = sum(count for _, count in known)
    st.dataframe(
        {
            "name": [name for name, _ in known],
            "link": [runs_url(to(name)) for name, _ in known],
            "runs": [count for _, count in known],
            "share": [100 * count / whole for _, count in known],
        },
        column_config={
            "name": st.column_config.TextColumn(heading),
            "share": st.column_config.ProgressColumn("Share (%)", format="%.0f", min_value=0, max_value=100),
            **_COLUMNS,
        },
        hide_index=True,
        alt=f"Runs by {heading}",
    )


def _key(name: str) -> str:
    return name or "without a key"


def _times(latencies: Sequence[Latency]) -> dict[str, list[float | None]]:
    def ms(value: float | None) -> float | None:
        return None if value is None else 1000 * value

    return {
        "ttft": [ms(each.ttft_s.p50) for each in latencies],
        "ttft99": [ms(each.ttft_s.p99) for each in latencies],
        "tpot": [ms(each.tpot_s.p50) for each in latencies],
        "tpot99": [ms(each.tpot_s.p99) for each in latencies],
    }


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _mib(size: int | None) -> float | None:
    return None if size is None else size / _MIB


_COLUMNS = {
    "link": st.column_config.LinkColumn("Its runs", display_text="Open", width="small"),
    "runs": st.column_config.NumberColumn("Runs", format="%d"),
    "ttft": st.column_config.NumberColumn("TTFT p50 (ms)", format="%.0f"),
    "ttft99": st.column_config.NumberColumn("TTFT p99 (ms)", format="%.0f"),
    "tpot": st.column_config.NumberColumn("TPOT p50 (ms)", format="%.1f"),
    "tpot99": st.column_config.NumberColumn("TPOT p99 (ms)", format="%.1f"),
    "errors": st.column_config.NumberColumn("Errors (%)", format="%.1f"),
    "hits": st.column_config.NumberColumn("Hit rate (%)", format="%.0f", help="Prompt tokens whose KV was reused."),
    "batch": st.column_config.NumberColumn("Batch size", format="%.2f", help="Mean sequences in a pass."),
}
