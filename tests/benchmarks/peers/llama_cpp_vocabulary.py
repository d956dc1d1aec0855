"""llama.cpp's own tokenizer, from a GGUF file of which it reads no weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import llama_cpp


class LlamaCppVocabulary:
    """A vocabulary."""

    def __init__(self, gguf: Path, threads: int) -> None:
        """
        Args:
            gguf: the file.
            threads: as all peers are given; one does this.

        Raises:
            RuntimeError: llama.cpp cannot read it.
        """
        settings = llama_cpp.llama_model_default_params()
        settings.vocab_only = True
        llama_cpp.llama_backend_init()
        self._model = llama_cpp.llama_model_load_from_file(str(gguf).encode(), settings)
        if not self._model:
            raise RuntimeError(f"llama.cpp cannot read the vocabulary of {gguf.name}")

    def tokens(self, texts: Sequence[str], controls: bool) -> list[list[int]]:
        """The ids of each text, no mark put before it.

        Args:
            texts: any.
            controls: whether control tokens that are spelled out in them are taken for such.
        """
        vocabulary = llama_cpp.llama_model_get_vocab(self._model)
        return [_tokens(vocabulary, text.encode(), controls) for text in texts]


def _tokens(vocabulary: Any, text: bytes, controls: bool) -> list[int]:
    room = len(text) + 8  # no token is shorter than a byte, but a mark of a space may come before
    ids = (llama_cpp.llama_token * room)()
    count = llama_cpp.llama_tokenize(vocabulary, text, len(text), ids, room, False, controls)
    if count < 0:
        raise RuntimeError(f"llama.cpp makes {-count} tokens of {len(text)} bytes")
    return list(ids[:count])
