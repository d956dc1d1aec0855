"""Gearbox's own decoder, one token after the other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.backends.base import RunTrace
from engine.cache import KVCache
from engine.generation.recorder import TokenSink
from engine.generation.sampling import choose, confidence
from engine.models.checkpoint import Checkpoint
from engine.models.decoder import DecoderConfig
from engine.models.progress import Progress
from engine.models.weights import LoadedDecoder, load_decoder
from engine.types import KVDtype, Precision, SamplingParams

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
    ) -> RunTrace:
        # prompt and answer in one buffer, so that the penalty's view of it grows without copying
        seen = torch.empty(len(prompt_ids) + max_tokens, dtype=torch.long)
        n_seen = len(prompt_ids)
        seen[:n_seen] = torch.tensor(prompt_ids)
        cache = self.decoder.new_cache(len(seen)) if kv is None else kv
        cached = cache.tokens
        logits = self.decoder.prefill(seen[cached:n_seen], cache, sink.cancelled)
        verified = None
        if logits is not None and verify and cached:
            verified, logits = self._verify(seen[:n_seen], cache, logits)
        if logits is not None:
            sink.prefilled(cached_tokens=cached, computed_tokens=n_seen - cached)
        generator = torch.Generator().manual_seed(sampling.seed)
        while logits is not None:
            logits = logits[: self.vocab_size]
            token_id = choose(logits, sampling, seen[:n_seen], generator)
            seen[n_seen] = token_id
            n_seen += 1
            if not sink.token(token_id, *confidence(logits, token_id)):
                break
            if kv is None:
                cache.truncate(0)
                logits = self.decoder.prefill(seen[:n_seen], cache, sink.cancelled)
            else:
                logits = self.decoder.step(token_id, cache)
        return RunTrace(0 if kv is None else cache.used_bytes, verified)

    def _verify(self, prompt: Tensor, cache: KVCache, logits: Tensor) -> tuple[bool, Tensor]:
        """Compute a whole prompt anew and look whether reused KV led to the same logits. If not, the KV computed
        anew takes its place."""
        fresh = self.decoder.new_cache(cache.capacity, cache.dtype)
        wanted = self.decoder.prefill(prompt, fresh, lambda: False)
        assert wanted is not None  # nobody cancels
        if self.decoder.row_invariant:
            agrees = torch.equal(logits, wanted)
        else:
            agrees = bool((logits - wanted).norm() <= ROUNDING * wanted.norm())
        if not agrees:
            cache.copy_prefix(fresh, fresh.length)
        return agrees, logits if agrees else wanted


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
    decoder.prefill(torch.zeros(24, dtype=torch.long), cache, lambda: False)
    for _ in range(2):
        decoder.step(0, cache)
    progress(f"Warming up {checkpoint.name}", 1.0)
    return LocalModel(loaded, min(vocab_size, config.vocab_size))
