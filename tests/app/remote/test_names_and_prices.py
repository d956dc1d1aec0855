"""What remote models are called, and what their tokens cost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.remote.names import MOST_CHARACTERS, checked_name
from app.remote.prices import ListPrice
from engine.errors import InvalidRequestError
from engine.types import Precision, Tier


@pytest.mark.parametrize("text", ["office", "@office", "  Office "])
def test_a_name_is_kept_in_small_letters_with_its_mark(text: str) -> None:
    assert checked_name(text) == "@office"


@pytest.mark.parametrize("text", ["", " ", "@", "my office", "a/b", "a@b", "-a", "büro", "@@a", "a" * 41])
def test_what_is_no_name_is_refused_in_words(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="name"):
        checked_name(text)


@given(st.from_regex(r"[a-z0-9][a-z0-9._-]{0,39}", fullmatch=True))
def test_every_name_is_a_tier_that_comes_back(text: str) -> None:
    name = checked_name(text)
    assert len(name) <= MOST_CHARACTERS + 1
    tier = Tier(model=name, precision=Precision.UNKNOWN)
    assert Tier.from_key(tier.key) == tier


def test_reused_tokens_have_a_price_of_their_own_where_the_list_says_so() -> None:
    assert ListPrice(2.0, 8.0).of(1_000_000, 500_000, 400_000) == pytest.approx(6.0)
    assert ListPrice(2.0, 8.0, 0.5).of(1_000_000, 500_000, 400_000) == pytest.approx(1.2 + 0.2 + 4.0)


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf")])
def test_a_price_is_a_number_of_0_or_more(wrong: float) -> None:
    for prices in ((wrong, 1.0), (1.0, wrong), (1.0, 1.0, wrong)):
        with pytest.raises(InvalidRequestError, match="price"):
            ListPrice(*prices)
