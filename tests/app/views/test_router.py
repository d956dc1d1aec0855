"""How the Router lab writes and draws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from app import units
from app.router.choosing.scoring import Choice
from app.router.choosing.study import Study
from app.views.router.choosing.charts import Mark, Path, quality_against_cost, reliability
from app.views.router.choosing.threshold import right_or_wrong
from app.views.router.words import between, flipped, in_words, signed_percent
from engine.cascade import Figure, Reliability
from tests.support.cascade import STRONG, WEAK, recorded


@pytest.mark.parametrize(
    ("low", "high", "written"), [(0.72, 0.78, "72 to 78 %"), (0.0, 1.0, "0 to 100 %"), (-0.05, 0.1, "−5 to 10 %")]
)
def test_an_interval_has_one_unit(low: float, high: float, written: str) -> None:
    assert between(low, high, signed_percent) == written


def test_an_interval_across_units_keeps_both() -> None:
    assert between(0.66, 1.06, units.seconds) == "660 ms to 1.06 s"
    assert between(0.9, 1.0, lambda value: f"{value:.2f}×") == "0.90× to 1.00×"


def test_what_is_saved_is_what_is_not_spent() -> None:
    assert flipped(Figure(value=0.3, low=0.2, high=1.1)) == Figure(value=0.7, low=1 - 1.1, high=0.8)
    assert flipped(None) is None


@pytest.mark.parametrize("choice", list(Choice))
def test_every_router_has_its_words(choice: Choice) -> None:
    study = Study.of(recorded(150), WEAK, STRONG, choice)
    words = in_words(study, 0.41, 0.38, 2)
    assert words.startswith("**0.410:**")
    assert "38 %" in words
    assert "2 prompts without a score always went up" in words


def test_a_reading_that_tells_nothing_leaves_the_text_to_decide() -> None:
    """First tokens that are all alike teach nothing, so that no prompt is read before it is judged."""
    alike = [
        replace(each, answers={**each.answers, WEAK: replace(each.answers[WEAK], entropies=(0.5,) * 12)})
        for each in recorded(150)
    ]
    study = Study.of(alike, WEAK, STRONG, Choice.READ_LEARNED)
    assert not study.router.reads_first
    assert not study.data.tried.any()
    assert "at once" in in_words(study, 0.4, 0.4, 0)


def test_scores_are_told_by_word_and_mark() -> None:
    assert [right_or_wrong(score) for score in (1.0, 0.0, 0.7)] == ["✓ right", "✗ wrong", "✓ right (0.70)"]


def test_lines_and_points_of_the_curve_are_told_apart_by_more_than_colour() -> None:
    dashes = {"A": "solid", "B": "dot", "C": "dash"}
    paths = [Path(name, [0.0, 1.0], [0.2, 0.9], ["a", "b"], dash) for name, dash in dashes.items()]
    now = Mark("Now", 0.5, 0.6, "star", "here", (0.4, 0.7), (0.5, 0.65))
    marks = [now, Mark("Large", 1.0, 0.9, "diamond", "there")]
    figure = quality_against_cost(paths, marks, title="T", x="s", y="score")
    lines = [trace for trace in figure.data if trace.mode == "lines"]
    points = [trace for trace in figure.data if trace.mode == "markers"]
    assert len({trace.line.dash for trace in lines}) == 3
    assert len({trace.marker.symbol for trace in points}) == 2
    assert points[0].y[0] == pytest.approx(60)
    assert points[0].error_y.array[0] == pytest.approx(5)
    assert points[0].error_x.arrayminus[0] == pytest.approx(0.1)
    assert figure.layout.yaxis.ticksuffix == " %"


def test_a_long_curve_is_thinned_and_keeps_its_ends() -> None:
    x = np.linspace(0, 1, 10_001).tolist()
    figure = quality_against_cost([Path("A", x, x, [""] * len(x))], [], title="T", x="s", y="score")
    assert len(figure.data[0].x) < 500
    assert (figure.data[0].x[0], figure.data[0].x[-1]) == (0, 1)


def test_reliability_draws_a_mark_for_each_filled_tenth() -> None:
    found = Reliability.of(np.array([0.05, 0.06, 0.95]), np.array([False, True, True]))
    figure = reliability(found, title="T")
    assert list(figure.data[1].y) == [50, 100]
