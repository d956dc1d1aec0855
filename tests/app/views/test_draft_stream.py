"""The coloured answer tells the source of every token, and its charts count drafts as they were."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.store import Timeline
from app.views.reports.draft_report import tokens_per_pass
from app.views.reports.draft_stream import ACCEPTED, ALONE, BONUS, REPLACED, draft_segments
from app.views.reports.speculation_charts import by_position, time_split
from engine.types import DraftRound, TokenEvent
from tests.support.drafting import make_report
from tests.support.fakes import make_metrics

WORDS = ("The", " sky", " is", " very", " blue", ".")


def timeline(words: tuple[str, ...] = WORDS) -> Timeline:
    return Timeline.from_events([TokenEvent(n, word, 0.1 * n, -0.25, 1.0) for n, word in enumerate(words)])


def drafted(at: int, accepted: int, *texts: str) -> DraftRound:
    return DraftRound(
        at=at, drafter="ngram", token_ids=tuple(range(len(texts))), accepted=accepted, match_length=2, texts=texts
    )


def test_every_token_has_its_source_and_a_rejected_draft_is_told_on_hover() -> None:
    report = make_report([drafted(1, 2, " sky", " is"), drafted(4, 0, " grey", " today")])
    segments = draft_segments(timeline(), report)
    assert [segment.category for segment in segments] == [ALONE, ACCEPTED, ACCEPTED, BONUS, REPLACED, ALONE]
    assert "".join(segment.text for segment in segments) == "".join(WORDS)
    assert "Rejected: ' grey' ' today'" in segments[4].tooltip
    assert "Draft of 2 tokens by n-grams, 2 tokens matched" in segments[1].tooltip


def test_only_the_rejected_part_of_a_draft_is_a_ghost() -> None:
    segments = draft_segments(timeline(), make_report([drafted(1, 1, " sky", " was")]))
    assert [segment.category for segment in segments][1:3] == [ACCEPTED, REPLACED]
    assert "Rejected: ' was'" in segments[2].tooltip


def test_a_draft_at_the_very_end_needs_no_token_after_it() -> None:
    segments = draft_segments(timeline(), make_report([drafted(5, 1, ".")]))
    assert [segment.category for segment in segments] == [ALONE] * 5 + [ACCEPTED]


rounds = st.lists(st.integers(1, 8).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))), max_size=12)


@given(rounds)
def test_positions_add_up_to_the_drafted_and_accepted_tokens(lengths: list[tuple[int, int]]) -> None:
    report = make_report([drafted(0, accepted, *["x"] * length) for length, accepted in lengths])
    positions = by_position(report)
    assert sum(position.drafted for position in positions) == sum(length for length, _ in lengths)
    assert sum(position.accepted for position in positions) == sum(accepted for _, accepted in lengths)
    shares = [position.accepted / len(lengths) for position in positions]
    assert shares == sorted(shares, reverse=True)


def test_the_time_split_adds_up_to_the_time_after_the_first_token() -> None:
    metrics = make_metrics(ttft_s=0.1, e2e_s=0.5)
    split = time_split(make_report(), metrics)
    assert sum(split.values()) == pytest.approx(0.4)
    assert split["the rest"] == pytest.approx(0.4 - 0.033)


def test_plain_decoding_gives_one_token_a_pass() -> None:
    assert tokens_per_pass(make_metrics(completion_tokens=6)) == 1
    assert tokens_per_pass(replace(make_metrics(completion_tokens=6), accepted_tokens=4)) == 3
