"""The Router lab's charts. What must be told apart differs in dash or marker as well as in colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from app import units
from app.views.shared.charts import LEGEND_BELOW, finish, plain
from engine.cascade import Reliability

_HEIGHT = 440
_MOST_POINTS = 400


@dataclass(frozen=True, slots=True)
class Path:
    """One line of quality (0 to 1) against cost; each point with what the reader sees on hover."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    details: Sequence[str]
    dash: str = "solid"


@dataclass(frozen=True, slots=True)
class Mark:
    """One point of quality (0 to 1) against cost, perhaps with 95 % intervals."""

    name: str
    x: float
    y: float
    symbol: str
    details: str
    x_interval: tuple[float, float] | None = None
    y_interval: tuple[float, float] | None = None


def quality_against_cost(paths: Sequence[Path], marks: Sequence[Mark], *, title: str, x: str, y: str) -> go.Figure:
    """Lines and points: further left is cheaper, higher is better."""
    figure = go.Figure()
    for path in paths:
        step = max(1, len(path.x) // _MOST_POINTS)
        at = sorted({*range(0, len(path.x), step), len(path.x) - 1})
        figure.add_scatter(
            x=[path.x[i] for i in at],
            y=[100 * path.y[i] for i in at],
            customdata=[path.details[i] for i in at],
            name=plain(path.name),
            mode="lines",
            line={"dash": path.dash, "width": 3 if path.dash == "solid" else 2},
            hovertemplate="%{customdata}<extra>%{fullData.name}</extra>",
        )
    for mark in marks:
        figure.add_scatter(
            x=[mark.x],
            y=[100 * mark.y],
            customdata=[mark.details],
            name=plain(mark.name),
            mode="markers",
            marker={"size": 13, "symbol": mark.symbol, "line": {"width": 1}},
            error_x=_whiskers(mark.x, mark.x_interval),
            error_y=_whiskers(mark.y, mark.y_interval, 100),
            hovertemplate="%{customdata}<extra>%{fullData.name}</extra>",
        )
    figure = finish(figure, title, x=x, y=y)
    figure.update_layout(height=_HEIGHT, legend={**LEGEND_BELOW, "y": -0.2}, hoverlabel={"namelength": -1})
    figure.update_xaxes(rangemode="tozero")
    figure.update_yaxes(rangemode="normal", ticksuffix=" %")
    return figure


def reliability(found: Reliability, *, title: str) -> go.Figure:
    """The share that needed the large model against the score; on the diagonal, scores mean what they say."""
    figure = go.Figure()
    figure.add_scatter(
        x=[0, 1],
        y=[0, 100],
        name="scores that mean what they say",
        mode="lines",
        line={"dash": "dot", "color": "gray", "width": 1},
        hoverinfo="skip",
    )
    largest = max((part.prompts for part in found.bins), default=1)
    figure.add_scatter(
        x=[part.mean_score for part in found.bins],
        y=[100 * part.needed for part in found.bins],
        name="this router, a mark for each tenth of the scale",
        mode="lines+markers",
        marker={"size": [8 + 22 * (part.prompts / largest) ** 0.5 for part in found.bins], "opacity": 0.8},
        customdata=[
            f"Scores {part.low:.1f} to {part.high:.1f}: {part.prompts:,} prompts<br>Mean score {part.mean_score:.2f}, "
            f"{units.percent(part.needed)} needed the large model"
            for part in found.bins
        ],
        hovertemplate="%{customdata}<extra></extra>",
    )
    figure = finish(figure, title, x="Mean score", y="Share that needed the large model")
    figure.update_layout(height=_HEIGHT, legend={**LEGEND_BELOW, "y": -0.2, "itemsizing": "constant"})
    figure.update_xaxes(range=[-0.04, 1.04])
    figure.update_yaxes(range=[-4, 104], rangemode="normal", ticksuffix=" %")
    return figure


def _whiskers(value: float, interval: tuple[float, float] | None, scale: float = 1) -> dict[str, object] | None:
    if interval is None:
        return None
    low, high = interval
    return {
        "type": "data",
        "symmetric": False,
        "array": [scale * (high - value)],
        "arrayminus": [scale * (value - low)],
        "width": 4,
    }
