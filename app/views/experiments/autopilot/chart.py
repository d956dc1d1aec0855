"""The trade-off that an autopilot has found so far: quality against latency, with the Pareto front and the limits."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import plotly.graph_objects as go

from app import units
from app.experiments.autopilot.front import pareto_front
from app.experiments.autopilot.goal import Goal, Reading
from app.views.shared.charts import LEGEND_BELOW, finish, plain

_LEAST, _MOST = 9, 26  # px


def front_chart(readings: Sequence[Reading], goal: Goal, *, left: Collection[str], baseline: str) -> go.Figure:
    """Every configuration that was measured; a marker's area is its memory.

    Args:
        readings: of all of them.
        goal: its limits are drawn.
        left: the names of those that are still in the search, or were to its end.
        baseline: its name.
    """
    shown = [each for each in readings if each.latency_s and math.isfinite(each.latency_s)]
    shown = [each for each in shown if each.difference is not None]
    scale, unit = (1.0, "s") if goal.seconds >= 1 else (1000.0, "ms")
    most = max((each.memory_bytes or 0.0 for each in shown), default=0.0) or 1.0
    best = set(pareto_front(shown))
    groups = (
        ("Dropped", "circle-open", [each for each in shown if each.name not in {*left, *best, baseline}]),
        ("On the Pareto front", "diamond", [each for each in shown if each.name in best and each.name != baseline]),
        ("Still in", "circle", [each for each in shown if each.name in left and each.name not in {*best, baseline}]),
        ("Baseline", "star", [each for each in shown if each.name == baseline]),
    )
    figure = go.Figure()
    for name, symbol, members in groups:
        if members:
            figure.add_scatter(
                x=[(each.latency_s or 0.0) * scale for each in members],
                y=[100 * (each.difference or 0.0) for each in members],
                name=name,
                mode="markers",
                marker={
                    "symbol": symbol,
                    "size": [max(_LEAST, _MOST * ((each.memory_bytes or 0.0) / most) ** 0.5) for each in members],
                    "opacity": 0.8,
                },
                customdata=[_details(each, goal) for each in members],
                hovertemplate="%{customdata}<extra></extra>",
            )
    line = sorted((each for each in shown if each.name in best), key=lambda each: each.latency_s or 0.0)
    if len(line) > 1:
        figure.add_scatter(
            x=[(each.latency_s or 0.0) * scale for each in line],
            y=[100 * (each.difference or 0.0) for each in line],
            mode="lines",
            line={"dash": "dot", "width": 1, "color": "gray"},
            hoverinfo="skip",
            showlegend=False,
        )
    limit = {"color": "gray", "width": 1, "dash": "dash"}
    figure.add_vline(x=goal.seconds * scale, line=limit, annotation={"text": "SLO", "font": {"size": 11}})
    figure.add_hline(y=-goal.margin_points, line=limit, annotation={"text": "quality floor", "font": {"size": 11}})
    figure = finish(
        figure, "Quality against latency", x=f"{goal.latency_name}, {unit}", y="Points against the baseline"
    )
    figure.update_layout(height=420, legend={"itemsizing": "constant", **LEGEND_BELOW})
    figure.update_xaxes(rangemode="tozero")
    figure.update_yaxes(rangemode="normal")
    return figure


def _details(each: Reading, goal: Goal) -> str:
    return "<br>".join(
        [
            f"<b>{plain(each.name)}</b>",
            f"{goal.latency_name} {units.seconds(each.latency_s)}",
            f"{units.points(each.difference or 0.0)}, within the margin with {units.percent(each.kept)}",
            f"{units.memory(each.memory_bytes)} of weights and KV",
            units.counted(each.prompts, "prompt"),
        ]
    )
