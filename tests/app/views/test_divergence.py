from __future__ import annotations

import pytest

from app.views.quantization.divergence import FLIP, PARTING, ColourBy, describe_parting, divergence_view
from engine import AnswerDivergence, AnswerToken, FirstDifference, TokenChance


def token(text: str, kld: float = 0.0, delta_p: float = 0.0, *, flip: bool = False) -> AnswerToken:
    top = tuple(TokenChance(n, f" t{n}", 0.5 / (n + 1)) for n in range(5))
    return AnswerToken(
        token_id=7,
        text=text,
        kld=kld,
        delta_p=delta_p,
        p=0.5,
        q=0.5 + delta_p,
        flip=flip,
        reference_top=top,
        candidate_top=top[::-1],
    )


def parting(index: int, gap: float) -> FirstDifference:
    return FirstDifference(
        index=index,
        candidate_choice=TokenChance(1, " blue", 0.4),
        reference_choice=TokenChance(2, " red", 0.41),
        candidate_gap=0.2,
        reference_gap=gap,
    )


def test_the_tint_follows_what_is_chosen() -> None:
    answer = AnswerDivergence(tokens=(token("a", 0.5, -0.1), token("b", 0.25, 0.4)), first_difference=None)
    by_kld = divergence_view(answer, "int4", ColourBy.KLD)
    assert [segment.strength for segment in by_kld.segments] == [1.0, 0.5]
    assert by_kld.scale.high == "0.500 nats or more"
    by_delta = divergence_view(answer, "int4", ColourBy.DELTA_P)
    assert [segment.strength for segment in by_delta.segments] == [pytest.approx(0.25), 1.0]
    assert by_delta.scale.high == "40 points or more"


def test_an_answer_that_hardly_diverges_looks_it() -> None:
    answer = AnswerDivergence(tokens=(token("a", 0.001, 0.001), token("b")), first_difference=None)
    for colour_by in ColourBy:
        assert max(s.strength or 0.0 for s in divergence_view(answer, "int4", colour_by).segments) <= 0.01


def test_flips_and_the_parting_are_marked_by_more_than_colour() -> None:
    tokens = (token("a"), token("b", flip=True), token("c", flip=True))
    view = divergence_view(AnswerDivergence(tokens=tokens, first_difference=parting(1, 0.1)), "int4", ColourBy.KLD)
    assert [segment.category for segment in view.segments] == [None, PARTING, FLIP]
    assert len({FLIP.line, PARTING.line, "none"}) == 3


def test_a_tooltip_shows_both_models_five_likeliest() -> None:
    answer = AnswerDivergence(tokens=(token("a", 0.0312, -0.032),), first_difference=None)
    (segment,) = divergence_view(answer, "nf4", ColourBy.KLD).segments
    assert segment.tooltip[1] == "Token 1 · KLD 0.0312 nats · Δp −3.2 points"
    assert segment.tooltip[2] == "Probability 50.0 % in 16 bits, 46.8 % in nf4"
    assert segment.tooltip[4] == "1. ' t0' (50.0 %) | ' t4' (10.0 %)"
    assert len(segment.tooltip) == 9


@pytest.mark.parametrize(
    ("gap", "words"),
    [
        (0.05, "A close call: to the 16-bit model its own token was 1.05× as likely"),
        (3.0, "Not a close call"),
        (900.0, "Not"),
    ],
)
def test_the_parting_says_how_close_the_call_was(gap: float, words: str) -> None:
    answer = AnswerDivergence(tokens=(token("a"), token("b", flip=True)), first_difference=parting(1, gap))
    text = describe_parting(answer, "int4")
    assert "part at token 2: int4 wrote ' blue' (40.0 %), 16 bits would have written ' red' (41.0 %)" in text
    assert words in text


def test_answers_that_do_not_part_are_said_to_be_the_same() -> None:
    answer = AnswerDivergence(tokens=(token("a"), token("b")), first_difference=None)
    assert "the same answer, token by token, over all 2 tokens" in describe_parting(answer, "int4")
