"""Charts are drawn from their numbers."""

from __future__ import annotations

import math
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.reports.charts import chart_svg
from app.reports.report import Chart, Mark, Shape, Value

BEGIN, END = 170.0, 490.0
"""Of the plot, px."""
numbers = st.one_of(st.none(), st.floats(-1e9, 1e9), st.sampled_from([math.inf, -math.inf, math.nan]))
values = st.builds(Value, st.text(), numbers, st.text(), numbers, numbers)


def drawn(chart: Chart) -> ElementTree.Element:
    return ElementTree.fromstring(chart_svg(chart))


def of_class(svg: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [each for each in svg.iter() if each.get("class") == name]


def number(element: ElementTree.Element, attribute: str) -> float:
    return float(element.attrib[attribute])


def test_bars_begin_at_zero_and_are_as_long_as_their_values() -> None:
    svg = drawn(Chart(title="E2E", unit="s", values=(Value("a", 4.0, "4 s", 3.0, 5.0), Value("b", 2.0, "2 s"))))
    long, short = of_class(svg, "bar")
    assert number(long, "x") == number(short, "x") == BEGIN
    assert number(long, "width") == pytest.approx(2 * number(short, "width"), abs=0.2)
    (interval,) = of_class(svg, "interval")
    begin, end = BEGIN + number(long, "width") * 0.75, BEGIN + number(long, "width") * 1.25
    assert interval.attrib["d"].startswith(f"M{begin:.1f} ")
    assert f"H{end:.1f}" in interval.attrib["d"]


def test_bars_below_zero_end_at_it() -> None:
    svg = drawn(Chart(title="Change", unit="s", values=(Value("a", -4.0, "−4 s"), Value("b", 2.0, "2 s"))))
    below, above = of_class(svg, "bar")
    assert number(below, "x") + number(below, "width") == pytest.approx(number(above, "x"), abs=0.2)


def test_a_step_begins_where_the_one_before_it_ends() -> None:
    steps = (Value("none", 4.0, "4 s"), Value("a", 1.0, "−3", start=4.0), Value("all", 1.0, "1 s"))
    whole, step, rest = of_class(drawn(Chart(title="E2E", unit="s", values=steps)), "bar")
    assert number(step, "x") == pytest.approx(number(rest, "x") + number(rest, "width"), abs=0.2)
    assert number(step, "x") + number(step, "width") == pytest.approx(
        number(whole, "x") + number(whole, "width"), abs=0.2
    )


def test_intervals_stand_where_their_marks_say() -> None:
    chart = Chart(
        title="Difference",
        unit="points",
        shape=Shape.INTERVALS,
        values=(Value("a", -1.0, "−1.0", -3.0, 1.0),),
        marks=(Mark(0.0, "none"), Mark(-2.0, "margin")),
    )
    svg = drawn(chart)
    none, margin = (number(mark, "x1") for mark in of_class(svg, "mark"))
    (point,) = of_class(svg, "bar")
    assert number(point, "cx") == pytest.approx((none + margin) / 2, abs=0.1)


def test_what_was_not_measured_is_written_and_not_drawn() -> None:
    svg = drawn(Chart(title="E2E", unit="s", values=(Value("a", None, "–"), Value("b", math.nan, "–"))))
    assert not of_class(svg, "bar")
    assert [each.text for each in of_class(svg, "value")] == ["–", "–"]


@given(st.lists(values, max_size=6), st.sampled_from(Shape), st.lists(st.floats(-1e9, 1e9), max_size=2))
def test_nothing_is_drawn_outside_the_plot(found: list[Value], shape: Shape, marks: list[float]) -> None:
    chart = Chart(title="t", unit="u", values=tuple(found), shape=shape, marks=tuple(Mark(each, "m") for each in marks))
    text = chart_svg(chart)
    assert "nan" not in text.replace("nan", "", sum("nan" in f"{v.name}{v.text}" for v in found))
    svg = of_class(ElementTree.fromstring(_readable(text)), "bar")
    for bar in svg:
        begin = number(bar, "x") if shape is Shape.BARS else number(bar, "cx")
        width = number(bar, "width") if shape is Shape.BARS else 0.0
        assert BEGIN <= begin <= begin + width <= END + 0.2


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_a_few_different_round_numbers(begin: float, width: float) -> None:
    chart = Chart(title="t", unit="u", shape=Shape.INTERVALS, values=(Value("a", begin, "", begin, begin + width),))
    ticks = [each.text for each in of_class(drawn(chart), "tick")][:-1]
    places = [number(each, "x1") for each in of_class(drawn(chart), "grid")]
    assert 2 <= len(ticks) <= 7
    assert len(set(ticks)) == len(ticks)
    assert all(before < after for before, after in pairwise(places))


def _readable(text: str) -> str:
    """Without the characters that HTML takes and XML does not."""
    return "".join(each for each in text if each >= " " and each not in "\ufffe\uffff")
