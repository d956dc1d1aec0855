"""The replay as one file."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any

import pytest

from app.replay.page_file import replay_page
from app.replay.recorded import ReplayError, ReplayLane
from tests.support.html import HOSTILE, Elements

LANE = ReplayLane(
    name="A · smollm2-135m · int4",
    model="smollm2-135m",
    machine="Xeon, 2 threads",
    recorded_at=datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC),
    prompt="Why is the sky blue?",
    pieces=("The", " sky", "."),
    at_s=(0.4123, 0.45, 0.4876),
    ttft_s=0.4123,
    tpot_s=0.0377,
    e2e_s=0.5,
)


def data_of(page: str) -> Any:
    (written,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page)
    return json.loads(written)


def test_the_file_says_what_was_recorded_when_and_on_what() -> None:
    page = replay_page([LANE, replace(LANE, note="stopped")])
    first, second = data_of(page)["lanes"]
    assert "Recorded, not live." in page
    assert first["name"] == "A · smollm2-135m · int4"
    assert first["recording"] == "smollm2-135m · Xeon, 2 threads · 2026-03-14 15:09:26 UTC"
    assert second["recording"].endswith("UTC · stopped")
    assert [figure[:2] for figure in first["figures"]] == [
        ["TTFT", "412 ms"],
        ["TPOT", "37.7 ms"],
        ["E2E", "500 ms"],
    ]


def test_times_are_kept_to_a_tenth_of_a_millisecond() -> None:
    data = data_of(replay_page([LANE]))
    (lane,) = data["lanes"]
    moments = [ticks / data["ticks_per_second"] for ticks in accumulate(lane["steps"])]
    assert moments == pytest.approx(LANE.at_s, abs=5e-5)
    assert lane["end_s"] == LANE.e2e_s


def test_a_prompt_that_all_answer_stands_there_once() -> None:
    same, other = data_of(replay_page([LANE, LANE])), data_of(replay_page([LANE, replace(LANE, prompt="Another")]))
    assert (same["prompt"], [lane["prompt"] for lane in same["lanes"]]) == (LANE.prompt, [None, None])
    assert (other["prompt"], [lane["prompt"] for lane in other["lanes"]]) == (None, [LANE.prompt, "Another"])


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_becomes_part_of_the_page(text: str) -> None:
    lane = replace(LANE, name=text, model=text, machine=text, prompt=text, note=text, pieces=(text, text, text))
    page = replay_page([lane], title=text)
    assert [tag for tag, _ in Elements(page).found] == [tag for tag, _ in Elements(replay_page([LANE])).found]
    assert len(page.encode()) > 0  # half a surrogate pair could not be written


def test_nothing_is_asked_of_a_network() -> None:
    page = replay_page([LANE])
    assert "http" not in page.replace("http-equiv", "")
    assert not re.search(r"\b(src|href|url|import|fetch)\b\s*[=(]", page)


def test_four_long_answers_fit_into_400_kb() -> None:
    chance = random.Random(18)
    words = ["the", " answer", " Überraschung", "。", " 🙂", "\n\n", " of", " water"]
    pieces = tuple(chance.choice(words) for _ in range(4_000))
    at_s = tuple(accumulate(chance.uniform(0.01, 0.2) for _ in pieces))
    lane = replace(LANE, pieces=pieces, at_s=at_s, e2e_s=at_s[-1])
    assert len(replay_page([lane] * 4).encode()) <= 400_000
    assert len(replay_page([LANE] * 4).encode()) <= 20_000


def test_a_long_recording_is_not_refused() -> None:
    lane = replace(LANE, pieces=("word ",) * 100_000, at_s=tuple(map(float, range(100_000))))
    assert len(data_of(replay_page([lane]))["lanes"][0]["pieces"]) == 100_000


@pytest.mark.parametrize("count", [0, 5])
def test_too_few_and_too_many_lanes_are_refused(count: int) -> None:
    with pytest.raises(ReplayError, match="one to 4 lanes"):
        replay_page([LANE] * count)
