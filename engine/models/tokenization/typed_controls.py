"""Control tokens spelled out in what somebody typed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from engine.models.tokenization.fast_tokenizer import FastTokenizer
from engine.models.tokenization.rendered_chat import Span
from engine.models.tokenization.tokenizer_calls import call


class TypedControls:
    """Finds them, in whatever spelling a tokenizer would take for one."""

    def __init__(self, tokenizer: FastTokenizer, controls: Mapping[int, str]) -> None:
        """
        Args:
            tokenizer: the model's.
            controls: its control tokens, by id.
        """
        self._tokenizer = tokenizer
        self._sought = controls.keys() - {tokenizer.facts.unknown_id}
        """Ids that tell of a control token; the unknown token stands for other text too."""
        self._pattern = _any_of(controls.values())
        normalizer = tokenizer.backend.normalizer
        self._normalize = normalizer.normalize_str if normalizer else None
        normalized = [normalizer.normalize_str(token) for token in controls.values()] if normalizer else []
        self._normalized_pattern = _any_of([*controls.values(), *filter(None, normalized)])

    def find(self, text: str) -> list[Span]:
        """Where control tokens stand in a text, in order."""
        spans = [match.span() for match in self._pattern.finditer(text)]
        if self._normalize and len(self._normalized_pattern.findall(call(self._normalize, text))) > len(spans):
            spans += [span for span in self._other_spellings(text) if not any(map(_overlap(span), spans))]
        return sorted(spans)

    def _other_spellings(self, text: str) -> list[Span]:
        """Where the tokenizer itself finds control tokens, white space around them left out."""
        found = self._tokenizer.encode(text)
        spans = []
        for token_id, (start, end) in zip(found.ids, found.offsets, strict=True):
            said = text[start:end]
            if token_id in self._sought and said.strip():
                spans.append((start + len(said) - len(said.lstrip()), start + len(said.rstrip())))
        return spans


def _any_of(tokens: Iterable[str]) -> re.Pattern[str]:
    longest_first = sorted(tokens, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or "(?!)")  # the latter is never found


def _overlap(span: Span) -> Callable[[Span], bool]:
    return lambda other: span[0] < other[1] and other[0] < span[1]
