"""Gearbox's own decoder, one token after the other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.backends.base import RunTrace
from engine.backends.writer import Writer
from engine.cache import KVCache
from engine.generation.random_projection import random_projection
from engine.generation.recorder import TokenSink
from engine.generation.token_buffer import TokenBuffer
from engine.models.checkpoint import Checkpoint
from engine.models.decoders.weights import LoadedDecoder, load_decoder
from engine.models.format.decoder_config import DecoderConfig
from engine.models.sources.progress import Progress
from engine.speculation import Speculator, StepTimes
from engine.types import MAX_GAMMA, KVDtype, Precision, SamplingParams

ROUNDING = 0.05
"""Share of the logits' norm by which a prompt computed in other pieces may differ, where rows are not computed alike
whatever is computed beside them: bf16 stays well below it, another text far above."""


class LocalModel:
    """A decoder in memory at one precision."""

    def __init__(self, loaded: LoadedDecoder, vocab_size: int) -> None:
        self.decoder = loaded.decoder
        self.vocab_size = vocab_size
        """Ids that the tokenizer knows; the model's table may be padded beyond them."""
        self.weights_bytes = loaded.weights_bytes
        fallbacks = {"fallbacks": list(loaded.fallbacks)} if loaded.fallbacks else {}
        self.environment: Mapping[str, Any] = {"kernel": loaded.kernel, **fallbacks}
        self._step_times: StepTimes | None = None

    def kv_bytes(self, tokens: int, dtype: KVDtype) -> int:
        return self.decoder.config.kv_bytes(tokens, dtype)

    def new_cache(self, capacity: int, dtype: KVDtype, window: int | None) -> KVCache:
        return self.decoder.new_cache(capacity, dtype, window)

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
        capacity = len(prompt_ids) + max_tokens
        text = TokenBuffer(prompt_ids, capacity + MAX_GAMMA)
        cache = self.decoder.new_cache(capacity) if kv is None else kv
        cached = cache.tokens
        hidden = self.decoder.read(text.ids[cached:], cache, sink.cancelled)
        verified = None
        if hidden is not None:
            if verify and cached:
                verified, hidden = self._verify(text.ids, cache, hidden)
            logits = self.decoder.logits(hidden)[0]
            sink.prefilled(cached, len(prompt_ids) - cached, random_projection(hidden[0]))
            writer = Writer(self.decoder, self.vocab_size, text, cache, sampling, sink, keeps_kv=kv is not None)
            writer.write(logits, max_tokens, speculator)
        return RunTrace(0 if kv is None else cache.used_bytes, verified)

    def step_times(self) -> StepTimes:
        """How long a pass takes by its rows; measured when first asked for."""
        if self._step_times is None:
            self._step_times = StepTimes.measure(self.decoder)
        return self._step_times

    def _verify(self, prompt: Tensor, cache: KVCache, hidden: Tensor) -> tuple[bool, Tensor]:
        """Compute a whole prompt anew and look whether reused KV led to the same logits. If not, the KV computed
        anew takes its place."""
        fresh = self.decoder.new_cache(cache.capacity, cache.dtype)
        anew = self.decoder.read(prompt, fresh, lambda: False)
        assert anew is not None  # nobody cancels
        logits, wanted = (self.decoder.logits(state)[0] for state in (hidden, anew))
        if self.decoder.invariant_rows >= len(prompt):
            agrees = torch.equal(logits, wanted)
        else:
            agrees = bool((logits - wanted).norm() <= ROUNDING * wanted.norm())
        if not agrees:
            cache.copy_prefix(fresh, fresh.length)
        return agrees, hidden if agrees else anew


def load_local(
    checkpoint: Checkpoint,
    config: DecoderConfig,
    precision: Precision,
    vocab_size: int,
    packed_root: Path,
    progress: Progress,
    device: torch.device,
) -> LocalModel:
    """Load a checkpoint at a precision and run it once, so that the first answer pays for nothing.

    Raises:
        WeightsIntegrityError, UnsupportedModelError: see :func:`load_decoder`.
    """
    loaded = load_decoder(
        config,
        checkpoint.weight_files,
        precision,
        packed_root / checkpoint.weights_sha256[:16],
        lambda fraction: progress(f"Loading {checkpoint.name} in {precision}", 0.95 * fraction),
        checkpoint.verify,
        checkpoint.open_codes,
        device,
    )
    decoder = loaded.decoder
    progress(f"Warming up {checkpoint.name}", 0.95)
    cache = decoder.new_cache(32)
    if (hidden := decoder.read(torch.zeros(24, dtype=torch.long), cache, lambda: False)) is not None:
        random_projection(hidden[0])
    for _ in range(2):
        decoder.step(0, cache)
    progress(f"Warming up {checkpoint.name}", 1.0)
    return LocalModel(loaded, min(vocab_size, config.vocab_size))
