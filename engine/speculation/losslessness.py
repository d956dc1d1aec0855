"""Whether an answer written with drafts is what plain decoding gives: read again, not believed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from engine.cache import KVCache
from engine.generation.choosing import Chooser, Constraint
from engine.generation.sampling import draw, greedy_token, next_token_probabilities
from engine.generation.token_buffer import TokenBuffer
from engine.models.decoders.decoder import Decoder
from engine.models.decoders.reading import Reader, Reading
from engine.types import Divergence, Losslessness, SamplingParams

_READ_ROWS = 128


def check(
    decoder: Decoder,
    reader: Reader,
    new_cache: Callable[[], KVCache],
    vocab_size: int,
    sampling: SamplingParams,
    prompt_ids: Sequence[int],
    token_ids: Sequence[int],
    spell: Callable[[int], str],
    constraint: Constraint | None = None,
) -> Reading[Losslessness]:
    """Read prompt and answer again, teacher-forced, and compare each token with the one that plain decoding chooses
    there, a sampled one by the run's own random numbers.

    Args:
        decoder: the model that verified.
        reader: reads with it.
        new_cache: makes an empty one with room for all, kept as the run's was.
        vocab_size: ids that the tokenizer knows.
        sampling: of the run.
        prompt_ids: the prompt.
        token_ids: the answer, at least one token.
        spell: a token's text.
        constraint: on the answer, from its beginning; ``None`` where any token may come.
    """
    text, near_ties = TokenBuffer(prompt_ids, len(prompt_ids) + len(token_ids)), 0
    chooser, cache = Chooser(text, sampling, vocab_size), new_cache()
    pieces = iter(_pieces(decoder, cache, token_ids))
    rows = deque((yield from _after(reader, cache, text.ids)))
    for index, token in enumerate(token_ids):
        if not rows:
            hidden = yield from reader.forward(next(pieces), cache)
            rows.extend((yield from reader.logits(hidden)))
        logits = rows.popleft()
        allowed = constraint.allowed if constraint else None
        state = chooser.generator.get_state()
        plain = yield from reader.compute(partial(_choose, chooser, logits, allowed))
        if plain != token and decoder.invariant_rows == 1 and index:
            logits = yield from _one_row(reader, new_cache(), text.ids)
            chooser.generator.set_state(state)
            plain = _choose(chooser, logits, allowed)
            near_ties += plain == token
        if plain != token:
            gap = float(logits[plain] - logits[token])
            parted = Divergence(index=index, written=spell(token), plain=spell(plain), gap=gap)
            return Losslessness(tokens=len(token_ids), checked=index, near_ties=near_ties, divergence=parted)
        text.append(token)
        if constraint:
            constraint.accept(token)
    return Losslessness(tokens=len(token_ids), checked=len(token_ids), near_ties=near_ties, divergence=None)


def _choose(chooser: Chooser, logits: Tensor, allowed: Tensor | None) -> int:
    """What plain decoding chooses next; the text stays as it is."""
    text = chooser.text
    if allowed is None:
        token_id = chooser.choose(logits).token_id
        text.truncate(len(text) - 1)
        return token_id
    logits = logits[: chooser.vocab_size]
    before = (text.ids, text.answer_start, allowed)
    if chooser.sampling.temperature == 0:
        return greedy_token(logits, chooser.sampling, *before)
    return draw(next_token_probabilities(logits, chooser.sampling, *before), chooser.generator)


def _pieces(decoder: Decoder, cache: KVCache, token_ids: Sequence[int]) -> Sequence[Tensor]:
    """An answer but for its last token, after which nothing is chosen, in the pieces that are read at once."""
    # a window slides with every token, and a decoder may compute rows alike only up to some number of them
    rows = 1 if cache.slides else _READ_ROWS if decoder.invariant_rows == 1 else min(_READ_ROWS, decoder.invariant_rows)
    return torch.tensor(token_ids[:-1], dtype=torch.long).split(rows) if len(token_ids) > 1 else ()


def _after(reader: Reader, cache: KVCache, ids: Tensor) -> Reading[Tensor]:
    """The logits after a text, ``[1, vocab]``."""
    for chunk in reader.chunks(ids, cache):
        hidden = yield from reader.forward(chunk, cache)
    return (yield from reader.logits(hidden[-1:]))


def _one_row(reader: Reader, cache: KVCache, ids: Tensor) -> Reading[Tensor]:
    """The logits after a text whose last token is computed alone."""
    for chunk in reader.chunks(ids[:-1], cache):
        yield from reader.forward(chunk, cache)
    hidden = yield from reader.forward(ids[-1:], cache)
    return (yield from reader.logits(hidden))[0]
