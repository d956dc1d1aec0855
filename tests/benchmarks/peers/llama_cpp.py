"""llama.cpp through llama-cpp-python's low-level calls, which leave out its Python sampling loop.

The likeliest token is taken from the logits in place, which costs less than llama.cpp's own sampler.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import llama_cpp
import numpy as np

from engine.models.sources.gguf_file import GgufFile
from tests.benchmarks.figures import gguf_bytes_per_token
from tests.benchmarks.peers.contract import Facts, Logits, LongTiming, Timing
from tests.benchmarks.peers.llama_cpp_batched import SequencesContext
from tests.benchmarks.peers.llama_cpp_long import LongContext

CONTEXT = 1024
LOG_LEVELS = (1, 2, 3)
"""Information, warnings and errors; debugging is left out."""


class LlamaCpp:
    """A model and a context over it."""

    def __init__(self, gguf: Path, threads: int) -> None:
        self._log: list[str] = []
        # kept on the object: the library calls it as long as it lives
        self._log_callback = llama_cpp.llama_log_callback(self._keep)
        llama_cpp.llama_log_set(self._log_callback, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        self._tensors = GgufFile.open(gguf).tensors
        self._model = llama_cpp.llama_model_load_from_file(str(gguf).encode(), llama_cpp.llama_model_default_params())
        if not self._model:
            raise RuntimeError(f"llama.cpp cannot load {gguf.name}: {self._log[-1]}")
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx = CONTEXT
        settings.n_batch = settings.n_ubatch = 512
        settings.n_threads = settings.n_threads_batch = threads
        self._context = llama_cpp.llama_init_from_model(self._model, settings)
        if not self._context:
            raise RuntimeError(f"llama.cpp makes no context: {self._log[-1]}")
        self._vocab_size = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self._model))
        self._threads = threads
        self._together: SequencesContext | None = None
        self._long: dict[tuple[int, str], LongContext] = {}
        """By the tokens they hold, and how."""

    def facts(self) -> Facts:
        # where weights were packed anew for a kernel, the log has a buffer named for it
        buffers = re.findall(r"(\S+) model buffer size = *([\d.]+ MiB)", "".join(self._log))
        flags = re.findall(r"(\w+) = 1\b", _text(llama_cpp.llama_print_system_info()))
        attention = re.findall(r"Flash Attention ([\w ,]+)", "".join(self._log))
        return Facts(
            weights_bytes=sum(tensor.entry.bytes for tensor in self._tensors),
            bytes_per_token=gguf_bytes_per_token(self._tensors),
            threads=llama_cpp.llama_n_threads(self._context),
            kernel="; ".join(
                [
                    " ".join(flags),
                    "weights in " + " and ".join(f"{name} {size}" for name, size in buffers),
                    *(f"flash attention {state}" for state in attention[-1:]),
                ]
            ),
        )

    def answer(self, prompt_ids: Sequence[int], max_tokens: int) -> Timing:
        self._clear()
        begun = perf_counter()
        token = int(self._decode(prompt_ids).argmax())
        first = perf_counter()
        for _ in range(max_tokens - 1):
            token = int(self._decode([token]).argmax())
        seconds = perf_counter() - first
        return Timing(first - begun, seconds / (max_tokens - 1) if max_tokens > 1 else None)

    def written(self, prompt_ids: Sequence[int], max_tokens: int) -> list[int]:
        self._clear()
        ids = [int(self._decode(prompt_ids).argmax())]
        while len(ids) < max_tokens:
            ids.append(int(self._decode(ids[-1:]).argmax()))
        return ids

    def answers(self, prompts_ids: Sequence[Sequence[int]], max_tokens: int) -> list[Timing]:
        tokens = max(map(len, prompts_ids)) + max_tokens
        if self._together is None or not self._together.fits(len(prompts_ids), tokens):
            if self._together:
                self._together.close()
            self._together = None  # should there be no memory for the next
            self._together = SequencesContext(self._model, self._threads, len(prompts_ids), tokens)
        return self._together.answers(prompts_ids, max_tokens)

    def behind(self, tokens: int, new_tokens: int, kv: str) -> LongTiming:
        if {held for held, _ in self._long} != {tokens}:  # contexts of one length at a time
            for context in self._long.values():
                context.close()
            self._long.clear()
        if (tokens, kv) not in self._long:
            self._long[tokens, kv] = LongContext(self._model, self._threads, tokens, 2 * new_tokens, kv)
        return self._long[tokens, kv].write(new_tokens)

    def logits(self, prompt_ids: Sequence[int], answer_ids: Sequence[int]) -> Logits:
        self._clear()
        rows = [self._decode(prompt_ids).copy(), *(self._decode([token]).copy() for token in answer_ids[:-1])]
        return np.stack(rows)

    def _keep(self, level: int, text: bytes, user_data: object) -> None:
        if level in LOG_LEVELS:
            self._log.append(_text(text))

    def _clear(self) -> None:
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), True)

    def _decode(self, ids: Sequence[int]) -> Logits:
        """Append some tokens; the last one's logits ``[vocab]``, valid until the next call."""
        tokens = (llama_cpp.llama_token * len(ids))(*ids)
        status = llama_cpp.llama_decode(self._context, llama_cpp.llama_batch_get_one(tokens, len(ids)))
        if status:
            raise RuntimeError(f"llama.cpp's decode failed with status {status}")
        logits: Any = llama_cpp.llama_get_logits_ith(self._context, -1)
        return np.ctypeslib.as_array(logits, shape=(self._vocab_size,))


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")
