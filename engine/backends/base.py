"""What the engine asks of a model that is in memory, whoever runs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from engine.generation.recorder import TokenSink
from engine.types import SamplingParams


class LoadedModel(Protocol):
    """A model ready to answer, used by the engine's thread alone."""

    weights_bytes: int
    """Measured size of the weights in memory."""
    environment: Mapping[str, Any]
    """What multiplies: belongs to the figures of every run."""

    def run(self, prompt_ids: list[int], sampling: SamplingParams, max_tokens: int, sink: TokenSink) -> int:
        """Answer a prompt, telling the sink of every token.

        Args:
            prompt_ids: at least one token, fewer than the context.
            sampling: how tokens are chosen.
            max_tokens: room for the answer.
            sink: told of progress; ends the run by its answer.

        Returns:
            Bytes of KV cache in use at the end.
        """
        ...

    def kv_bytes(self, tokens: int) -> int:
        """Bytes a KV cache for that many tokens takes, known beforehand."""
        ...
