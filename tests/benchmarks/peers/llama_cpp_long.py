"""llama.cpp behind a long context, which is read once and gone back to, through its low-level calls."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import llama_cpp

from tests.benchmarks.peers.contract import LongTiming

BATCH_TOKENS = 512


class LongContext:
    """A context over a model with KV of one type, which holds so many tokens."""

    def __init__(self, model: Any, threads: int, tokens: int, room: int, kv: str) -> None:
        """
        Args:
            model: llama.cpp's handle of it.
            threads: for its work.
            tokens: to be read at once.
            room: for what is written behind them.
            kv: "f16" or "q8_0".

        Raises:
            RuntimeError: there is no memory for it, or reading failed.
        """
        kind = {"f16": llama_cpp.GGML_TYPE_F16, "q8_0": llama_cpp.GGML_TYPE_Q8_0}[kv]
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx = tokens + room
        settings.n_batch = settings.n_ubatch = BATCH_TOKENS
        settings.n_threads = settings.n_threads_batch = threads
        settings.type_k = settings.type_v = kind
        settings.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED  # values in 8 bits need it
        self._context = llama_cpp.llama_init_from_model(model, settings)
        if not self._context:
            raise RuntimeError(f"llama.cpp makes no context of {tokens + room} tokens in {kv}")
        self._tokens = tokens
        for start in range(0, tokens, BATCH_TOKENS):
            # which tokens they are changes no time
            self._decode([100 + at % 900 for at in range(start, min(start + BATCH_TOKENS, tokens))])
        self._kv_bytes = llama_cpp.llama_state_seq_get_size(self._context, 0)

    def write(self, new_tokens: int) -> LongTiming:
        """Write some tokens behind what was read, and forget them again."""
        memory = llama_cpp.llama_get_memory(self._context)
        begun = perf_counter()
        for at in range(new_tokens):
            self._decode([100 + at])
        seconds = perf_counter() - begun
        if not llama_cpp.llama_memory_seq_rm(memory, 0, self._tokens, -1):
            raise RuntimeError("llama.cpp does not forget the end of a sequence")
        return LongTiming(seconds / new_tokens, self._kv_bytes)

    def close(self) -> None:
        """Give its memory back; it must not be used any more."""
        llama_cpp.llama_free(self._context)

    def _decode(self, ids: list[int]) -> None:
        tokens = (llama_cpp.llama_token * len(ids))(*ids)
        status = llama_cpp.llama_decode(self._context, llama_cpp.llama_batch_get_one(tokens, len(ids)))
        if status:
            raise RuntimeError(f"llama.cpp's decode failed with status {status}")
