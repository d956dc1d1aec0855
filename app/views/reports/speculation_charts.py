"""The charts of speculative decoding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from app import units
from app.views.shared.charts import DASHES, SYMBOLS, finish, margin, plain
from engine.types import RunMetrics, SpeculationReport

_PATTERNS = ("", "/", "x", "-", ".", "+")


@dataclass(frozen=True, slots=True)
class Position:
    """A place within drafts, 1 for the first drafted token."""

    number: int
    drafted: int
    accepted: int


def by_position(report: SpeculationReport) -> tuple[Position, ...]:
    """How many drafts reached each place, and how many of them were accepted that far."""
    longest = max((len(entry.token_ids) for entry in report.rounds), default=0)
    return tuple(
        Position(
            number=number,
            drafted=sum(len(entry.token_ids) >= number for entry in report.rounds),
            accepted=sum(entry.accepted >= number for entry in report.rounds),
        )
        for number in range(1, longest + 1)
    )


def time_split(report: SpeculationReport, metrics: RunMetrics) -> Mapping[str, float]:
    """Seconds of writing the answer after its first token, by what they went to."""
    parts = {
        "drafting": report.drafting_s,
        "verification": report.verification_s,
        "plain steps": report.plain_s,
        "choosing tokens": report.choosing_s,
    }
    whole_s = metrics.e2e_s - (metrics.ttft_s or 0.0)
    return {**parts, "the rest": max(0.0, whole_s - sum(parts.values()))}


def acceptance_by_position(positions: Sequence[Position]) -> go.Figure:
    """The share of drafts accepted as far as each of their tokens."""
    figure = go.Figure(
        go.Bar(
            x=[position.number for position in positions],
            y=[100 * position.accepted / position.drafted for position in positions],
            customdata=[f"{position.accepted} of {position.drafted} drafts" for position in positions],
            hovertemplate="Token %{x} of a draft: %{y:.0f} % accepted, %{customdata}<extra></extra>",
        )
    )
    figure.update_xaxes(tickformat="d", dtick=1 if len(positions) <= 16 else 4)
    figure.update_yaxes(range=[0, 100])
    return finish(figure, "Acceptance by position in the draft", x="token of the draft", y="% accepted", legend=False)


def stacked_bar(parts: Mapping[str, float], *, title: str) -> go.Figure:
    """One bar of parts given in seconds and drawn in ms, a layer each, its share on hover."""
    figure = go.Figure()
    whole = sum(parts.values()) or 1.0
    for place, (name, seconds) in enumerate(parts.items()):
        figure.add_bar(
            orientation="h",
            x=[1000 * seconds],
            y=[""],
            name=plain(name),
            marker={"pattern": {"shape": _PATTERNS[place % len(_PATTERNS)], "fillmode": "overlay"}},
            hovertemplate=f"{plain(name)}: {units.seconds(seconds)}, {units.percent(seconds / whole)}<extra></extra>",
        )
    figure.update_layout(
        barmode="stack",
        title=plain(title),
        height=220,
        margin=margin(),
        legend={"orientation": "h", "traceorder": "normal", "y": -0.35, "yanchor": "top", "x": 0},
    )
    return figure


def grouped_bars(
    names: Sequence[str], series: Mapping[str, Sequence[float | None]], *, title: str, unit: str
) -> go.Figure:
    """Measured speed-ups by category, one bar for each drafter; the line at 1 is plain decoding."""
    figure = go.Figure()
    for place, (name, values) in enumerate(series.items()):
        figure.add_bar(
            x=list(map(plain, names)),
            y=values,
            name=plain(name),
            marker={"pattern": {"shape": _PATTERNS[place % len(_PATTERNS)], "fillmode": "overlay"}},
            hovertemplate="%{x}: %{y:.2f}×<extra>%{fullData.name}</extra>",
        )
    figure.add_hline(y=1, line={"dash": "dot", "width": 1, "color": "gray"})
    return finish(figure, title, x="", y=unit)


def speedup_curves(gammas: Sequence[int], curves: Mapping[str, Sequence[float | None]]) -> go.Figure:
    """Measured and predicted speed-up against γ."""
    figure = go.Figure()
    for place, (name, values) in enumerate(curves.items()):
        figure.add_scatter(
            x=gammas,
            y=values,
            name=plain(name),
            mode="lines+markers",
            marker={"size": 8, "symbol": SYMBOLS[place]},
            line={"dash": DASHES[place]},
            hovertemplate="γ %{x}: %{y:.2f}×<extra>%{fullData.name}</extra>",
        )
    figure.add_hline(y=1, line={"dash": "dot", "width": 1, "color": "gray"})
    figure.update_xaxes(tickvals=list(gammas))
    return finish(figure, "Speed-up against γ", x="drafted tokens (γ)", y="× plain decoding")
