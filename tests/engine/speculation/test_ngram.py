"""Drafts from the text itself: what they rest on really stood there."""

from __future__ import annotations

from collections import Counter

import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.generation.token_buffer import TokenBuffer
from engine.passes import perform_alone
from engine.speculation import Draft, DraftSource, NgramDrafter
from engine.speculation.session_texts import MOST_TOKENS, SessionTexts
from engine.speculation.suffix_automaton import SuffixAutomaton

texts = st.lists(st.integers(0, 3), min_size=1, max_size=60)

ANY = torch.Generator()


def proposed_by(drafter: DraftSource, text: TokenBuffer, count: int) -> Draft:
    return perform_alone(drafter.propose(text, count, ANY))


def longest_match(text: list[int]) -> int:
    """Length of the longest end of a text that occurs in it before its end."""
    for length in range(len(text) - 1, 0, -1):
        end = text[-length:]
        if any(text[at : at + length] == end for at in range(len(text) - length)):
            return length
    return 0


@given(texts)
def test_the_match_is_the_longest_there_is(text: list[int]) -> None:
    automaton = SuffixAutomaton()
    for token in text:
        automaton.append(token)
    assert automaton.match()[1] == longest_match(text)
    assert len(automaton.lengths) <= 2 * len(text)


@given(texts, st.integers(1, 12))
def test_a_draft_goes_on_as_the_text_once_did(text: list[int], count: int) -> None:
    drafter = NgramDrafter([], text)
    draft = proposed_by(drafter, TokenBuffer(text, len(text)), count)
    match = longest_match(text)
    if match == 0:
        assert draft.token_ids == ()
        return
    assert draft.match_length == match
    assert 1 <= len(draft.token_ids) <= min(count, 2 * match)
    wanted = [*text[-match:], draft.token_ids[0]]
    assert any(text[at : at + match + 1] == wanted for at in range(len(text) - match))


def test_the_most_frequent_continuation_is_drafted() -> None:
    text = [1, 2, 3, 9, 1, 2, 4, 9, 1, 2, 4, 9, 1, 2]
    assert Counter(text)[3] == 1
    assert proposed_by(NgramDrafter([], text), TokenBuffer(text, 20), 1).token_ids == (4,)


def test_what_is_observed_counts_and_a_text_read_in_pieces_is_the_same_text() -> None:
    whole = [5, 6, 7, 8, 1, 5, 6, 7]
    pieces = NgramDrafter([], whole[:3])
    proposed_by(pieces, TokenBuffer(whole[:3], 10), 4)
    pieces.observe(whole[3:5])
    pieces.observe(whole[5:])
    draft = proposed_by(pieces, TokenBuffer(whole, 10), 4)
    assert draft.token_ids == proposed_by(NgramDrafter([], whole), TokenBuffer(whole, 10), 4).token_ids
    assert draft.token_ids[:2] == (8, 1)


def test_earlier_texts_help_but_no_match_reaches_across_two() -> None:
    earlier = [[1, 2, 3, 4], [7, 8]]
    assert proposed_by(NgramDrafter(earlier, [9, 1, 2, 3]), TokenBuffer([9, 1, 2, 3], 9), 3).token_ids == (4,)
    across = proposed_by(NgramDrafter(earlier, [9, 3, 4]), TokenBuffer([9, 3, 4], 9), 3)
    assert across.token_ids == ()


def test_a_sessions_texts_are_its_own_bounded_and_forgotten() -> None:
    kept = SessionTexts()
    kept.add("a", "tokenizer", (1, 2))
    kept.add("a", "tokenizer", (1, 2, 3))
    kept.add("a", "other", (4,))
    kept.add("b", "tokenizer", (5,))
    assert kept.of("a", "tokenizer") == ((1, 2, 3),), "the next turn of a chat takes the place of the last"
    assert kept.of("b", "tokenizer") == ((5,),)
    kept.add("a", "tokenizer", tuple(range(100, 100 + MOST_TOKENS)))
    assert [text[0] for text in kept.of("a", "tokenizer")] == [100]
    kept.forget("a")
    assert kept.of("a", "tokenizer") == kept.of("a", "other") == ()
    assert kept.of("b", "tokenizer") == ((5,),)
