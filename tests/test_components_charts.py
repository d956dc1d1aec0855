from __future__ import annotations

from datetime import datetime

from app.components import charts


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


def test_a_legend_is_drawn_where_there_is_something_to_tell_apart() -> None:
    x = [datetime(2026, 1, 1), datetime(2026, 1, 2)]
    one = charts.lines_over_time([charts.Line("peak", x, [1, None])], title="Memory", unit="MiB")
    two = charts.stacked_over_time(x, {"a": [1, 2], "b": [0, 1]}, title="Runs", unit="runs")
    assert one.layout.showlegend is False
    assert two.layout.showlegend is True
    assert two.layout.barmode == "stack"
