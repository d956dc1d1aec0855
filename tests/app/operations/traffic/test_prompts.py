"""Made-up prompts are of the length that was asked for, and alike exactly where the trace says so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.operations.traffic.arrivals import Lengths
from app.operations.traffic.prompts import PROBE_WORDS, WORDS, Calibration, PromptWriter


def words_of(text: str) -> int:
    assert set(text.split(" ")) <= set(WORDS)
    return text.count(" ") + 1


@given(tokens=st.integers(1, 20_000), slope=st.floats(0.5, 4), template=st.floats(0, 60), data=st.data())
def test_a_prompt_has_about_the_tokens_that_were_asked_for(
    tokens: int, slope: float, template: float, data: st.DataObject
) -> None:
    blocks = data.draw(st.integers(0, -(-tokens // 512)))
    writer = PromptWriter(Calibration(slope, template, measured=True))
    words = words_of(writer.text(Lengths(tokens, tuple(range(blocks))), 1))
    assert words == 1 or abs(words * slope + template - tokens) <= slope


def test_equal_blocks_have_equal_texts_and_others_part_there() -> None:
    writer = PromptWriter(Calibration())
    first = writer.text(Lengths(1536, (1, 2, 3)), 1).split()
    second = writer.text(Lengths(1536, (1, 2, 4)), 2).split()
    assert len(first) == len(second) == 1536
    assert first[:1024] == second[:1024]
    assert first[1024:1034] != second[1024:1034]


def test_a_shorter_last_block_is_the_beginning_of_the_whole_one() -> None:
    writer = PromptWriter(Calibration())
    assert writer.text(Lengths(1024, (1, 2)), 1).startswith(writer.text(Lengths(700, (1, 2)), 2))


def test_blocks_are_shared_at_another_scale_too() -> None:
    writer = PromptWriter(Calibration(), scale=0.125)
    first, second = writer.text(Lengths(1024, (1, 2)), 1).split(), writer.text(Lengths(1024, (1, 3)), 2).split()
    assert len(first) == 128
    assert first[:64] == second[:64]
    assert first[64:] != second[64:]


def test_prompts_without_blocks_share_nothing_and_are_the_same_each_time() -> None:
    texts = [PromptWriter(Calibration()).text(Lengths(50), number) for number in (1, 2, 1)]
    assert texts[0] == texts[2]
    assert texts[0].split()[:10] != texts[1].split()[:10]


def test_another_seed_meets_nothing_of_an_earlier_replay() -> None:
    texts = [PromptWriter(Calibration(), seed=seed).text(Lengths(512, (1,)), 1) for seed in (1, 2)]
    assert texts[0] != texts[1]


def test_a_calibration_finds_words_and_template_from_what_a_server_counted() -> None:
    few, many = PROBE_WORDS
    found = Calibration.of_probes((round(30 + 1.25 * few), round(30 + 1.25 * many)))
    assert (found.tokens_per_word, found.template_tokens, found.measured) == (
        pytest.approx(1.25),
        pytest.approx(30),
        True,
    )


@pytest.mark.parametrize("counts", [(None, 5), (5, None), (10, 10), (0, 0), (500, 10), (0, 10**9)])
def test_what_a_server_does_not_count_leaves_lengths_approximate(counts: tuple[int | None, int | None]) -> None:
    assert Calibration.of_probes(counts) == Calibration()
    assert not Calibration.of_probes(counts).measured
