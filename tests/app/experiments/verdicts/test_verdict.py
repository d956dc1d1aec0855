"""Verdicts in a sentence: of right and wrong answers, of scores, of one prompt, of five thousand, of failures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from app.experiments.statistics import State
from app.experiments.verdicts.verdict import PromptPairs, QualityVerdict, quality_verdict, speed_verdict

NAN = float("nan")


def paired(baseline: object, candidate: object, groups: object = None, categories: object = None) -> PromptPairs:
    before = np.asarray(baseline, np.float64)
    ids = tuple(f"p{place}" for place in range(len(before)))
    return PromptPairs(
        ids,
        ids if groups is None else tuple(np.asarray(groups).astype(str)),
        ("all",) * len(ids) if categories is None else tuple(np.asarray(categories).astype(str)),
        before,
        np.asarray(candidate, np.float64),
    )


def flipped(gained: int, lost: int, prompts: int) -> PromptPairs:
    """Half right before; the first ``lost`` of those are wrong after, the last ``gained`` of the others right."""
    before = np.arange(prompts) < prompts // 2
    after = before.copy()
    after[:lost], after[prompts - gained :] = False, True
    return paired(before, after)


def judged(values: PromptPairs, margin: float = 0.02) -> QualityVerdict:
    return quality_verdict(values, margin, name="int4", baseline_name="16 bits")


@pytest.mark.parametrize(
    ("gained", "lost", "said"),
    [
        (4, 4, "int4 keeps quality within 2 points (95 %)."),
        (30, 4, "int4 is better by 2 to 4 points (95 %)."),
        (2, 12, "int4 keeps quality within 2 points, though it is worse by 0.3 to 1.9 points (95 %)."),
        (0, 60, "int4 is worse by 5 to 8 points (95 %)."),
        (10, 130, "int4 is worse by 10 to 14 points (95 %)."),
        (10, 43, "int4 is worse by more than 2 points (95 %)."),
        (14, 55, "int4 is worse by 3 to 6 points (95 %)."),
    ],
)
def test_a_sentence_for_what_is_shown(gained: int, lost: int, said: str) -> None:
    assert judged(flipped(gained, lost, 1000)).text == said


def test_what_is_open_says_how_many_more_prompts() -> None:
    found = judged(flipped(6, 6, 200))
    assert found.shown.state is State.OPEN
    assert found.text == (
        f"That int4 keeps quality within 2 points is not shown yet: about {found.shown.more_prompts} more prompts."
    )
    hopeless = judged(flipped(0, 5, 200))
    assert hopeless.text == (
        "That int4 keeps quality within 2 points is not shown, and more prompts would not show it: it scores 2.5 points"
        " lower."
    )


def test_flips_go_both_ways_and_are_named() -> None:
    found = judged(flipped(2, 3, 100))
    assert found.lost == ("p0", "p1", "p2")
    assert found.gained == ("p98", "p99")
    assert found.flip_rate == 0.05
    assert (found.baseline, found.candidate) == (0.5, 0.49)
    assert found.difference == pytest.approx(-0.01)


def test_what_has_no_score_counts_nothing_and_is_never_dropped() -> None:
    found = judged(paired([1, 1, 1, NAN], [1, NAN, NAN, 1]))
    assert (found.prompts, found.baseline, found.candidate) == (4, 0.75, 0.5)
    assert (found.baseline_unscored, found.candidate_unscored) == (1, 2)
    assert (found.lost, found.gained) == (("p1", "p2"), ("p3",))


def test_failing_more_never_looks_better() -> None:
    rng = np.random.default_rng(0)
    before, after = rng.random(300), rng.random(300)
    whole, failing = judged(paired(before, after)), after.copy()
    failing[rng.choice(300, 40, replace=False)] = NAN
    found = judged(paired(before, failing))
    assert found.prompts == 300
    assert found.difference < whole.difference
    assert found.shown.bounds.low < whole.shown.bounds.low


def test_one_prompt_and_five_thousand() -> None:
    one = judged(paired([1.0], [1.0]))
    assert one.shown.state is State.OPEN
    assert one.interval.low < -0.9
    assert one.slices == ()
    rng = np.random.default_rng(1)
    many = judged(paired(rng.random(5000), rng.random(5000), rng.integers(0, 700, 5000), rng.integers(0, 9, 5000)))
    assert many.prompts == 5000
    assert len(many.slices) == 9


@pytest.mark.parametrize("level", [0.9, 0.99])
def test_a_level_of_ones_own_is_said(level: float) -> None:
    found = quality_verdict(flipped(4, 4, 3000), 0.05, name="int4", baseline_name="16 bits", level=level)
    assert found.text == f"int4 keeps quality within 5 points ({level * 100:.0f} %)."
    assert (found.interval.level, found.shown.bounds.one_sided) == (level, pytest.approx(level))


def test_slices_are_corrected_for_their_number() -> None:
    """In one of eight categories the candidate loses; each alone might be taken for shown by chance."""
    categories = np.repeat(list("abcdefgh"), 100)
    before = np.tile(np.arange(100) < 60, 8)
    after = before.copy()
    after[:9] = False  # nine lost in "a": p = 2 / 2⁹, and eight times that
    after[700:706] = False  # six in "h": p = 2 / 2⁶
    found = judged(paired(before, after, categories=categories))
    by_name = {each.category: each for each in found.slices}
    assert by_name["a"].p_value == pytest.approx(8 * 2 / 2**9)
    assert by_name["h"].p_value == pytest.approx(7 * 2 / 2**6)
    assert [each.category for each in found.slices if each.differs] == ["a"]
    assert (by_name["a"].prompts, by_name["a"].difference) == (100, pytest.approx(-0.09))
    assert by_name["a"].difference in by_name["a"].interval


def test_groups_make_a_verdict_less_sure() -> None:
    rng = np.random.default_rng(2)
    before = np.full(400, 1.0)
    after = np.repeat(rng.random(100) < 0.96, 4) * 1.0
    alone, grouped = judged(paired(before, after)), judged(paired(before, after, np.repeat(np.arange(100), 4)))
    assert alone.difference == grouped.difference
    assert grouped.interval.low < alone.interval.low


def test_prompts_said_twice_and_lists_of_unlike_length_are_refused() -> None:
    whole = flipped(1, 1, 4)
    with pytest.raises(ValueError, match="more than once: p1"):
        replace(whole, prompt_ids=("p0", "p1", "p1", "p2"))
    with pytest.raises(ValueError, match="as many"):
        replace(whole, categories=("all",))
    with pytest.raises(ValueError, match="at least one prompt"):
        paired([], [])
    with pytest.raises(ValueError, match="between 0 and 1"):
        judged(paired([1.0], [3.0]))


def timed(factor: float, spread: float, prompts: int = 60) -> PromptPairs:
    rng = np.random.default_rng(3)
    before = rng.lognormal(0, 0.5, prompts)
    return paired(before, before / factor * rng.lognormal(0, spread, prompts))


def test_faster_slower_and_neither() -> None:
    fast = speed_verdict(timed(2, 0.05), name="int4", baseline_name="16 bits")
    assert fast.text == "int4 is 2.01× faster than 16 bits in E2E (1.98× to 2.03×, 95 %)."
    assert fast.is_different
    slow = speed_verdict(timed(0.5, 0.2), name="int4", baseline_name="16 bits", figure="TTFT")
    assert slow.text.startswith("int4 is 2.0× slower than 16 bits in TTFT (")
    even = speed_verdict(timed(1, 0.2), name="int4", baseline_name="16 bits")
    assert even.text.startswith("No difference in E2E is shown: int4 is 0.9")
    assert not even.is_different


def test_swapping_the_two_turns_the_sentence_over() -> None:
    values = timed(1.5, 0.1)
    there = speed_verdict(values, name="a", baseline_name="b").text
    back = speed_verdict(
        replace(values, baseline=values.candidate, candidate=values.baseline), name="b", baseline_name="a"
    ).text
    assert back == there.replace("a is", "b is").replace("than b", "than a").replace("faster", "slower")


def test_times_that_are_missing_are_left_out_and_counted() -> None:
    values = timed(2, 0.05)
    values.candidate[:7] = NAN
    found = speed_verdict(values, name="int4", baseline_name="16 bits")
    assert found.untimed == 7
    assert found.ratio is not None
    assert found.ratio.prompts == 53
    none = speed_verdict(paired([NAN], [1.0]), name="int4", baseline_name="16 bits")
    assert none.text == "No comparison of E2E: no prompt was timed with both int4 and 16 bits."
    assert not none.is_different


def test_one_prompt_tells_of_no_other() -> None:
    found = speed_verdict(paired([3.0], [2.0]), name="int4", baseline_name="16 bits")
    assert found.text == "int4 was 1.5× faster than 16 bits in E2E on 1 prompt: too few prompts to tell of others."
    assert (found.is_told, found.is_different) == (False, False)


def test_ratios_that_are_all_the_same_tell_of_no_other_either() -> None:
    found = speed_verdict(paired([3.0, 1.5], [2.0, 1.0]), name="int4", baseline_name="16 bits")
    assert found.text == (
        "int4 was 1.5× faster than 16 bits in E2E on 2 prompts without a spread: too few prompts to tell of others."
    )
    assert (found.is_told, found.is_different) == (False, False)
    assert speed_verdict(timed(1, 0.2), name="int4", baseline_name="16 bits").is_told
    equal = speed_verdict(paired([3.0, 2.0], [3.0, 2.0]), name="int4", baseline_name="16 bits").text
    assert (
        equal == "int4 was as fast as 16 bits in E2E on 2 prompts without a spread: too few prompts to tell of others."
    )


def test_a_category_of_few_templates_has_no_interval() -> None:
    """Three templates of a category tell nothing of others like them; forty of all categories do."""
    categories, groups = np.repeat(["a", "b"], [30, 185]), np.arange(215) // 5
    groups[:30] = np.arange(30) % 3
    found = judged(paired(np.ones(215), np.ones(215), groups, categories))
    assert {each.category: each.interval is None for each in found.slices} == {"a": True, "b": False}
    assert found.interval.low > -0.1
