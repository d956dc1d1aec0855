"""llama.cpp with several sequences in one batch, through its low-level calls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from time import perf_counter
from typing import Any, NamedTuple

import llama_cpp
import numpy as np

from tests.benchmarks.peers.contract import Timing

BATCH_TOKENS = 512
"""Rows of one call, as for a single sequence."""
CONTEXT_STEP = 256
"""llama.cpp gives each sequence a multiple of this."""


class _Row(NamedTuple):
    """A token to read."""

    token: int
    position: int
    sequence: int
    is_last: bool
    """Whether the next token is chosen after it; others need no logits."""


class SequencesContext:
    """A context for a number of sequences over a model, each with KV of its own."""

    def __init__(self, model: Any, threads: int, sequences: int, tokens: int) -> None:
        """
        Args:
            model: llama.cpp's handle of it.
            threads: for its work.
            sequences: how many there are.
            tokens: room of each, prompt and answer.

        Raises:
            RuntimeError: there is no memory for it.
        """
        self.room = -(-tokens // CONTEXT_STEP) * CONTEXT_STEP
        self.sequences = sequences
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx = self.room * sequences  # it is shared out among them
        settings.n_seq_max = sequences
        settings.n_batch = settings.n_ubatch = BATCH_TOKENS
        settings.n_threads = settings.n_threads_batch = threads
        self._context = llama_cpp.llama_init_from_model(model, settings)
        if not self._context:
            raise RuntimeError(f"llama.cpp makes no context for {sequences} sequences")
        self._vocab_size = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
        self._batch = llama_cpp.llama_batch_init(BATCH_TOKENS, 0, 1)  # no embeddings; a row belongs to one sequence

    def fits(self, sequences: int, tokens: int) -> bool:
        """Whether it is for so many sequences of this length."""
        return self.sequences == sequences and tokens <= self.room

    def close(self) -> None:
        """Give its memory back; it must not be used any more."""
        llama_cpp.llama_batch_free(self._batch)
        llama_cpp.llama_free(self._context)

    def answers(self, prompts: Sequence[Sequence[int]], max_tokens: int) -> list[Timing]:
        """Read all prompts, then write all answers a token each at a time; greedy, end marks passed over.

        Args:
            prompts: token ids, one of each sequence.
            max_tokens: that each answer has.

        Raises:
            RuntimeError: a call failed.
        """
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), True)
        begun = perf_counter()
        first = [0.0] * len(prompts)
        chosen: dict[int, int] = {}
        rows = (
            _Row(token, position, sequence, position == len(prompt) - 1)
            for sequence, prompt in enumerate(prompts)
            for position, token in enumerate(prompt)
        )
        while part := list(islice(rows, BATCH_TOKENS)):
            found = self._decode(part)
            chosen |= found
            for sequence in found:
                first[sequence] = perf_counter()
        for step in range(max_tokens - 1):
            chosen = self._decode(
                _Row(chosen[sequence], len(prompt) + step, sequence, True) for sequence, prompt in enumerate(prompts)
            )
        last = perf_counter()
        return [Timing(t - begun, (last - t) / (max_tokens - 1) if max_tokens > 1 else None) for t in first]

    def _decode(self, rows: Iterable[_Row]) -> dict[int, int]:
        """One pass; the likeliest next token of each sequence that asks for one."""
        batch, asked = self._batch, {}
        batch.n_tokens = 0
        for place, row in enumerate(rows):
            batch.token[place] = row.token
            batch.pos[place] = row.position
            batch.n_seq_id[place] = 1
            batch.seq_id[place][0] = row.sequence
            batch.logits[place] = row.is_last
            batch.n_tokens += 1
            if row.is_last:
                asked[row.sequence] = place
        if status := llama_cpp.llama_decode(self._context, batch):
            raise RuntimeError(f"llama.cpp's decode of {batch.n_tokens} rows failed with status {status}")
        return {sequence: self._likeliest(place) for sequence, place in asked.items()}

    def _likeliest(self, place: int) -> int:
        logits: Any = llama_cpp.llama_get_logits_ith(self._context, place)
        return int(np.ctypeslib.as_array(logits, shape=(self._vocab_size,)).argmax())
