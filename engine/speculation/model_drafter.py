"""Drafting with a model: a smaller one, or a coarser copy of the same one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter

import torch
from torch import Tensor

from engine.cache import KVCache
from engine.generation.sampling import draw, greedy_token, next_token_probabilities
from engine.generation.token_buffer import TokenBuffer
from engine.models.decoders.decoder import Decoder
from engine.passes import Hidden, Logits, Steps, ask
from engine.speculation.drafts import NO_DRAFT, Draft
from engine.types import SamplingParams

_ROWS_AT_ONCE = 8
"""Of so few tokens to read, all go through the head: cheaper than a pass more."""


class _Drafting:
    """Choosing drafts from a decoder's logits, by the very rules that the model's own tokens are chosen by, and by the
    same random numbers: two models that agree by and large then draw the same token most of the time
    (arXiv:2408.07978)."""

    def __init__(self, decoder: Decoder, vocab_size: int, sampling: SamplingParams) -> None:
        self.decoder = decoder
        self._vocab_size = vocab_size
        self._sampling = sampling

    def draft(
        self, text: TokenBuffer, ids: Tensor, count: int, cache: KVCache, generator: torch.Generator
    ) -> Steps[Draft]:
        """``count`` tokens to follow ``text``, of which the cache holds all but ``ids``."""
        drafted: list[int] = []
        alike = torch.Generator()
        alike.set_state(generator.get_state())
        seconds = 0.0
        while len(drafted) < count:
            wanted = Logits(self.decoder, ids, cache)
            logits = (yield from ask(wanted))[-1, : self._vocab_size]
            begun = perf_counter()
            seen = text.ids_with(drafted)
            if self._sampling.temperature == 0:
                token = greedy_token(logits, self._sampling, seen, text.answer_start)
            else:
                token = draw(next_token_probabilities(logits, self._sampling, seen, text.answer_start), alike)
            drafted.append(token)
            ids = torch.tensor([token])
            seconds += wanted.seconds + perf_counter() - begun
        return Draft(tuple(drafted), seconds=seconds)


class SharedKVDrafter:
    """A coarser copy of the model, which reads the model's own KV and writes drafts behind it.

    It needs no prefill and no memory but its weights; verification writes over what it has written.
    """

    def __init__(self, decoder: Decoder, vocab_size: int, sampling: SamplingParams, cache: KVCache) -> None:
        """
        Args:
            decoder: of the same shape as the model.
            vocab_size: ids that the tokenizer knows.
            sampling: of the run.
            cache: the model's; holds all of the text but its last token whenever a draft is asked for.
        """
        self._drafting = _Drafting(decoder, vocab_size, sampling)
        self._cache = cache

    def propose(self, text: TokenBuffer, count: int, generator: torch.Generator) -> Steps[Draft]:
        if count < 1:
            return NO_DRAFT
        length = self._cache.length
        draft = yield from self._drafting.draft(text, text.ids[-1:], count, self._cache, generator)
        self._cache.truncate(length)
        return draft

    def observe(self, token_ids: Sequence[int]) -> None:
        """Nothing: the text's KV is the model's."""


class ModelDrafter:
    """Another model with the same tokenizer and KV of its own, prefilled when it is first asked."""

    def __init__(
        self,
        decoder: Decoder,
        vocab_size: int,
        sampling: SamplingParams,
        capacity: int,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        """
        Args:
            decoder: the smaller model.
            vocab_size: ids that the tokenizer knows.
            sampling: of the run.
            capacity: tokens of prompt, answer and drafts; beyond the smaller model's own context it is silent.
            cancelled: whether the run is to stop; asked before each chunk of the text that is read.
        """
        self._drafting = _Drafting(decoder, vocab_size, sampling)
        self._cache = decoder.new_cache(min(capacity, decoder.config.context_length))
        self._cancelled = cancelled
        self._held: list[int] = []
        """What the KV holds."""

    def propose(self, text: TokenBuffer, count: int, generator: torch.Generator) -> Steps[Draft]:
        count = min(count, self._cache.capacity - len(text))
        if count < 1:
            return NO_DRAFT
        ids = text.ids
        self._forget_what_differs(ids)
        # the last token is always computed anew: its logits are what is needed
        self._cache.truncate(min(self._cache.length, len(ids) - 1))
        if len(ids) - self._cache.length > _ROWS_AT_ONCE and not (yield from self._read(ids)):
            return NO_DRAFT
        draft = yield from self._drafting.draft(text, ids[self._cache.length :], count, self._cache, generator)
        self._held = [*ids.tolist(), *draft.token_ids[:-1]]  # of the last one drafted there is no KV
        return draft

    def _read(self, ids: Tensor) -> Steps[bool]:
        """All but the last token, as far as the KV lacks it; ``False`` if cancelled."""
        for chunk in self._drafting.decoder.chunks(ids[self._cache.length : -1], self._cache):
            if self._cancelled():
                return False
            yield from ask(Hidden(self._drafting.decoder, chunk, self._cache))
            self._held = ids[: self._cache.length].tolist()
        return True

    def observe(self, token_ids: Sequence[int]) -> None:
        """Nothing: what the KV holds is compared with the text when a draft is asked for."""

    def _forget_what_differs(self, ids: Tensor) -> None:
        shared = min(len(self._held), len(ids))
        ours = torch.tensor(self._held[:shared], dtype=torch.long)
        agree = int((ours == ids[:shared]).long().cumprod(0).sum())
        self._cache.truncate(min(self._cache.length, agree))
