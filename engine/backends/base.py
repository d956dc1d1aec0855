"""What the engine asks of a model that is in memory, whoever runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from engine.cache import KVCache
from engine.generation.recorder import TokenSink
from engine.speculation import Speculator
from engine.types import KVDtype, SamplingParams


@dataclass(frozen=True, slots=True)
class RunTrace:
    """What a run tells at its end beside its tokens."""

    kv_bytes: int
    """KV cache in use."""
    verified: bool | None = None
    """Whether the reused KV gave the logits of KV computed anew; ``None`` where that was not looked at."""


class LoadedModel(Protocol):
    """A model ready to answer, used by the engine's thread alone."""

    weights_bytes: int
    """Measured size of the weights in memory."""
    environment: Mapping[str, Any]
    """What multiplies: belongs to the figures of every run."""

    def run(
        self,
        prompt_ids: list[int],
        sampling: SamplingParams,
        max_tokens: int,
        sink: TokenSink,
        kv: KVCache | None,
        *,
        verify: bool = False,
        speculator: Speculator | None = None,
    ) -> RunTrace:
        """Answer a prompt, telling the sink of every token.

        Args:
            prompt_ids: at least one token, fewer than the context.
            sampling: how tokens are chosen.
            max_tokens: room for the answer.
            sink: told of progress; ends the run by its answer.
            kv: from :meth:`new_cache`; what it holds is the beginning of the prompt, and is not computed again.
                ``None`` keeps nothing from one token to the next.
            verify: compute what ``kv`` holds again all the same, and compare.
            speculator: drafts tokens for the model to verify; ``None`` with the gear off.
        """
        ...

    def new_cache(self, capacity: int, dtype: KVDtype, window: int | None) -> KVCache | None:
        """An empty KV cache of so many positions, or a sliding window; ``None`` for a backend that keeps its own."""
        ...

    def kv_bytes(self, tokens: int, dtype: KVDtype) -> int:
        """Bytes a KV cache for that many tokens takes, known beforehand."""
        ...
