from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import numpy as np

from app.views.shared import charts


def test_lines_are_told_apart_by_more_than_colour() -> None:
    lines = [charts.Line(name, (0.0, 1.0), (0, 1)) for name in "ABCD"]
    figure = charts.token_timelines(lines)
    assert len({trace.line.dash for trace in figure.data}) == 4
    assert [trace.name for trace in figure.data] == list("ABCD")
    assert figure.layout.xaxis.title.text == "Seconds since the request arrived"


def test_a_bar_without_a_value_keeps_its_place_and_its_text() -> None:
    bars = [charts.Bar("A", None, "–"), charts.Bar("B", 12.0, "12 ms")]
    figure = charts.horizontal_bars(bars, title="TPOT", unit="ms")
    assert list(figure.data[0].y) == ["A", "B"]
    assert list(figure.data[0].text) == ["–", "12 ms"]
    assert figure.layout.xaxis.title.text == "ms"
    assert figure.layout.title.text == "TPOT"


def test_a_bar_over_rounds_is_their_median_with_their_range() -> None:
    bars = [charts.Bar.over("A", [3.0, 1.0, 2.0], "2 ms"), charts.Bar.over("B", [4.0], "4 ms")]
    figure = charts.horizontal_bars(bars, title="TPOT", unit="ms")
    assert list(figure.data[0].x) == [2.0, 4.0]
    assert list(figure.data[0].error_x.array) == [1.0, 0.0]
    assert list(figure.data[0].error_x.arrayminus) == [1.0, 0.0]
    assert list(figure.data[1].x) == [3.0, 4.0], "the figure stands beyond the range"
    alone = charts.horizontal_bars(bars[1:], title="TPOT", unit="ms")
    assert alone.data[0].error_x.array is None


def test_a_legend_is_drawn_where_there_is_something_to_tell_apart() -> None:
    x = [datetime(2026, 1, 1), datetime(2026, 1, 2)]
    one = charts.lines_over_time([charts.Line("peak", x, [1, None])], title="Memory", unit="MiB")
    two = charts.stacked_over_time(x, {"a": [1, 2], "b": [0, 1]}, title="Runs", unit="runs")
    assert one.layout.showlegend is False
    assert two.layout.showlegend is True
    assert two.layout.barmode == "stack"


def test_numbered_things_get_whole_ticks_and_their_details_on_hover() -> None:
    lines = [charts.Line(name, list(range(1, 31)), [1.0] * 29 + [None], ["a point"] * 30) for name in "AB"]
    figure = charts.by_number(lines, title="TTFT by turn", x="Turn", y="TTFT, ms")
    assert figure.layout.xaxis.dtick == 3
    assert charts.by_number([charts.Line("A", [1], [2.0], ["x"])], title="", x="", y="").layout.xaxis.dtick == 1
    assert {trace.customdata[0] for trace in figure.data} == {"a point"}
    assert len({(trace.line.dash, trace.marker.symbol) for trace in figure.data}) == 2
    assert figure.layout.showlegend is True


def bubble(name: str, x: float, y: float, size: float = 1.0) -> charts.Bubble:
    return charts.Bubble(name, x, y, size)


def test_what_another_beats_in_both_is_off_the_frontier() -> None:
    bubbles = [bubble("bf16", 0.0, 50), bubble("nf4", 0.3, 80), bubble("int4", 0.02, 100), bubble("int8", 0.0, 70)]
    assert [b.name for b in charts.pareto(bubbles)] == ["int8", "int4"]
    assert charts.pareto([]) == []


def test_a_trade_off_tells_its_points_apart_by_shape_and_gives_size_to_the_area() -> None:
    bubbles = [bubble("bf16", 0.0, 50, 400), bubble("int8", 0.01, 70, 200), bubble("int4", 0.02, 100, 100)]
    figure = charts.trade_off(bubbles, title="Quality against speed", x="KLD (nats)", y="Tokens per second")
    marks = [trace for trace in figure.data if trace.mode == "markers"]
    assert len({trace.marker.symbol for trace in marks}) == 3
    assert marks[0].marker.size == 2 * marks[2].marker.size
    assert figure.layout.showlegend is True
    (line,) = (trace for trace in figure.data if trace.mode == "lines")
    assert list(line.x) == [0.0, 0.01, 0.02]


def test_names_titles_and_units_are_text_to_plotly_not_html() -> None:
    hostile, shown = "<a href='x'>&amp;</a> <b>", "&lt;a href='x'&gt;&amp;amp;&lt;/a&gt; &lt;b&gt;"
    line = charts.Line(hostile, [1.0], [2.0], [hostile])
    figures = [
        charts.horizontal_bars([charts.Bar(hostile, 1.0, hostile)], title=hostile, unit=hostile),
        charts.token_timelines([line]),
        charts.lines_over_time([line], title=hostile, unit="s"),
        charts.by_number([charts.Line(hostile, [1.0], [2.0], ["ours<br>"])], title=hostile, x=hostile, y=hostile),
        charts.icicle([charts.Box("a", "", hostile, 1.0, "ours<br>")], title=hostile),
        charts.trade_off([charts.Bubble(hostile, 1.0, 2.0, 3.0, [hostile])], title=hostile, x=hostile, y=hostile),
    ]
    for figure in figures:
        written = list(_strings(figure.to_plotly_json()))
        assert any(shown in text for text in written)
        assert not [text for text in written if "<a" in text or "&amp;<" in text]


def _strings(tree: Any) -> Iterator[str]:
    match tree:
        case str():
            yield tree
        case dict():
            for value in tree.values():
                yield from _strings(value)
        case list() | tuple() | np.ndarray():
            for value in tree:
                yield from _strings(value)
