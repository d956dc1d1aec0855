"""Answers held to JSON of a schema: llguidance says after each token which ones may follow."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from engine.errors import InvalidRequestError
from engine.generation.grammar import grammar_of, refusal
from engine.untrusted.confined import patient


class JsonConstraint:
    """Keeps one answer to a schema. What ends it is allowed exactly where the JSON is whole."""

    def __init__(
        self,
        vocabulary: Any,
        stop_ids: Collection[int],
        schema: str,
        written: Sequence[int] = (),
        waiting: Callable[[], object] = patient,
    ) -> None:
        """
        Args:
            vocabulary: of the model, an ``LLTokenizer``; its end marks are ``stop_ids``.
            stop_ids: ids that end an answer.
            schema: a JSON text, an object.
            written: the answer's first tokens, if there are some already.
            waiting: called every 50 ms while the schema is looked at; what it raises ends that and comes out here.

        Raises:
            InvalidRequestError: answers cannot be held to this schema, or ``written`` does not keep to it.
        """
        from llguidance import LLMatcher, LLParserLimits

        limits = LLParserLimits(verbose_errors=False)
        self._matcher = LLMatcher(vocabulary, grammar_of(schema, waiting), log_level=0, limits=limits)
        self._stop_ids = frozenset(stop_ids)
        self._allowed = torch.zeros((vocabulary.vocab_size + 31) // 32, dtype=torch.int32)
        self._look()
        for token_id in written:
            self.accept(token_id)

    @property
    def allowed(self) -> Tensor:
        return self._allowed

    def accept(self, token_id: int) -> None:
        """A token was chosen.

        Raises:
            InvalidRequestError: it does not keep to the schema, or what may follow is beyond the library's limits.
        """
        if not self._allowed[token_id // 32] >> token_id % 32 & 1:
            raise InvalidRequestError("The answer does not keep to the JSON schema.")
        self._matcher.consume_token(token_id)
        if token_id not in self._stop_ids:
            self._look()

    def _look(self) -> None:
        """See what may come next."""
        self._matcher.unsafe_compute_mask_ptr(self._allowed.data_ptr(), self._allowed.nbytes)
        if self._matcher.is_error():
            raise refusal(self._matcher.get_error())
