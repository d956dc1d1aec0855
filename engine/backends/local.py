"""Gearbox's own decoder, one token after the other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from engine.generation.recorder import TokenSink
from engine.generation.sampling import choose, confidence
from engine.models.checkpoint import Checkpoint
from engine.models.decoder import DecoderConfig
from engine.models.progress import Progress
from engine.models.weights import LoadedDecoder, load_decoder
from engine.types import Precision, SamplingParams


class LocalModel:
    """A decoder in memory at one precision."""

    def __init__(self, loaded: LoadedDecoder, vocab_size: int) -> None:
        self.decoder = loaded.decoder
        self.vocab_size = vocab_size
        """Ids that the tokenizer knows; the model's table may be padded beyond them."""
        self.weights_bytes = loaded.weights_bytes
        fallbacks = {"fallbacks": list(loaded.fallbacks)} if loaded.fallbacks else {}
        self.environment: Mapping[str, Any] = {"kernel": loaded.kernel, **fallbacks}

    def kv_bytes(self, tokens: int) -> int:
        return self.decoder.config.kv_bytes(tokens)

    def run(self, prompt_ids: list[int], sampling: SamplingParams, max_tokens: int, sink: TokenSink) -> int:
        cache = self.decoder.new_cache(len(prompt_ids) + max_tokens)
        logits = self.decoder.prefill(torch.tensor(prompt_ids), cache, sink.cancelled)
        if logits is None:
            return cache.used_bytes
        sink.prefilled(cached_tokens=0, computed_tokens=len(prompt_ids))
        generator = torch.Generator().manual_seed(sampling.seed)
        # prompt and answer in one buffer, so that the penalty's view of it grows without copying
        seen = torch.empty(cache.capacity, dtype=torch.long)
        seen[: len(prompt_ids)] = torch.tensor(prompt_ids)
        n_seen = len(prompt_ids)
        while True:
            logits = logits[: self.vocab_size]
            token_id = choose(logits, sampling, seen[:n_seen], generator)
            seen[n_seen] = token_id
            n_seen += 1
            if not sink.token(token_id, *confidence(logits, token_id)):
                return cache.used_bytes
            logits = self.decoder.step(token_id, cache)


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
