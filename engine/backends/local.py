"""Gearbox's own decoder, one token after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Self

import torch
from torch import Tensor

from engine.backends.base import OpenCheckpoint, Place, RunTrace
from engine.backends.reading import PassReader
from engine.backends.writer import Writer
from engine.cache import KVCache, takes_by_use
from engine.generation.choosing import Chooser, Constraint
from engine.generation.random_projection import random_projection
from engine.generation.recording import TokenSink
from engine.generation.token_buffer import TokenBuffer
from engine.machine.memory import machine_bytes
from engine.models.decoders.weights import LoadedDecoder, estimate_bytes, load_decoder
from engine.models.sources.progress import Progress
from engine.native import instructions
from engine.passes import Hidden, Steps, Whole, ask
from engine.speculation import Speculator, StepTimes
from engine.types import MAX_GAMMA, KVDtype, Precision, SamplingParams

ROUNDING = 0.05
"""Share of the logits' norm by which a prompt computed in other pieces may differ, where rows are not computed alike
whatever is computed beside them: bf16 stays well below it, another text far above."""


class LocalModel:
    """A decoder in memory at one precision."""

    def __init__(self, loaded: LoadedDecoder, vocab_size: int, stop_ids: frozenset[int]) -> None:
        self.decoder = loaded.decoder
        self.vocab_size = vocab_size
        self._stop_ids = stop_ids
        self.weights_bytes = loaded.weights_bytes
        fallbacks = {"fallbacks": list(loaded.fallbacks)} if loaded.fallbacks else {}
        used = {"kernel_instructions": str(instructions())} if loaded.decoder.native else {}
        codes = {"codes": loaded.codes} if loaded.codes else {}
        self.environment: Mapping[str, Any] = {"kernel": loaded.kernel, **codes, **used, **fallbacks}
        self._step_times: StepTimes | None = None

    @classmethod
    def load(cls, opened: OpenCheckpoint, precision: Precision, place: Place, progress: Progress) -> Self:
        checkpoint = opened.checkpoint
        loaded = load_decoder(
            opened.config,
            checkpoint.open_weights,
            precision,
            checkpoint.kept_in(place.packed_root),
            lambda fraction: progress(f"Loading {checkpoint.name} in {precision}", 0.95 * fraction),
            checkpoint.verify,
            checkpoint.open_codes,
            checkpoint.codes_sha256,
            place.device,
        )
        vocab_size = min(opened.tokenizer.vocab_size, opened.config.vocab_size)
        return cls(loaded, vocab_size, opened.tokenizer.stop_ids)

    def warm_up(self) -> Steps[None]:
        decoder, cache = self.decoder, self.decoder.new_cache(32)
        hidden = yield from ask(Whole(lambda: decoder.forward(torch.zeros(24, dtype=torch.long), cache)))
        random_projection(hidden[-1])
        for _ in range(2):
            yield from ask(Whole(lambda: decoder.step(0, cache)))

    @classmethod
    def estimate_bytes(cls, opened: OpenCheckpoint, precision: Precision, place: Place) -> int:
        return estimate_bytes(opened.config, precision, place.device)

    @property
    def stepwise(self) -> Self:
        return self

    def kv_bytes(self, tokens: int, dtype: KVDtype) -> int:
        return self.decoder.config.kv_bytes(tokens, dtype)

    @property
    def kv_by_use(self) -> bool:
        return takes_by_use(self.decoder.device)

    def new_cache(self, capacity: int, dtype: KVDtype, window: int | None) -> KVCache:
        """Where room costs nothing, it is for all of the model's context, up to half of the machine's memory: what goes
        on from there need not move."""
        if window is None and self.kv_by_use:
            half = machine_bytes() // 2 // self.kv_bytes(1, dtype)  # Linux maps no more than all of it at once
            room = min(self.decoder.config.context_length, half)
            if room > capacity:
                with suppress(OSError):  # more address space than is to be had
                    return self.decoder.new_cache(room, dtype)
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
        constraint: Constraint | None = None,
        answered: int = 0,
    ) -> Steps[RunTrace]:
        capacity = len(prompt_ids) + max_tokens
        text = TokenBuffer(prompt_ids, capacity + MAX_GAMMA, answered)
        cache = self.decoder.new_cache(capacity) if kv is None else kv
        cached = cache.tokens
        hidden = yield from self._read(text.ids[cached:], cache, sink.cancelled, text)
        verified = None
        if hidden is not None:
            if verify and cached:
                verified, hidden = yield from self._verify(text.ids, cache, hidden)
            logits = self.decoder.logits(hidden)[0]
            sink.prefilled(cached, len(prompt_ids) - cached, random_projection(hidden[0]))
            chooser = Chooser(text, sampling, self.vocab_size, self._stop_ids, constraint)
            writer = Writer(self.decoder, chooser, cache, sink, keeps_kv=kv is not None)
            yield from writer.write(logits, max_tokens, speculator)
        return RunTrace(0 if kv is None else cache.used_bytes, verified)

    def _read(
        self, ids: Tensor, cache: KVCache, cancelled: Callable[[], bool], text: TokenBuffer | None = None
    ) -> Steps[Tensor | None]:
        """A prompt, chunk by chunk: the last token's hidden state, ``[1, hidden]``; ``None`` if cancelled."""
        hidden = None
        for chunk in self.decoder.chunks(ids, cache):
            if cancelled():
                return None
            hidden = yield from ask(Hidden(self.decoder, chunk, cache, text))
        if hidden is None:
            raise ValueError("a prompt has at least one token")
        return hidden[-1:]

    @property
    def is_timed(self) -> bool:
        return self._step_times is not None

    def time_steps(self) -> Steps[None]:
        self._step_times = yield from StepTimes.measure(self.decoder, PassReader(self.decoder))

    def step_times(self) -> StepTimes:
        if self._step_times is None:
            raise RuntimeError("the model's steps have not been timed")
        return self._step_times

    def _verify(self, prompt: Tensor, cache: KVCache, hidden: Tensor) -> Steps[tuple[bool, Tensor]]:
        """Compute a whole prompt anew and look whether reused KV led to the same logits. If not, the KV computed
        anew takes its place."""
        fresh = self.decoder.new_cache(cache.capacity, cache.dtype)
        anew = yield from self._read(prompt, fresh, lambda: False)
        assert anew is not None  # nobody cancels
        logits, wanted = (self.decoder.logits(state)[0] for state in (hidden, anew))
        if self.decoder.invariant_rows >= len(prompt):
            agrees = torch.equal(logits, wanted)
        else:
            agrees = bool((logits - wanted).norm() <= ROUNDING * wanted.norm())
        if not agrees:
            cache.copy_prefix(fresh, fresh.length)
        return agrees, hidden if agrees else anew
