"""All substrings of a text that grows, with what followed them: a suffix automaton.

Blumer et al., "The smallest automaton recognizing the subwords of a text", 1985. Adding a token costs amortised
constant time.
"""

from __future__ import annotations

_COUNTED_SUFFIXES = 8
"""Suffix classes of the text's end whose continuation is counted, longest first: a bound on the work per token."""

ROOT = 0


class SuffixAutomaton:
    """A state is a set of substrings that end at the same places; ``lengths[state]`` is its longest."""

    def __init__(self) -> None:
        self.transitions: list[dict[int, int]] = [{}]
        self.links: list[int] = [-1]
        self.lengths: list[int] = [0]
        self.counts: list[dict[int, int]] = [{}]
        """How often each token has followed a state, counted where the state was near the end of the text."""
        self._last = ROOT

    def append(self, token: int) -> None:
        """The text goes on with ``token``."""
        self._count(token)
        current = self._new_state(self.lengths[self._last] + 1, {}, {})
        state = self._last
        while state != -1 and token not in self.transitions[state]:
            self.transitions[state][token] = current
            state = self.links[state]
        self.links[current] = ROOT if state == -1 else self._suffix_of(state, token)
        self._last = current

    def match(self) -> tuple[int, int]:
        """The longest end of the text that stood in it before, as a state, and how long it is."""
        state = max(self.links[self._last], ROOT)
        return state, self.lengths[state]

    def likeliest(self, state: int) -> int | None:
        """What followed a state most often; of equals what came later. ``None`` if nothing did."""
        counts = self.counts[state] or self.transitions[state]
        best, most = None, 0
        for token, count in counts.items():
            if count >= most:
                best, most = token, count
        return best

    def follow(self, state: int, token: int) -> int:
        """The state after one more token, which has followed it before."""
        return self.transitions[state][token]

    def _count(self, token: int) -> None:
        state = self._last
        for _ in range(_COUNTED_SUFFIXES):
            if state <= ROOT:
                return
            counts = self.counts[state]
            counts[token] = counts.pop(token, 0) + 1  # at the end of the dictionary: the latest
            state = self.links[state]

    def _suffix_of(self, state: int, token: int) -> int:
        """The state of the longest suffix seen before, split off from a longer one if it must be."""
        following = self.transitions[state][token]
        if self.lengths[following] == self.lengths[state] + 1:
            return following
        clone = self._new_state(
            self.lengths[state] + 1, dict(self.transitions[following]), dict(self.counts[following])
        )
        self.links[clone] = self.links[following]
        self.links[following] = clone
        while state != -1 and self.transitions[state].get(token) == following:
            self.transitions[state][token] = clone
            state = self.links[state]
        return clone

    def _new_state(self, length: int, transitions: dict[int, int], counts: dict[int, int]) -> int:
        self.transitions.append(transitions)
        self.links.append(-1)
        self.lengths.append(length)
        self.counts.append(counts)
        return len(self.lengths) - 1
