"""What happened over time, drawn from one overview of the store. A stretch that is picked leads to its runs."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from html import unescape
from itertools import pairwise
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from app import units
from app.operations.stretches import on_the_clock, shown_twice
from app.store import Latency, Overview, Percentiles, RunFilter, TimeBucket
from app.views.operations.span import zoom
from app.views.runs.narrowed import runs_query
from app.views.shared import charts
from app.views.shared.clock import now, reader_zone

_MIB = 2**20
_CARD_WIDTH = 380
_BELOW_DATES: dict[str, Any] = {"height": 340, "legend": {**charts.LEGEND_BELOW, "y": -0.34}}
"""Room for a legend of many names below an axis of two lines."""
_MOST_LAYERS = 5
"""That can be told apart; all others are one."""
_CONFIG = {"displaylogo": False, "displayModeBar": False}
_PICKED = "ops-picked"
_Read = Callable[[TimeBucket], float | None]


class Timeline:
    """The charts of one overview, and the stretch that is picked in them."""

    def __init__(self, seen: Overview) -> None:
        found = {each.start: each for each in seen.over_time}
        self._edges = seen.edges
        self._buckets = [found.get(start) for start in seen.edges[:-1]]
        """A stretch without runs is ``None``, and breaks the lines."""
        self._seconds = [
            max(1.0, (min(end, max(now(), start)) - start).total_seconds()) for start, end in pairwise(seen.edges)
        ]
        zone = reader_zone()
        self._x = on_the_clock(seen.edges[:-1], zone)
        twice = shown_twice(seen.edges[:-1], zone)
        clock = [start.astimezone(zone).replace(tzinfo=None) for start in seen.edges[:-1]]
        # where the clock is put back, what it shows twice is drawn closer together, and its times are told
        self._notes = [
            f" ({time:%H:%M}{' again' if again else ''})" if again or time != drawn else ""
            for time, again, drawn in zip(clock, twice, self._x, strict=True)
        ]

    def show_load(self, good: Sequence[float | None] | None) -> None:
        """How much came, and what became of it.

        Args:
            good: requests of each stretch that met every objective, ``None`` where that is not known; without any
                objective ``None`` in its place.
        """
        with st.grid(2, min_column_width=_CARD_WIDTH):
            self._stacked(
                "Runs by status",
                "runs",
                {
                    "finished": lambda each: each.totals.finished,
                    "stopped": lambda each: each.totals.stopped,
                    "failed": lambda each: each.totals.failed,
                    "interrupted": lambda each: each.totals.interrupted,
                    "running": lambda each: each.totals.running,
                },
            )
            self._rates(
                "Tokens per second",
                "tok/s",
                {
                    "answers": lambda each: each.totals.completion_tokens,
                    "prompts": lambda each: each.totals.prompt_tokens,
                },
            )
            self._lines(
                "Error and stop rates",
                "%",
                {
                    "errors": lambda each: _percent(each.totals.error_rate),
                    "stopped": lambda each: _percent(each.totals.stop_rate),
                },
            )
            self._lines("Batch size, mean", "sequences", {"batch": lambda each: each.work.mean_batch_size})
            per_second = {"all requests": self._per_second(self._each(lambda each: each.totals.runs))}
            if good is not None:
                per_second["goodput: every SLO met"] = self._per_second(good)
            self._draw(charts.lines_over_time(self._named(per_second), title="Requests per second", unit="requests/s"))
            self._lines(
                "Memory, most of any run",
                "MiB",
                {
                    "process": lambda each: _mib(each.totals.peak_rss_bytes),
                    "weights": lambda each: _mib(each.totals.weights_bytes),
                    "KV": lambda each: _mib(each.totals.kv_bytes),
                },
            )

    def show_latency(self) -> None:
        """Percentiles of finished runs."""
        with st.grid(2, min_column_width=_CARD_WIDTH):
            self._percentiles("TTFT", "ms", 1e3, lambda latency: latency.ttft_s)
            self._percentiles("TPOT", "ms", 1e3, lambda latency: latency.tpot_s)
            self._percentiles("E2E", "s", 1, lambda latency: latency.e2e_s)
            self._percentiles("Queue time", "ms", 1e3, lambda latency: latency.queue_s)

    def show_gears(self) -> None:
        """What the gears did."""
        with st.grid(2, min_column_width=_CARD_WIDTH):
            self._lines(
                "Shares",
                "%",
                {
                    "prefix hit rate": lambda each: _percent(each.totals.hit_rate),
                    "sent up": lambda each: _percent(each.work.escalation_share),
                    "drafts accepted": lambda each: _percent(each.totals.acceptance_rate),
                    "disturbed": lambda each: _percent(
                        each.totals.disturbed / each.totals.finished if each.totals.finished else None
                    ),
                },
            )
            self._lines("Acceptance length, mean", "tokens", {"length": _acceptance_length})
            self._mix("Precisions, of all runs", lambda each: each.precisions)
            self._mix("Who answered, of cascades", lambda each: each.work.tiers)

    def offer_runs(self, filter: RunFilter) -> None:
        """The way from a stretch that was picked to its runs, and into it."""
        picked = st.session_state.get(_PICKED)
        if picked is None or not self._edges[0] <= picked[0] < self._edges[-1]:
            st.caption("Click a point, or drag over a stretch, to look closer.")
            return
        since, until = picked
        zone = reader_zone()
        met = (each for each in self._buckets if each and each.start < until and (each.end or each.start) > since)
        runs = sum(each.totals.runs for each in met)
        with st.container(horizontal=True, vertical_alignment="center"):
            words = f"{units.moment(since, zone)} – {units.moment(until, zone)}"
            st.caption(f"**{words}** · {units.counted(runs, 'run')}", width="content")
            if st.button("Zoom in", icon=":material/zoom_in:", key="ops-zoom"):
                zoom(since, until)
                del st.session_state[_PICKED]
                st.rerun()
            st.page_link(
                "pages/runs.py",
                label="Its runs",
                icon=":material/history:",
                query_params=runs_query(replace(filter, since=since, until=until)),
            )

    # ----------------------------------------------------------------------------------------------

    def _each(self, read: _Read) -> list[float | None]:
        return [read(bucket) if bucket else None for bucket in self._buckets]

    def _rates(self, title: str, unit: str, reads: Mapping[str, _Read]) -> None:
        per_second = {name: self._per_second(self._each(read)) for name, read in reads.items()}
        self._draw(charts.lines_over_time(self._named(per_second), title=title, unit=unit))

    def _per_second(self, amounts: Sequence[float | None]) -> list[float | None]:
        return [None if amount is None else amount / long for amount, long in zip(amounts, self._seconds, strict=True)]

    def _mix(self, title: str, read: Callable[[TimeBucket], Mapping[str, int]]) -> None:
        """The shares of what runs have, a layer a name, the most common first."""
        each = [read(bucket) if bucket else {} for bucket in self._buckets]
        runs = sum((Counter(counts) for counts in each), Counter[str]())
        shown = [name for name, _ in runs.most_common(_MOST_LAYERS)]
        if not shown:
            return

        def shares(names: Sequence[str]) -> list[float | None]:
            of_all = [sum(counts.values()) for counts in each]
            found = [sum(counts.get(name, 0) for name in names) for counts in each]
            return [round(100 * part / whole, 1) if whole else None for part, whole in zip(found, of_all, strict=True)]

        layers = {name: shares([name]) for name in shown}
        if rest := [name for name in runs if name not in shown]:
            layers["others"] = shares(rest)
        figure = charts.stacked_over_time(self._x, layers, title=title, unit="%")
        figure.update_layout(**_BELOW_DATES, showlegend=True, bargap=0)
        self._draw(figure)

    def _lines(self, title: str, unit: str, reads: Mapping[str, _Read]) -> None:
        read = {name: self._each(one) for name, one in reads.items()}
        known = {name: values for name, values in read.items() if any(value is not None for value in values)}
        if known:
            self._draw(charts.lines_over_time(self._named(known), title=title, unit=unit))

    def _percentiles(self, title: str, unit: str, per_s: float, read: Callable[[Latency], Percentiles]) -> None:
        def share(name: str) -> _Read:
            return lambda each: _times(getattr(read(each.latency), name), per_s)

        self._lines(title, unit, {name: share(name) for name in ("p50", "p90", "p99")})

    def _stacked(self, title: str, unit: str, reads: Mapping[str, _Read]) -> None:
        read = {name: self._each(one) for name, one in reads.items()}
        seen = {name: values for name, values in read.items() if any(values)}
        figure = charts.stacked_over_time(self._x, seen, title=title, unit=unit)
        figure.update_layout(**_BELOW_DATES)
        self._draw(figure)

    def _named(self, values: Mapping[str, Sequence[float | None]]) -> list[charts.Line]:
        return [charts.Line(name, self._x, each) for name, each in values.items()]

    def _draw(self, figure: go.Figure) -> None:
        figure.update_layout(dragmode="select", selectdirection="h", clickmode="event+select")
        title = unescape(figure.layout.title.text)
        key = f"ops-{title}"
        # by a callback: a chart of other figures is another widget, which remembers nothing of what was picked
        pick = partial(_pick, key, self._edges, self._x)
        if any(self._notes):
            for trace in figure.data:
                trace.update(text=self._notes, hovertemplate=trace.hovertemplate.replace("<extra>", "%{text}<extra>"))
            figure.update_traces(textposition="none", selector={"type": "bar"})
        st.plotly_chart(figure, key=key, config=_CONFIG, alt=title, on_select=pick, selection_mode=("points", "box"))


def _pick(key: str, edges: Sequence[datetime], shown: Sequence[datetime]) -> None:
    """Keep the stretches that points and the ends of a dragged box lie in."""
    picked = picked_stretch(st.session_state[key]["selection"], edges, shown)
    if picked:
        st.session_state[_PICKED] = picked
    else:
        st.session_state.pop(_PICKED, None)


def picked_stretch(
    selection: Mapping[str, Any], edges: Sequence[datetime], shown: Sequence[datetime]
) -> tuple[datetime, datetime] | None:
    """From when to when reaches what was picked in a chart; ``None`` where nothing was.

    Args:
        selection: as Streamlit hands it out.
        edges: of the stretches, one more than there are.
        shown: where each is drawn, ascending, without a zone.
    """
    numbers = [int(point["point_index"]) for point in selection.get("points", ())]
    ends = [_moment(text) for box in selection.get("box", ()) for text in box.get("x", ())]
    numbers += [max(bisect_right(shown, end) - 1, 0) for end in ends if end]
    return (edges[min(numbers)], edges[max(numbers) + 1]) if numbers else None


def _moment(text: object) -> datetime | None:
    """A place on an axis of time."""
    try:
        return datetime.fromisoformat(str(text)).replace(tzinfo=None)
    except ValueError:
        return None


def _acceptance_length(each: TimeBucket) -> float | None:
    steps = each.work.verification_steps
    return 1 + each.totals.accepted_tokens / steps if steps else None


def _percent(share: float | None) -> float | None:
    return _times(share, 100)


def _mib(size: int | None) -> float | None:
    return None if size is None else size / _MIB


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
