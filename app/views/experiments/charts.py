"""The charts of an experiment. What must be told apart differs in marker or dash as well as in colour."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from app import units
from app.experiments.results.figures import Figures
from app.experiments.verdicts.gears import Shown
from app.experiments.verdicts.verdict import TOO_FEW_TEMPLATES, QualityVerdict
from app.experiments.verdicts.waterfall import Bar, Waterfall, WaterfallFigure
from app.views.shared.charts import finish, plain

_ROW = 34
_MOST_SLICES = 15


def quality_intervals(verdict: QualityVerdict) -> go.Figure:
    """The difference to the baseline with its interval, of all prompts and by category, beside the margin."""
    slices = sorted(verdict.slices, key=lambda each: each.difference)[:_MOST_SLICES]
    names = ["All prompts", *(each.category for each in slices)]
    values = [verdict.difference, *(each.difference for each in slices)]
    intervals = [verdict.interval, *(each.interval for each in slices)]
    pairs = list(zip(intervals, values, strict=True))
    differs = [not verdict.interval.low <= 0 <= verdict.interval.high, *(each.differs for each in slices)]
    counts = [verdict.prompts, *(each.prompts for each in slices)]
    figure = go.Figure(
        go.Scatter(
            x=[100 * value for value in values],
            y=[plain(name) for name in names],
            mode="markers",
            marker={"size": 11, "symbol": ["diamond" if each else "circle-open" for each in differs]},
            error_x={
                "array": [100 * (each.high - value) if each else None for each, value in pairs],
                "arrayminus": [100 * (value - each.low) if each else None for each, value in pairs],
            },
            customdata=[
                f"{units.points(value)}, "
                + (f"95 % {units.points_between(each.low, each.high)}" if each else TOO_FEW_TEMPLATES)
                + f", {units.counted(count, 'prompt')}"
                for (each, value), count in zip(pairs, counts, strict=True)
            ],
            hovertemplate="%{y}: %{customdata}<extra></extra>",
        )
    )
    figure.add_vline(x=0, line={"color": "gray", "width": 1})
    figure.add_vline(
        x=-100 * verdict.shown.margin,
        line={"color": "gray", "width": 1, "dash": "dash"},
        annotation={"text": "margin", "font": {"size": 11}},
        annotation_position="bottom left",
    )
    figure = finish(figure, "Quality against the baseline", x="Points, with 95 % interval", y="", legend=False)
    figure.update_layout(height=170 + _ROW * len(names))
    figure.update_yaxes(autorange="reversed", automargin=True)
    return figure


def times_chart(before: Figures, after: Figures) -> go.Figure:
    """E2E and TTFT at percentiles, the baseline beside the candidate."""
    labels = ["E2E p50", "E2E p95", "TTFT p50", "TTFT p95"]
    figure = go.Figure()
    for figures, pattern in ((before, "/"), (after, "")):
        values = [figures.e2e.p50, figures.e2e.p95, figures.ttft.p50, figures.ttft.p95]
        figure.add_bar(
            x=labels,
            y=values,
            name=plain(figures.name),
            marker={"pattern": {"shape": pattern, "fillmode": "overlay"}},
            customdata=[units.seconds(value) for value in values],
            hovertemplate="%{x}: %{customdata}<extra>%{fullData.name}</extra>",
        )
    figure.update_layout(barmode="group")
    return finish(figure, "Times with the engine alone", x="", y="Seconds")


def waterfall_chart(found: Waterfall, shown: Shown) -> go.Figure:
    """Bars from no gears to all of them, each with its interval.

    Args:
        found: what each gear changes.
        shown: how the figure is written.
    """
    unit, scale = plain(shown.unit), shown.scale
    names = ["No gears", *(bar.gear for bar in found.bars), "All on"]
    values = [found.baseline * scale, *(bar.change * scale for bar in found.bars), found.total * scale]
    texts = [shown.number(found.baseline), *(shown.change(bar.change) for bar in found.bars), shown.number(found.total)]
    better_up = found.figure is WaterfallFigure.QUALITY
    better, worse = {"marker": {"color": "#009E73"}}, {"marker": {"color": "#D55E00"}}
    figure = go.Figure(
        go.Waterfall(
            x=[plain(name) for name in names],
            y=values,
            measure=["absolute", *("relative" for _ in found.bars), "total"],
            text=texts,
            textposition="outside",
            increasing=better if better_up else worse,
            decreasing=worse if better_up else better,
            totals={"marker": {"color": "gray"}},
            customdata=[
                "",
                *(
                    f"95 % {shown.range(bar)} {unit}" if bar.interval else "no spread to tell an interval"
                    for bar in found.bars
                ),
                "",
            ],
            hovertemplate="%{x}: %{text} " + unit + "<br>%{customdata}<extra></extra>",
            cliponaxis=False,
        )
    )
    if any(bar.interval for bar in found.bars):
        figure.add_trace(_intervals(found.bars, scale))
    return finish(figure, shown.title, x="", y=shown.unit, legend=False)


def _intervals(bars: Sequence[Bar], scale: float) -> go.Scatter:
    """How far each bar may reach."""
    known = [(bar, bar.interval) for bar in bars if bar.interval]
    return go.Scatter(
        x=[plain(bar.gear) for bar, _ in known],
        y=[bar.end * scale for bar, _ in known],
        mode="markers",
        marker={"size": 1, "color": "gray"},
        error_y={
            "array": [(interval.high - bar.change) * scale for bar, interval in known],
            "arrayminus": [(bar.change - interval.low) * scale for bar, interval in known],
            "color": "gray",
            "thickness": 2,
            "width": 5,
        },
        hoverinfo="skip",
    )
