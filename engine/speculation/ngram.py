"""Drafting from the text itself: what came after the same few tokens before.

Prompt lookup with the match and the continuation of suffix decoding (arXiv:2411.04975): the longest match instead of
a fixed n, the most frequent continuation instead of the last.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from engine.generation.token_buffer import TokenBuffer
from engine.passes import Steps
from engine.speculation.drafts import NO_DRAFT, Draft
from engine.speculation.suffix_automaton import SuffixAutomaton

_DRAFT_PER_MATCH = 2
"""A draft is at most so many times as long as the match that it rests on."""


class NgramDrafter:
    """Proposes how the text went on the last times it read as it does now."""

    def __init__(self, earlier: Sequence[Sequence[int]], prompt_ids: Sequence[int]) -> None:
        """
        Args:
            earlier: texts of the same session, oldest first.
            prompt_ids: the prompt.
        """
        self._automaton = SuffixAutomaton()
        self._waiting: list[int] = []
        """Read when a draft is first asked for: a first token must not wait for it."""
        for end, text in enumerate(earlier):
            self._waiting += (*text, -1 - end)  # a mark of its own: no match reaches across two texts
        self._waiting += prompt_ids

    def propose(self, text: TokenBuffer, count: int, generator: torch.Generator) -> Steps[Draft]:
        yield from ()
        for token in self._waiting:
            self._automaton.append(token)
        self._waiting.clear()
        state, length = self._automaton.match()
        limit = min(count, _DRAFT_PER_MATCH * length)
        drafted: list[int] = []
        while len(drafted) < limit:
            following = self._automaton.likeliest(state)
            if following is None or following < 0:
                break
            drafted.append(following)
            state = self._automaton.follow(state, following)
        return Draft(tuple(drafted), match_length=length) if drafted else NO_DRAFT

    def observe(self, token_ids: Sequence[int]) -> None:
        self._waiting += token_ids
