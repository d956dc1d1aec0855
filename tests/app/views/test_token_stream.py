from __future__ import annotations

import math

import pytest

from app.store import Timeline
from app.views.reports.token_stream import ColourBy, gaps_s, token_view
from engine.types import TokenEvent


def timeline(times_s: list[float], logprobs: list[float] | None = None) -> Timeline:
    logprobs = logprobs or [-0.5] * len(times_s)
    return Timeline.from_events(
        [TokenEvent(7, f"w{n} ", t, logprob, 1.5) for n, (t, logprob) in enumerate(zip(times_s, logprobs, strict=True))]
    )


def test_the_first_token_has_no_gap_before_it() -> None:
    assert gaps_s([0.5, 0.75, 1.75]) == [None, 0.25, 1.0]
    assert gaps_s([]) == []


def test_an_even_stream_is_coloured_evenly_and_a_stall_stands_out() -> None:
    even = token_view(timeline([0.1, 0.2, 0.3, 0.4]), ColourBy.LATENCY)
    assert [s.strength for s in even.segments] == [None, *[pytest.approx(0.5)] * 3]
    stalled = token_view(timeline([0.1, 0.11, 0.12, 0.13, 1.13]), ColourBy.LATENCY)
    strengths = [s.strength or 0.0 for s in stalled.segments]
    assert strengths[-1] == pytest.approx(1.0)
    assert max(strengths[:-1]) < 0.05
    assert stalled.scale.high == "1.00 s or more"


def test_doubt_is_what_confidence_colours() -> None:
    view = token_view(timeline([0.1, 0.2, 0.3], [0.0, math.log(0.25), math.nan]), ColourBy.CONFIDENCE)
    assert [s.strength for s in view.segments] == [0.0, pytest.approx(0.75), None]


def test_a_tooltip_gives_the_tokens_figures_with_their_units() -> None:
    first, second = token_view(timeline([0.25, 0.275]), ColourBy.LATENCY).segments
    assert "TTFT 250 ms" in first.tooltip
    assert "ITL 25.0 ms" in second.tooltip
    assert "Probability 60.7 %" in second.tooltip
    assert "Entropy 1.50 nats" in second.tooltip
    assert "id 7" in second.tooltip[0]


def test_a_single_token_can_be_drawn() -> None:
    (only,) = token_view(timeline([0.3]), ColourBy.LATENCY).segments
    assert only.strength is None


def test_where_a_token_came_from_is_told_only_if_it_is_not_the_target_model() -> None:
    events = [TokenEvent(1, "a", 0.1, -0.1, 0.2), TokenEvent(2, "b", 0.2, -0.1, 0.2, source="draft", tier="small")]
    plain, drafted = token_view(Timeline.from_events(events), ColourBy.LATENCY).segments
    assert not any("Source" in line or "Model" in line for line in plain.tooltip)
    assert {"Source: draft", "Model: small"} <= set(drafted.tooltip)
