"""Whether an answer written with drafts is what plain decoding gives: read again, not believed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from engine.cache import KVCache
from engine.generation.choosing import Constraint
from engine.generation.sampling import greedy_token
from engine.generation.token_buffer import TokenBuffer
from engine.models.decoders.decoder import Decoder
from engine.speculation.verification import accept_or_resample
from engine.types import Divergence, Losslessness, SamplingParams

_READ_ROWS = 128
_CASES, _DRAWS, _CELLS = 4, 1500, 24


def check_greedy(
    decoder: Decoder,
    new_cache: Callable[[], KVCache],
    vocab_size: int,
    sampling: SamplingParams,
    prompt_ids: Sequence[int],
    token_ids: Sequence[int],
    spell: Callable[[int], str],
    constraint: Constraint | None = None,
) -> Losslessness:
    """Read prompt and answer again, teacher-forced, and compare each token with the likeliest.

    Args:
        decoder: the model that verified.
        new_cache: makes an empty one with room for all, kept as the run's was.
        vocab_size: ids that the tokenizer knows.
        sampling: of the run, at temperature 0.
        prompt_ids: the prompt.
        token_ids: the answer, at least one token.
        spell: a token's text.
        constraint: on the answer, from its beginning; ``None`` where any token may come.
    """
    text, near_ties = TokenBuffer(prompt_ids, len(prompt_ids) + len(token_ids)), 0
    read = teacher_forced(decoder, new_cache(), text.ids, token_ids)
    for index, (token, logits) in enumerate(zip(token_ids, read, strict=True)):
        before = (text.ids, text.answer_start, constraint.allowed if constraint else None)
        plain = greedy_token(logits[:vocab_size], sampling, *before)
        if plain != token and decoder.invariant_rows == 1 and index:
            logits = _one_row(decoder, new_cache(), text.ids)
            plain = greedy_token(logits[:vocab_size], sampling, *before)
            near_ties += plain == token
        if plain != token:
            gap = float(logits[plain] - logits[token])
            parted = Divergence(index=index, written=spell(token), plain=spell(plain), gap=gap)
            return Losslessness(tokens=len(token_ids), checked=index, near_ties=near_ties, divergence=parted)
        text.append(token)
        if constraint:
            constraint.accept(token)
    return Losslessness(tokens=len(token_ids), checked=len(token_ids), near_ties=near_ties, divergence=None)


def teacher_forced(decoder: Decoder, cache: KVCache, prompt: Tensor, token_ids: Sequence[int]) -> Iterator[Tensor]:
    """The logits that each token of an answer was chosen from, fp32 ``[vocab]``.

    Args:
        decoder: the model.
        cache: an empty one.
        prompt: int64 ``[n]``.
        token_ids: the answer.
    """
    first = decoder.prefill(prompt, cache, lambda: False)
    assert first is not None  # nobody cancels
    yield first
    # a window slides with every token, and a decoder may compute rows alike only up to some number of them
    rows = 1 if cache.slides else _READ_ROWS if decoder.invariant_rows == 1 else min(_READ_ROWS, decoder.invariant_rows)
    for piece in torch.tensor(token_ids[:-1], dtype=torch.long).split(rows) if len(token_ids) > 1 else ():
        yield from decoder.logits(decoder.forward(piece, cache))


def _one_row(decoder: Decoder, cache: KVCache, ids: Tensor) -> Tensor:
    """The logits after a text whose last token is computed alone."""
    decoder.prefill(ids[:-1], cache, lambda: False)
    return decoder.step(int(ids[-1]), cache)


def distribution_p_value(cases: Sequence[tuple[Tensor, Tensor | None, int]], seed: int) -> float:
    """Pearson's chi-squared test of the rule of acceptance on distributions that a run met.

    Each case is drawn from many times by the rule, over its likeliest tokens; the counts are compared with the
    model's own probabilities.

    Args:
        cases: the model's distribution p, the drafter's q (``None``: all on the drafted token), the drafted token;
            fp32 ``[vocab]``. Only the first few are looked at.
        seed: of the draws.

    Returns:
        The p-value of all cases together, 0 to 1.
    """
    from scipy.stats import chi2

    generator = torch.Generator().manual_seed(seed)
    statistic, freedom = 0.0, 0
    for p, q, drafted in cases[:_CASES]:
        likeliest = p.topk(min(_CELLS, len(p))).indices.tolist()
        cells = torch.tensor(list(dict.fromkeys([drafted, *likeliest])))
        kept_p = p[cells].double() + 1e-9
        kept_p /= kept_p.sum()
        kept_q = torch.zeros(len(cells))
        kept_q[0] = 1
        if q is not None and float(q[cells].sum()) > 0:
            kept_q = q[cells] / q[cells].sum()
        logits, counts = kept_p.log().float(), torch.zeros(len(cells), dtype=torch.double)
        params, seen = SamplingParams(temperature=1.0), torch.empty(0, dtype=torch.long)
        for drawn in torch.multinomial(kept_q, _DRAWS, replacement=True, generator=generator).tolist():
            counts[
                accept_or_resample(logits, params, seen, generator, drawn, kept_q if q is not None else None)[0]
            ] += 1
        expected = kept_p * _DRAWS
        rare = expected < 5  # too few to count one by one: one cell together
        pairs = [(float(o), float(e)) for o, e in zip(counts[~rare], expected[~rare], strict=True)]
        if rare.any():
            pairs.append((float(counts[rare].sum()), max(float(expected[rare].sum()), 0.5)))
        statistic += sum((observed - wanted) ** 2 / wanted for observed, wanted in pairs)
        freedom += len(pairs) - 1
    return float(chi2.sf(statistic, freedom)) if freedom else 1.0
