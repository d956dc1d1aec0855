"""A report's charts as SVG: drawn from numbers, coloured by the page's style sheet, with every value written out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import assert_never

from app.reports.report import Chart, Shape, Value
from engine.untrusted import valid_text

_NAMES, _PLOT, _TEXTS = 170, 320, 170  # widths in px: what stands left of the plot, the plot, what stands right of it
_WIDTH = _NAMES + _PLOT + _TEXTS
_ROW, _MARK, _AXIS = 26, 14, 40  # heights in px: a row, the name of a mark, the axis
_LONGEST_NAME = 26
_MOST_TICKS = 6
_ROOM = 0.06  # of the range, beyond its ends


def chart_svg(chart: Chart) -> str:
    """An SVG element for an HTML page; texts in it are escaped."""
    low, high = _range(chart)

    def x(value: float) -> float:
        """Its place; beyond the range, the range's end."""
        return round(_NAMES + _PLOT * (min(max(value, low), high) - low) / (high - low), 1)

    top = 8 + _MARK * len(chart.marks)  # each mark's name on a line of its own: they may stand close together
    bottom = top + _ROW * len(chart.values)
    ticks = _ticks(low, high)
    decimals = _decimals(ticks)
    parts = [
        f'<line class="grid" x1="{x(tick)}" x2="{x(tick)}" y1="{top}" y2="{bottom}"/>'
        f'<text class="tick" x="{x(tick)}" y="{bottom + 15}" text-anchor="middle">{_number(tick, decimals)}</text>'
        for tick in ticks
    ]
    parts += [
        f'<line class="mark" x1="{x(mark.value)}" x2="{x(mark.value)}" y1="{_MARK * place + 4}" y2="{bottom}"/>'
        f'<text class="tick" x="{x(mark.value) + 4}" y="{_MARK * place + 12}">{_text(mark.name)}</text>'
        for place, mark in enumerate(chart.marks)
    ]
    for place, value in enumerate(chart.values):
        middle = top + _ROW * place + _ROW / 2
        name = value.name if len(value.name) <= _LONGEST_NAME else f"{value.name[: _LONGEST_NAME - 1]}…"
        parts += [
            f'<text x="{_NAMES - 8}" y="{middle + 4}" text-anchor="end">{_text(name)}'
            f"<title>{_text(value.name)}</title></text>",
            _drawn(chart.shape, value, x, middle),
            f'<text class="value" x="{_NAMES + _PLOT + 8}" y="{middle + 4}">{_text(value.text)}</text>',
        ]
    parts.append(
        f'<text class="tick" x="{_NAMES + _PLOT / 2}" y="{bottom + 32}" text-anchor="middle">{_text(chart.unit)}</text>'
    )
    said = "; ".join(f"{value.name}: {value.text}" for value in chart.values)
    return (
        f'<svg class="chart" role="img" viewBox="0 0 {_WIDTH} {bottom + _AXIS}" '
        f'aria-label="{_text(f"{chart.title}. {said}")}">{"".join(parts)}</svg>'
    )


def _drawn(shape: Shape, value: Value, x: Callable[[float], float], middle: float) -> str:
    """The bar or the point of a value, and the line of its interval; nothing for what was not measured."""
    if value.value is None or math.isnan(value.value):
        return ""
    match shape:
        case Shape.BARS:
            left, right = sorted((x(value.start), x(value.value)))
            drawn = f'<rect class="bar" x="{left}" y="{middle - 8}" width="{round(right - left, 1)}" height="16"/>'
        case Shape.INTERVALS:
            drawn = f'<circle class="bar" cx="{x(value.value)}" cy="{middle}" r="5"/>'
        case _:
            assert_never(shape)
    if value.low is None or value.high is None or math.isnan(value.low) or math.isnan(value.high):
        return drawn
    begin, end = x(value.low), x(value.high)
    ends = "".join(f"M{place} {middle - 5}V{middle + 5}" for place in (begin, end))
    return f'{drawn}<path class="interval" d="M{begin} {middle}H{end}{ends}"/>'


def _range(chart: Chart) -> tuple[float, float]:
    """From where to where the axis goes: all values and marks, and zero where bars begin there."""
    values = [
        each
        for value in chart.values
        for each in (value.value, value.low, value.high, value.start if chart.shape is Shape.BARS else None)
        if each is not None and math.isfinite(each)
    ]
    values += [mark.value for mark in chart.marks]
    if chart.shape is Shape.BARS or not values:
        values.append(0.0)
    low, high = min(values), max(values)
    room = (high - low) * _ROOM or abs(high) * _ROOM or 1.0
    at_zero = chart.shape is Shape.BARS
    return (low if at_zero and low == 0 else low - room), (high if at_zero and high == 0 and low < 0 else high + room)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers within a range: multiples of 1, 2 or 5 of a power of ten, two to seven."""
    rough = (high - low) / _MOST_TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [step * place for place in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _decimals(ticks: Sequence[float]) -> int:
    """So many digits after the point as tell ticks apart."""
    step = ticks[1] - ticks[0] if len(ticks) > 1 else 1.0
    return max(0, -math.floor(math.log10(step) + 1e-9))


def _number(tick: float, decimals: int) -> str:
    return f"{tick:,.{decimals}f}".replace("-", "−") if tick else "0"


def _text(text: str) -> str:
    return escape(valid_text(text))
