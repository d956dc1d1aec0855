"""One token after the other, or several at once: what writes an answer."""

from __future__ import annotations

from time import perf_counter

from torch import Tensor

from engine.cache import KVCache
from engine.generation.choice import Choice
from engine.generation.choosing import Chooser
from engine.generation.confidence import is_near_tie
from engine.generation.recording import TokenSink
from engine.models.decoders.decoder import Decoder
from engine.passes import Continuation, Hidden, Logits, Steps, ask
from engine.speculation import Draft, PassTime, Speculator

CONTINUATION_S = 0.08
"""Plain decoding looks up so often: to hand over what is written, and to hear that it is to stop."""


class Writer:
    """Writes one answer behind a prompt whose KV is there: one pass of the model after the other."""

    def __init__(self, decoder: Decoder, chooser: Chooser, cache: KVCache, sink: TokenSink, *, keeps_kv: bool) -> None:
        """
        Args:
            decoder: the model.
            chooser: of the text, which is the prompt; the answer is written behind it.
            cache: holds the prompt.
            sink: told of every token, and ends the answer.
            keeps_kv: whether ``cache`` is kept from one token to the next.
        """
        self._decoder = decoder
        self._chooser = chooser
        self._text = chooser.text
        self._cache = cache
        self._sink = sink
        self._keeps_kv = keeps_kv

    def write(self, logits: Tensor, max_tokens: int, speculator: Speculator | None) -> Steps[None]:
        """Choose tokens until the sink has enough.

        Args:
            logits: after the prompt, fp32 ``[vocab]``.
            max_tokens: of the answer.
            speculator: drafts, where the gear is on.
        """
        prompt_tokens = len(self._text)
        goes_on = self._hand_over([self._chooser.choose(logits)])
        if speculator:
            speculator.observe(self._text.since(prompt_tokens))
        while goes_on:
            if not self._keeps_kv and not (yield from self._read_again()):
                return
            if speculator:
                goes_on = yield from self._speculate(speculator, max_tokens, prompt_tokens)
            else:
                goes_on = yield from self._continue()

    def _continue(self) -> Steps[bool]:
        """Plain decoding, as far as it goes without looking up."""
        most = self._sink.most if self._keeps_kv else 1
        wanted = Continuation(self._decoder, self._chooser, self._cache, most, CONTINUATION_S, self._sink.interrupt)
        choices = yield from ask(wanted)
        return self._hand_over(choices)

    def _read_again(self) -> Steps[bool]:
        """Compute the KV of all but the text's last token anew; ``False`` if cancelled."""
        self._cache.truncate(0)
        for chunk in self._decoder.chunks(self._text.ids[:-1], self._cache):
            if self._sink.cancelled():
                return False
            yield from ask(Hidden(self._decoder, chunk, self._cache, self._text))
        return True

    def _speculate(self, speculator: Speculator, max_tokens: int, prompt_tokens: int) -> Steps[bool]:
        """One pass over the text's last token and a draft behind it, if there is one."""
        text, cache = self._text, self._cache
        before = len(text)
        written = before - prompt_tokens
        room = self._room(max_tokens - written - 1)
        draft = yield from speculator.propose(text, room, written, self._chooser.generator)
        ids = text.ids_with(draft.token_ids)[before - 1 :]
        wanted = Logits(self._decoder, ids, cache, text)
        rows = yield from ask(wanted)
        computed = perf_counter()
        choices = yield from self._choose(rows, draft)
        goes_on = self._hand_over(choices)
        accepted = sum(choice.source == "draft" for choice in choices[: len(text) - before])
        speculator.chose(perf_counter() - computed)
        speculator.verified(draft, accepted, text.since(before), PassTime(wanted.seconds, wanted.rows), written)
        return goes_on

    def _room(self, tokens: int) -> int:
        """Tokens that can be drafted: what is drafted must not make a window slide, for that cannot be undone."""
        return min(tokens, self._cache.capacity - self._cache.length - 1) if self._cache.slides else tokens

    def _choose(self, rows: Tensor, draft: Draft) -> Steps[list[Choice]]:
        """Add to the text what the logits give, up to the first draft that does not stand.

        Each token is chosen as plain decoding chooses it, by the same random numbers, and a draft stands where it is
        that token: so the answer is plain decoding's own, sampled or not, whatever was drafted (arXiv:2408.07978).
        """
        chooser, drafted = self._chooser, draft.token_ids
        first, choices = len(self._text), list[Choice]()
        for i, logits in enumerate(rows):
            proposal = drafted[i] if i < len(drafted) else None
            alone = len(rows) > self._decoder.invariant_rows and self._is_near_tie(logits)
            if alone:
                self._cache.truncate(first + i - 1 - self._cache.dropped)
                ids = self._text.ids[-1:]
                (logits,) = yield from ask(Logits(self._decoder, ids, self._cache))
            choice = chooser.choose(logits, "bonus" if drafted and proposal is None else "target")
            if choice.token_id == proposal:
                choice = choice._replace(source="draft")
            choices.append(choice)
            if choice.source != "draft" or alone:
                break
        return choices

    def _hand_over(self, choices: list[Choice]) -> bool:
        """Tell the sink, and take back what it does not want: whether the answer goes on."""
        taken, goes_on = self._sink.take(choices)
        self._text.truncate(len(self._text) - len(choices) + taken)
        cache = self._cache
        length = len(self._text) - 1 - cache.dropped  # the last token chosen has no KV yet
        if cache.length > length:
            cache.truncate(length)
        return goes_on

    def _is_near_tie(self, logits: Tensor) -> bool:
        """Whether a pass over one row alone might choose another token than one over several."""
        if self._chooser.sampling.temperature > 0:
            return False
        best, second = self._chooser.adjusted(logits).topk(2).values.tolist()
        return is_near_tie(best - second, best)
