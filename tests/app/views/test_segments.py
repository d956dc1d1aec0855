from __future__ import annotations

import json

import pytest

from app.views.shared.segments import Category, Hue, Line, Scale, Segment, payload

DRAFT = Category("draft", Hue.GREEN, Line.DOTTED)
HOSTILE = "</script><img src=x onerror=alert(1)>&amp;"


def test_the_pieces_together_are_the_text_unchanged() -> None:
    data = payload([Segment(HOSTILE), Segment("\n  "), Segment("😀")], label="Answer")
    assert "".join(json.loads(json.dumps(data))["texts"]) == HOSTILE + "\n  😀"


def test_strengths_stay_on_the_scale_and_absent_ones_stay_absent() -> None:
    segments = [Segment("a", -0.5), Segment("b", 0.25), Segment("c", 7.0), Segment("d")]
    data = payload(segments, label="x", scale=Scale("0 ms", "9 ms"))
    assert data["strengths"] == [0.0, 0.25, 1.0, None]
    assert data["legend"]["scale"] == {"low": "0 ms", "high": "9 ms", "hue": Hue.BLUE}


def test_a_segment_points_at_its_category_in_the_legend() -> None:
    other = Category("bonus", Hue.ORANGE, Line.UNDERLINE)
    data = payload([Segment("a"), Segment("b", category=DRAFT)], label="x", categories=(other, DRAFT))
    assert data["categories"] == [None, 1]
    assert data["legend"]["categories"][1]["label"] == "draft"


def test_a_category_that_the_legend_does_not_explain_is_refused() -> None:
    with pytest.raises(ValueError, match="draft"):
        payload([Segment("b", category=DRAFT)], label="x")
