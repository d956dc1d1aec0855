"""A rendered chat as token ids: transformers' own wherever nobody typed a control token."""

from __future__ import annotations

import secrets
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tokenizers import AddedToken

from engine.errors import InvalidRequestError
from engine.models.tokenization.fast_tokenizer import FastTokenizer
from engine.models.tokenization.rendered_chat import RenderedChat, Span

_SEAM_TOKENS = 8
"""Tokens on either side of an answer that its own tokens are read with."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """Tokens, where each stands in the text, and where in that text the answers are."""

    ids: list[int]
    offsets: list[Span]
    answers: Mapping[int, Span]


class ChatEncoder:
    """Encodes what templates write, with one tokenizer."""

    def __init__(self, tokenizer: FastTokenizer, controls: Mapping[int, str]) -> None:
        """
        Args:
            tokenizer: the model's.
            controls: its control tokens, by id.
        """
        self._tokenizer = tokenizer
        self._controls = controls
        self._unknown_id = tokenizer.facts.unknown_id
        """Of text that has no token, too: it says nothing of what was typed."""

    def encode(self, chat: RenderedChat) -> Encoded:
        """The ids of a rendered chat.

        A tokenizer cuts a text at the control tokens in it before it does anything else. Where one was typed, the text
        is encoded with all of them cut out by hand, and with none looked for in what lies between.

        Raises:
            InvalidRequestError: a control token was typed that this tokenizer cannot spell in other tokens.
        """
        ids, offsets = self._encode(chat.text)
        if not any(character in chat.text for character in chat.typed):
            return Encoded(ids, offsets, chat.answers)
        cuts = {
            self._whole(chat.text, *span, self._controls[token_id]): token_id
            for token_id, span in zip(ids, offsets, strict=True)
            if token_id in self._controls and not self._is_unknown_text(chat.text[slice(*span)], token_id)
        }
        written = self._count(cuts.values())
        for apart in (False, True):
            encoded = self._encode_cut(chat, cuts, apart=apart)
            if self._count(encoded.ids) == written:
                return encoded
        typed = ", ".join(sorted(chat.typed.values()))
        raise InvalidRequestError(
            f"The messages hold control tokens of this model ({typed}), which its tokenizer cannot spell as text."
        )

    def with_own_tokens(self, encoded: Encoded, own: Mapping[int, Sequence[int]]) -> tuple[list[int], list[int]]:
        """The ids with answers in the tokens they were written in, where these say the same in the same place.

        Args:
            encoded: from :meth:`encode`.
            own: answers' tokens, by the place of their message; each has a place in ``encoded.answers``.

        Returns:
            The ids, and the messages for which that is not so.
        """
        ids, kept_out = list(encoded.ids), []
        ends = [end for _, end in encoded.offsets]
        for place in sorted(own, key=lambda place: encoded.answers[place], reverse=True):
            start, end = encoded.answers[place]
            first = last = bisect_right(ends, start)
            while last < len(ends) and encoded.offsets[last][0] < end:
                last += 1
            before, after = ids[max(0, first - _SEAM_TOKENS) : first], ids[last : last + _SEAM_TOKENS]
            if self._spell([*before, *own[place], *after]) == self._spell([*before, *ids[first:last], *after]):
                ids[first:last] = own[place]
            else:
                kept_out.append(place)
        return ids, sorted(kept_out)

    def _encode_cut(self, chat: RenderedChat, cuts: Mapping[Span, int], *, apart: bool) -> Encoded:
        """Encode with the given control tokens, and no others.

        Args:
            chat: the text.
            cuts: where in it they stand, and which they are.
            apart: encode each character of what was typed by itself. Some vocabularies hold control tokens among their
                words, and would find them again.
        """
        cut = self._cut
        starts = {start: (end, token_id) for (start, end), token_id in cuts.items()}
        parts: list[str] = []
        stands_for: list[int | None] = []
        places: list[int] = []
        at = length = 0
        while at < len(chat.text):
            character = chat.text[at]
            if at in starts:
                end, token_id = starts[at]
                part = cut
                stands_for.append(token_id)
            else:
                end, part = at + 1, chat.typed.get(character, character)
                if apart and character in chat.typed:
                    stands_for += [None] * (len(part) + 1)
                    part = cut + cut.join(part) + cut
            places += [length] * (end - at)
            parts.append(part)
            length += len(part)
            at = end
        places.append(length)
        ids, offsets = self._encode("".join(parts), split_controls=True)
        replaced = iter(stands_for)
        resolved = [next(replaced) if token_id == self._cut_id else token_id for token_id in ids]
        kept = [(token_id, span) for token_id, span in zip(resolved, offsets, strict=True) if token_id is not None]
        answers = {place: (places[start], places[end]) for place, (start, end) in chat.answers.items()}
        return Encoded([token_id for token_id, _ in kept], [span for _, span in kept], answers)

    def _is_unknown_text(self, text: str, token_id: int) -> bool:
        return token_id == self._unknown_id and self._controls[token_id] not in text

    def _count(self, ids: Iterable[int]) -> int:
        return sum(token_id in self._controls and token_id != self._unknown_id for token_id in ids)

    def _encode(self, text: str, *, split_controls: bool | None = None) -> tuple[list[int], list[Span]]:
        found = self._tokenizer.encode(text, split_controls=split_controls)
        return found.ids, found.offsets

    def _spell(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, without_controls=False)

    @staticmethod
    def _whole(text: str, start: int, end: int, token: str) -> Span:
        """Where a control token stands: some tokenizers leave the white space in it out of what they tell."""
        found = text.find(token, max(0, start - len(token)), end + len(token))
        return (start, end) if found < 0 else (min(start, found), max(end, found + len(token)))

    @cached_property
    def _cut(self) -> str:
        """A token that cuts the text as control tokens do. Nobody can type it."""
        cut = f"\U0010fffd{secrets.token_hex(16)}"
        self._tokenizer.backend.add_tokens([AddedToken(cut, normalized=False)])
        return cut

    @cached_property
    def _cut_id(self) -> int:
        token_id = self._tokenizer.backend.token_to_id(self._cut)
        assert token_id is not None  # it has just been added
        return token_id
