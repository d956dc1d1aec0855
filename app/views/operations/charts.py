"""The panels of the Operations page, each drawn from one aggregate of the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import streamlit as st

from app import units
from app.store import ConfigurationStats, Latency, Percentiles, RunPage, TimeBucket, Totals
from app.views.reports.disturbance import ICON
from app.views.runs.naming import column_config, configuration_names, run_columns, run_url
from app.views.shared import charts
from app.views.shared.clock import reader_zone

_MIB = 2**20
_CARD_WIDTH = 380
_MOST_BARS = 10


def show_totals(totals: Totals, latency: Latency) -> None:
    """The figures of the whole range; latencies are those of finished runs."""
    broken = totals.failed + totals.interrupted
    with st.grid(min_column_width=170, gap="medium"):
        _metric("Runs", units.count(totals.runs), f"{units.count(totals.running)} running")
        _metric("Answer tokens", units.count(totals.completion_tokens), f"{units.count(totals.prompt_tokens)} prompt")
        _metric(
            "Error rate",
            units.percent(totals.error_rate, 1),
            f"{units.count(broken)} failed or interrupted",
            help="Failed and interrupted runs over all that are over.",
        )
        _metric(
            "Stop rate",
            units.percent(totals.stop_rate, 1),
            f"{units.count(totals.stopped)} stopped",
            help="Runs stopped by the user, or by closing the page, over all that are over.",
        )
        _latency("TTFT p50", latency.ttft_s, "Time to first token, queueing included.")
        _latency("TPOT p50", latency.tpot_s, "Time per output token after the first.")
        _latency("E2E p50", latency.e2e_s, "From arrival to the last token.")
        if totals.drafted_tokens:
            _metric(
                "Acceptance rate",
                units.percent(totals.acceptance_rate),
                f"{units.count(totals.drafted_tokens)} drafted tokens",
                help="Accepted over drafted tokens, of all runs with speculative decoding.",
            )
        if totals.discarded_tokens:
            written = totals.completion_tokens + totals.discarded_tokens
            _metric(
                "Thrown away",
                units.percent(totals.discarded_tokens / written),
                f"{units.count(totals.discarded_tokens)} tokens of smaller models",
                help="Tokens that smaller models of cascades wrote in vain, over all tokens written.",
            )
        _metric("Peak memory", units.memory(totals.peak_rss_bytes), "greatest of any run", help="Of the whole process.")
    if totals.disturbed:
        runs = units.counted(totals.disturbed, "disturbed run")
        st.caption(f"{ICON} {runs} {'left out of' if latency.left_out else 'included in'} TTFT, TPOT and E2E.")


def whole_stretch(
    buckets: Sequence[TimeBucket], width: timedelta, since: datetime | None, until: datetime
) -> dict[datetime, TimeBucket | None]:
    """Every bucket's start from ``since`` (or the first bucket) to ``until``; ``None`` where nothing was started."""
    found = {bucket.start: bucket for bucket in buckets}
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    first = epoch + (since - epoch) // width * width if since else min(found)
    count = (until - first) // width + 1
    return {start: found.get(start) for start in (first + n * width for n in range(count))}


def show_over_time(stretch: Mapping[datetime, TimeBucket | None]) -> None:
    """Load, latency, rates and memory by time of day; a time without runs breaks the lines."""
    zone = reader_zone()
    x = [start.astimezone(zone).replace(tzinfo=None) for start in stretch]
    latency = [bucket.latency if bucket else Latency() for bucket in stretch.values()]

    def each(read: Callable[[Totals], float | None]) -> list[float | None]:
        return [read(bucket.totals) if bucket else None for bucket in stretch.values()]

    with st.grid(2, min_column_width=_CARD_WIDTH):
        _stacked(
            x,
            {
                "finished": each(lambda t: t.finished),
                "stopped": each(lambda t: t.stopped),
                "failed": each(lambda t: t.failed),
                "interrupted": each(lambda t: t.interrupted),
                "running": each(lambda t: t.running),
            },
            title="Runs by status",
            unit="runs",
        )
        _stacked(
            x,
            {"answer": each(lambda t: t.completion_tokens), "prompt": each(lambda t: t.prompt_tokens)},
            title="Tokens",
            unit="tokens",
        )
        _percentiles(x, [one.ttft_s for one in latency], title="TTFT", unit="ms", per_unit=1e-3)
        _percentiles(x, [one.tpot_s for one in latency], title="TPOT", unit="ms", per_unit=1e-3)
        _percentiles(x, [one.e2e_s for one in latency], title="E2E", unit="s", per_unit=1)
        _lines(
            [
                charts.Line("errors", x, _scaled(each(lambda t: t.error_rate), 0.01)),
                charts.Line("stopped", x, _scaled(each(lambda t: t.stop_rate), 0.01)),
            ],
            title="Error and stop rates",
            unit="%",
        )
    _lines(
        [charts.Line("peak", x, _scaled(each(lambda t: t.peak_rss_bytes), _MIB))],
        title="Peak memory of the process",
        unit="MiB",
    )


def show_configurations(stats: Sequence[ConfigurationStats], names: Mapping[str, str], *, total: int) -> None:
    """How fast each configuration decodes, and a table with the rest.

    Args:
        stats: One entry a configuration, the most used first.
        names: What to call each, by its hash; one that is not among them is named by itself.
        total: how many configurations there are.
    """
    own = configuration_names([s.configuration for s in stats])
    named = [(names.get(key, own[key]), s) for s in stats if (key := s.configuration.config_hash)]
    rates = [
        charts.Bar(name, s.tokens_per_second, units.rate(s.tokens_per_second))
        for name, s in named[:_MOST_BARS]
        if s.tokens_per_second
    ]
    if rates:
        figure = charts.horizontal_bars(
            rates, title=f"Tokens per second, median run (the {_MOST_BARS} most used)", unit="tok/s"
        )
        charts.show(figure, key="ops-rates")
    column = st.column_config
    left_out = [s.latency.left_out for _, s in named]
    st.dataframe(
        {
            "configuration": [name for name, _ in named],
            "runs": [s.totals.runs for _, s in named],
            **({"left_out": left_out} if any(left_out) else {}),
            "rate": [s.tokens_per_second for _, s in named],
            "ttft": _scaled([s.latency.ttft_s.p50 for _, s in named], 1e-3),
            "ttft99": _scaled([s.latency.ttft_s.p99 for _, s in named], 1e-3),
            "tpot": _scaled([s.latency.tpot_s.p50 for _, s in named], 1e-3),
            "tpot99": _scaled([s.latency.tpot_s.p99 for _, s in named], 1e-3),
            "errors": _scaled([s.totals.error_rate for _, s in named], 0.01),
            "weights": _scaled([s.weights_bytes for _, s in named], _MIB),
            "kv": _scaled([s.kv_bytes for _, s in named], _MIB),
        },
        column_config={
            "configuration": column.TextColumn("Configuration"),
            "runs": column.NumberColumn("Runs", format="%d"),
            "left_out": column.NumberColumn(
                "Left out", format="%d", help="Disturbed runs that count into no latency of this row."
            ),
            "rate": column.NumberColumn("tok/s", format="%.1f", help="1 / TPOT of the median run."),
            "ttft": column.NumberColumn("TTFT p50 (ms)", format="%.0f"),
            "ttft99": column.NumberColumn("TTFT p99 (ms)", format="%.0f"),
            "tpot": column.NumberColumn("TPOT p50 (ms)", format="%.1f"),
            "tpot99": column.NumberColumn("TPOT p99 (ms)", format="%.1f"),
            "errors": column.NumberColumn("Errors (%)", format="%.1f"),
            "weights": column.NumberColumn("Weights (MiB)", format="%.0f"),
            "kv": column.NumberColumn("KV, most (MiB)", format="%.1f"),
        },
        hide_index=True,
        placeholder=units.MISSING,
        alt="Runs by configuration",
    )
    if total > len(stats):
        st.caption(
            f"The {len(stats):,} most used of {total:,} configurations. Choose a model or a shorter time for others."
        )


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


def _latency(label: str, percentiles: Percentiles, help: str) -> None:
    tail = f"p90 {units.seconds(percentiles.p90)} · p99 {units.seconds(percentiles.p99)}"
    _metric(label, units.seconds(percentiles.p50), tail, help=f"{help} Finished runs only.")


def _metric(label: str, value: str, detail: str, *, help: str | None = None) -> None:
    st.metric(label, value, detail, delta_color="off", delta_arrow="off", help=help)


def _percentiles(
    x: Sequence[datetime], values: Sequence[Percentiles], *, title: str, unit: str, per_unit: float
) -> None:
    lines = [
        charts.Line("p50", x, _scaled([v.p50 for v in values], per_unit)),
        charts.Line("p90", x, _scaled([v.p90 for v in values], per_unit)),
        charts.Line("p99", x, _scaled([v.p99 for v in values], per_unit)),
    ]
    _lines(lines, title=title, unit=unit)


def _lines(lines: Sequence[charts.Line], *, title: str, unit: str) -> None:
    charts.show(charts.lines_over_time(lines, title=title, unit=unit), key=f"ops-{title}")


def _stacked(x: Sequence[datetime], heights: Mapping[str, Sequence[float | None]], *, title: str, unit: str) -> None:
    seen = {name: y for name, y in heights.items() if any(y)}
    charts.show(charts.stacked_over_time(x, seen, title=title, unit=unit), key=f"ops-{title}")


def _scaled(values: Sequence[float | None], per_unit: float) -> list[float | None]:
    return [None if value is None else value / per_unit for value in values]
