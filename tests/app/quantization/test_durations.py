"""How long a corpus takes to be measured: less where more was done, unknown where a pace is."""

from __future__ import annotations

import pytest

from app.estimates import AnswerTime
from app.quantization.corpus import SPEED_PROMPT, SPEED_RUNS, SPEED_TOKENS
from app.quantization.durations import corpus_seconds, windows_in
from engine import Corpus, CorpusPrompt

PLAIN, PACKED = AnswerTime(0.1, 0.01, load_s=8.0), AnswerTime(0.05, 0.004, load_s=2.0)
TIMES = {"bf16": PLAIN, "int4": PACKED}
TEXT = Corpus(name="Sea", text="four" * 512 * 10)
PROMPTS = Corpus(name="Questions", prompts=(CorpusPrompt("four" * 36),) * 3)


def speeds(*times: AnswerTime) -> float:
    return sum(SPEED_RUNS * time.seconds(SPEED_PROMPT, SPEED_TOKENS) for time in times)


def test_a_text_is_read_by_both_models_window_by_window() -> None:
    assert windows_in(TEXT) == 10
    found = corpus_seconds(TEXT, {"int4": 0}, TIMES, answered=False)
    assert found == pytest.approx(8.0 + 2.0 + 10 * 512 * (0.01 + 0.004) + speeds(PACKED))


def test_16_bits_are_compared_with_themselves_in_one_reading() -> None:
    found = corpus_seconds(TEXT, {"bf16": 0}, TIMES, answered=False)
    assert found == pytest.approx(8.0 + 10 * 512 * 0.01 + speeds(PLAIN))


def test_prompts_are_answered_first_and_only_once() -> None:
    first, later = (corpus_seconds(PROMPTS, {"int4": 0}, TIMES, answered=answered) for answered in (False, True))
    assert first is not None
    assert later is not None
    assert first - later == pytest.approx(3 * PLAIN.seconds(36, 64))


def test_what_was_scored_before_takes_no_time() -> None:
    fresh, begun = (corpus_seconds(TEXT, {"int4": done}, TIMES, answered=True) for done in (0, 7))
    assert fresh is not None
    assert begun is not None
    assert fresh - begun == pytest.approx(7 * 512 * 0.014)


@pytest.mark.parametrize("times", [{}, {"bf16": PLAIN}, {"int4": PACKED}])
def test_a_pace_that_nobody_knows_makes_the_whole_unknown(times: dict[str, AnswerTime]) -> None:
    assert corpus_seconds(TEXT, {"int4": 0}, times, answered=True) is None
