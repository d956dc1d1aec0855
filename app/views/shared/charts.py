"""The charts of more than one page, as plotly figures. Streamlit's theme gives them their colours and fonts.

Lines that must be told apart differ in dash or marker as well as in colour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape, unescape
from statistics import median

import plotly.graph_objects as go
import streamlit as st

DASHES = ("solid", "dash", "dot", "dashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star")
_SMALLEST, _LARGEST = 14, 36  # px
_HEIGHT = 300
_MOST_TICKS = 12
LEGEND_BELOW = {"y": -0.22, "yanchor": "top", "x": 0, "xanchor": "left"}
_ROOM_FOR_TEXT = 1.9  # the axis is this much longer than the longest bar, whose figure stands at its end
_CONFIG = {"displaylogo": False, "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"]}


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: what it stands for, how long it is, and how its length is written."""

    name: str
    value: float | None
    text: str
    low: float | None = None
    """Where the line that shows its range begins; ``None`` for a bar without one."""
    high: float | None = None

    @classmethod
    def over(cls, name: str, values: Sequence[float], text: str) -> Bar:
        """As long as the median of repeated measurements, at least one, with their range."""
        several = len(values) > 1
        return cls(name, median(values), text, min(values) if several else None, max(values) if several else None)


@dataclass(frozen=True, slots=True)
class Bubble:
    """One point of a trade-off: two figures, a size, and what the reader sees on hover, a line each."""

    name: str
    x: float
    y: float
    size: float
    details: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Box:
    """One node of a tree: its parent's id (empty for none), its label, its size, and as HTML what hovering shows."""

    id: str
    parent: str
    label: str
    amount: float
    details: str


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a time chart. A missing value leaves a gap."""

    name: str
    x: Sequence[float | datetime]
    y: Sequence[float | None]
    details: Sequence[str] = ()
    """What the reader sees on hover, one text a point, where the chart shows any."""
    doubtful: Sequence[bool] = ()
    """Points that are drawn hollow, where the chart shows any."""


def horizontal_bars(bars: Sequence[Bar], *, title: str, unit: str) -> go.Figure:
    """One measurement of several things, the first on top, each bar with its figure written out and its range."""
    names = [plain(bar.name) for bar in bars]
    texts = [plain(bar.text) for bar in bars]
    ends = [max(bar.value or 0.0, bar.high or 0.0) for bar in bars]
    figure = go.Figure(
        go.Bar(
            orientation="h",
            x=[bar.value for bar in bars],
            y=names,
            text=texts,
            textposition="none",
            hovertemplate="%{y}: %{text}<extra></extra>",
        )
    )
    if any(bar.high is not None for bar in bars):
        figure.update_traces(
            error_x={
                "array": [(bar.high or bar.value or 0.0) - (bar.value or 0.0) for bar in bars],
                "arrayminus": [(bar.value or 0.0) - (bar.low or bar.value or 0.0) for bar in bars],
                "color": "gray",
                "thickness": 2,
                "width": 5,
            }
        )
    # beyond the range, which a bar's own text would lie on
    figure.add_scatter(
        x=ends,
        y=names,
        mode="text",
        text=[f" {text}" for text in texts],
        textposition="middle right",
        cliponaxis=False,
        hoverinfo="skip",
    )
    figure.update_layout(title=plain(title), height=110 + 34 * len(bars), showlegend=False, margin=margin())
    longest = max(ends, default=0.0)
    figure.update_xaxes(title=plain(unit), range=[0, _ROOM_FOR_TEXT * (longest or 1)])
    figure.update_yaxes(autorange="reversed", automargin=True)
    return figure


def token_timelines(lines: Sequence[Line]) -> go.Figure:
    """Tokens received so far against the seconds since each request arrived: a steeper line is a faster run."""
    figure = go.Figure()
    for place, line in enumerate(lines):
        figure.add_scatter(
            x=line.x,
            y=line.y,
            name=plain(line.name),
            mode="lines",
            line={"shape": "hv", "dash": DASHES[place % len(DASHES)]},
            hovertemplate="%{y} tokens after %{x:.3f} s<extra>%{fullData.name}</extra>",
        )
    return finish(figure, "Tokens over time", x="Seconds since the request arrived", y="Tokens")


def lines_over_time(lines: Sequence[Line], *, title: str, unit: str) -> go.Figure:
    """Measurements by time of day, one line each, a missing value breaking its line."""
    figure = go.Figure()
    for place, line in enumerate(lines):
        figure.add_scatter(
            x=line.x,
            y=line.y,
            name=plain(line.name),
            mode="lines+markers",
            marker={"size": 5, "symbol": place},
            line={"dash": DASHES[place % len(DASHES)]},
            hovertemplate="%{y:.4~g} " + unit + "<extra>%{fullData.name}</extra>",
        )
    return finish(figure, title, x="", y=unit, hovermode="x unified", legend=len(lines) > 1)


def stacked_over_time(
    x: Sequence[datetime], heights: Mapping[str, Sequence[float | None]], *, title: str, unit: str
) -> go.Figure:
    """Amounts by time of day, one stack a period; ``heights`` has a sequence as long as ``x`` for each layer."""
    figure = go.Figure()
    for place, (name, y) in enumerate(heights.items()):
        figure.add_bar(
            x=x,
            y=y,
            name=plain(name),
            marker={"pattern": {"shape": ("", "/", "x", "-", ".")[place % 5], "fillmode": "overlay"}},
            hovertemplate="%{y:,} " + unit + "<extra>%{fullData.name}</extra>",
        )
    figure.update_layout(barmode="stack")
    return finish(figure, title, x="", y=unit, hovermode="x unified", legend=len(heights) > 1)


def curve(line: Line, *, title: str, x: str, y: str, names: Sequence[str]) -> go.Figure:
    """One figure against another on a logarithmic axis, each point with its name on the axis."""
    figure = go.Figure(
        go.Scatter(
            x=line.x,
            y=line.y,
            name=plain(line.name),
            mode="lines+markers",
            customdata=names,
            hovertemplate="%{customdata}: %{y:.1f} " + y + "<extra></extra>",
        )
    )
    figure.update_xaxes(type="log", tickvals=line.x, ticktext=names)
    return finish(figure, title, x=x, y=y, legend=False)


def by_number(lines: Sequence[Line], *, title: str, x: str, y: str) -> go.Figure:
    """Measurements of things that are numbered from 1, one line each, every point with its details on hover."""
    figure = go.Figure()
    for place, line in enumerate(lines):
        figure.add_scatter(
            x=line.x,
            y=line.y,
            name=plain(line.name),
            mode="lines+markers",
            customdata=line.details,
            marker={"size": 9, "symbol": _symbols(SYMBOLS[place % len(SYMBOLS)], line.doubtful)},
            line={"dash": DASHES[place % len(DASHES)]},
            hovertemplate="%{customdata}<extra>%{fullData.name}</extra>",
        )
    longest = max((len(line.x) for line in lines), default=1)
    figure.update_layout(hoverlabel={"align": "left", "namelength": -1})
    figure.update_xaxes(range=[0.7, longest + 0.3], tickformat="d", dtick=-(-longest // _MOST_TICKS))
    figure = finish(figure, title, x=x, y=y)
    figure.update_layout(height=340, legend={**LEGEND_BELOW, "y": -0.3})
    return figure


def _symbols(symbol: str, doubtful: Sequence[bool]) -> str | list[str]:
    return [f"{symbol}-open" if each else symbol for each in doubtful] if any(doubtful) else symbol


def icicle(boxes: Sequence[Box], *, title: str) -> go.Figure:
    """A tree from left to right, each node as high as its amount."""
    figure = go.Figure(
        go.Icicle(
            ids=[box.id for box in boxes],
            parents=[box.parent for box in boxes],
            labels=[plain(box.label) for box in boxes],
            values=[box.amount for box in boxes],
            customdata=[box.details for box in boxes],
            branchvalues="remainder",
            tiling={"orientation": "h"},
            root={"color": "gray"},
            hovertemplate="%{customdata}<extra></extra>",
            textposition="middle left",
        )
    )
    figure.update_layout(title=plain(title), height=_HEIGHT, margin=margin())
    return figure


def trade_off(bubbles: Sequence[Bubble], *, title: str, x: str, y: str) -> go.Figure:
    """Cost (less is better) against gain (more is better), the size of a bubble a third figure.

    A dotted line joins those that no other one beats in both.
    """
    figure = go.Figure()
    largest = max((bubble.size for bubble in bubbles), default=1.0)
    for place, bubble in enumerate(bubbles):
        figure.add_scatter(
            x=[bubble.x],
            y=[bubble.y],
            name=plain(bubble.name),
            customdata=["<br>".join([f"<b>{plain(bubble.name)}</b>", *map(plain, bubble.details)])],
            mode="markers",
            cliponaxis=False,
            # the area is the figure, down to what can still be told apart by its shape
            marker={
                "size": max(_SMALLEST, _LARGEST * (bubble.size / largest) ** 0.5),
                "symbol": SYMBOLS[place % len(SYMBOLS)],
                "opacity": 0.75,
            },
            hovertemplate="%{customdata}<extra></extra>",
        )
    best = pareto(bubbles)
    if len(best) > 1:
        figure.add_scatter(
            x=[bubble.x for bubble in best],
            y=[bubble.y for bubble in best],
            mode="lines",
            line={"dash": "dot", "width": 1, "color": "gray"},
            hoverinfo="skip",
            name="not beaten in both",
        )
    figure = finish(figure, title, x=x, y=y)
    figure.update_layout(height=420, legend={"itemsizing": "constant", **LEGEND_BELOW})
    # a mark at zero must not lie on the axis' own figures
    figure.update_xaxes(range=_room_for_marks([bubble.x for bubble in bubbles], below=0.08))
    figure.update_yaxes(range=_room_for_marks([bubble.y for bubble in bubbles]))
    return figure


def _room_for_marks(values: Sequence[float], *, below: float = 0.0) -> list[float]:
    longest = max(values, default=0.0) or 1.0
    return [-below * longest, 1.2 * longest]


def pareto(bubbles: Sequence[Bubble]) -> list[Bubble]:
    """Those that no other one beats in both figures, by rising cost."""
    best: list[Bubble] = []
    for bubble in sorted(bubbles, key=lambda bubble: (bubble.x, -bubble.y)):
        if not best or bubble.y > best[-1].y:
            best.append(bubble)
    return best


def show(figure: go.Figure, *, key: str) -> None:
    """Put a figure on the page in the theme's colours; its title names it for a screen reader."""
    st.plotly_chart(figure, key=key, config=_CONFIG, alt=unescape(figure.layout.title.text))


def finish(
    figure: go.Figure, title: str, *, x: str, y: str, hovermode: str = "closest", legend: bool = True
) -> go.Figure:
    """Give a figure its title, its axes' names with units, and the form that all charts share."""
    figure.update_layout(
        title=plain(title),
        height=_HEIGHT,
        margin=margin(),
        hovermode=hovermode,
        showlegend=legend,
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 1, "xanchor": "right"},
    )
    figure.update_xaxes(title=plain(x) or None)
    figure.update_yaxes(title=plain(y), rangemode="tozero")
    return figure


def plain(text: str) -> str:
    """Text for a figure: plotly reads a little HTML in names, titles and what is shown on hover."""
    return escape(text, quote=False)


def margin() -> dict[str, int]:
    """The room around a figure, px."""
    return {"l": 8, "r": 8, "t": 56, "b": 8}
