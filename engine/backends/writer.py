"""One token after the other, or several at once: the loop that writes an answer."""

from __future__ import annotations

from time import perf_counter

import torch
from torch import Tensor

from engine.cache import KVCache
from engine.generation.confidence import confidence, is_near_tie
from engine.generation.recorder import TokenSink
from engine.generation.token_buffer import TokenBuffer
from engine.models.decoders.decoder import Decoder
from engine.speculation import NO_DRAFT, Draft, Speculator, accept_or_resample
from engine.types import SamplingParams, TokenSource


class Writer:
    """Writes one answer behind a prompt whose KV is there: one pass of the model after the other."""

    def __init__(
        self,
        decoder: Decoder,
        vocab_size: int,
        text: TokenBuffer,
        cache: KVCache,
        sampling: SamplingParams,
        sink: TokenSink,
        *,
        keeps_kv: bool,
    ) -> None:
        """
        Args:
            decoder: the model.
            vocab_size: ids that the tokenizer knows; the model's table may be padded beyond them.
            text: the prompt; the answer is written behind it.
            cache: holds the prompt.
            sampling: how tokens are chosen.
            sink: told of every token, and ends the answer.
            keeps_kv: whether ``cache`` is kept from one token to the next.
        """
        self._decoder = decoder
        self._vocab_size = vocab_size
        self._text = text
        self._cache = cache
        self._sampling = sampling
        self._sink = sink
        self._keeps_kv = keeps_kv
        self._generator = torch.Generator().manual_seed(sampling.seed)

    def write(self, logits: Tensor, max_tokens: int, speculator: Speculator | None) -> None:
        """Choose tokens until the sink has enough.

        Args:
            logits: after the prompt, fp32 ``[vocab]``.
            max_tokens: of the answer.
            speculator: drafts, where the gear is on.
        """
        text, prompt_tokens = self._text, len(self._text)
        goes_on, _ = self._choose(logits[None], NO_DRAFT)
        if speculator:
            speculator.observe(text.ids[prompt_tokens:].tolist())
        while goes_on:
            written = len(text) - prompt_tokens
            draft = NO_DRAFT
            if speculator:
                draft = speculator.propose(text, self._room(max_tokens - written - 1), written)
            begun = perf_counter()
            rows = self._advance(draft)
            if rows is None:
                return
            computed = perf_counter()
            before = len(text)
            goes_on, accepted = self._choose(rows, draft)
            if speculator:
                speculator.chose(perf_counter() - computed)
                speculator.verified(draft, accepted, text.ids[before:].tolist(), computed - begun, written)

    def _room(self, tokens: int) -> int:
        """Tokens that can be drafted: what is drafted must not make a window slide, for that cannot be undone."""
        return min(tokens, self._cache.capacity - self._cache.length - 1) if self._cache.slides else tokens

    def _advance(self, draft: Draft) -> Tensor | None:
        """Append the text's last token and a draft to the KV: logits after each of them, fp32 ``[rows, vocab]``.
        ``None`` if cancelled."""
        if not self._keeps_kv:
            self._cache.truncate(0)
            if self._decoder.prefill(self._text.ids[:-1], self._cache, self._sink.cancelled) is None:
                return None
        ids = self._text.ids_with(draft.token_ids)[len(self._text) - 1 :]
        return self._decoder.logits(self._decoder.forward(ids, self._cache))

    def _choose(self, rows: Tensor, draft: Draft) -> tuple[bool, int]:
        """Add to the text what the logits and the rule of acceptance give.

        Returns:
            Whether the answer goes on, and how many drafted tokens stand.
        """
        text, cache = self._text, self._cache
        drafted = draft.token_ids
        first, goes_on, accepted = len(text), True, 0
        for i, row in enumerate(rows):
            logits = row[: self._vocab_size]
            proposal = drafted[i] if i < len(drafted) else None
            q = draft.probabilities[i] if draft.probabilities and proposal is not None else None
            alone = len(rows) > self._decoder.invariant_rows and self._is_near_tie(logits)
            if alone:
                cache.truncate(first + i - 1 - cache.dropped)
                logits = self._decoder.step(int(text.ids[-1]), cache)[: self._vocab_size]
            token, is_accepted = accept_or_resample(logits, self._sampling, text.ids, self._generator, proposal, q)
            source: TokenSource = "draft" if is_accepted else "bonus" if drafted and proposal is None else "target"
            text.append(token)
            accepted += is_accepted
            goes_on = self._sink.token(token, confidence(logits, token), source)
            if not goes_on or not is_accepted or alone:
                break
        cache.truncate(len(text) - 1 - cache.dropped)  # the last token chosen has no KV yet
        return goes_on, accepted

    def _is_near_tie(self, logits: Tensor) -> bool:
        """Whether a pass over one row alone might choose another token than one over several."""
        if self._sampling.temperature > 0:
            return False
        best, second = logits.topk(2).values.tolist()
        return is_near_tie(best - second, best)
