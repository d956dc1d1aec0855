"""Two models read the same tokens, and what they expected next is compared: in pieces, so that others' passes can come
between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from engine.evaluation.answers import AnswerDivergence, AnswerToken, FirstDifference, TokenChance
from engine.evaluation.corpus import Window
from engine.evaluation.divergence import ROWS_AT_ONCE, WindowDivergence, token_divergence
from engine.generation.text import Detokenizer
from engine.models.decoders.reading import Reader, Reading
from engine.models.tokenization.tokenizer import ChatTokenizer

HEAD_ROWS = 64
"""Rows that go through the head at once: 39 MB of logits a model at a vocabulary of 150,000."""
TOP = 5


def window_divergence(
    reference: Reader, candidate: Reader, vocab_size: int, window: Window
) -> Reading[WindowDivergence]:
    """The figures of a window's scored tokens.

    Args:
        reference: the 16-bit model.
        candidate: the model that is judged; may be the same.
        vocab_size: ids from here up are no tokens, and left out of both distributions.
        window: what both read.

    Raises:
        NonFiniteLogitsError: a logit is NaN or infinite.
    """
    (found,) = yield from window_divergences(reference, (candidate,), vocab_size, window)
    return found


def window_divergences(
    reference: Reader, candidates: Sequence[Reader], vocab_size: int, window: Window
) -> Reading[tuple[WindowDivergence, ...]]:
    """As :func:`window_divergence`, of each candidate; the 16-bit model reads the window once for all of them."""
    ids, first = window.token_ids, window.first_scored
    targets = [iter(torch.tensor(ids[first:]).split(ROWS_AT_ONCE)) for _ in candidates]
    parts: list[list[WindowDivergence]] = [[] for _ in candidates]

    def look(place: int, p_logits: Tensor, q_logits: Tensor) -> None:
        parts[place].append(token_divergence(p_logits, q_logits, next(targets[place])))

    yield from _look_at_logits(reference, candidates, vocab_size, ids, first, look)
    return tuple(map(WindowDivergence.concatenate, parts))


def answer_divergence(
    reference: Reader,
    candidate: Reader,
    vocab_size: int,
    tokenizer: ChatTokenizer,
    prompt_ids: Sequence[int],
    answer_ids: Sequence[int],
    *,
    greedy: bool,
) -> Reading[AnswerDivergence]:
    """Every token of an answer as both models see it.

    Args:
        reference: the 16-bit model.
        candidate: the model that wrote the answer.
        vocab_size: ids from here up are no tokens.
        tokenizer: of both.
        prompt_ids: what was asked, at least one token.
        answer_ids: the answer, at least one token.
        greedy: whether each token was the candidate's likeliest.

    Raises:
        NonFiniteLogitsError: a logit is NaN or infinite.
    """
    detokenizer = Detokenizer(tokenizer.decode)
    texts = [detokenizer.push(token_id) for token_id in answer_ids]
    texts[-1] += detokenizer.flush()
    tokens: list[AnswerToken] = []
    parting: FirstDifference | None = None

    def look(_place: int, p_logits: Tensor, q_logits: Tensor) -> None:
        nonlocal parting
        done = len(tokens)
        targets = torch.tensor(answer_ids[done : done + len(p_logits)])
        figures = token_divergence(p_logits, q_logits, targets)
        p, q = np.exp(-figures.nll_ref), np.exp(-figures.nll_cand)
        p_tops, q_tops = _likeliest(p_logits, tokenizer), _likeliest(q_logits, tokenizer)
        for row, token_id in enumerate(targets.tolist()):
            tokens.append(
                AnswerToken(
                    token_id=token_id,
                    text=texts[done + row],
                    kld=float(figures.kld[row]),
                    delta_p=float(figures.delta_p[row]),
                    p=float(p[row]),
                    q=float(q[row]),
                    flip=not figures.same_top[row],
                    reference_top=p_tops[row],
                    candidate_top=q_tops[row],
                )
            )
        left = (p_logits.argmax(-1) != targets).nonzero()
        # a model does not part from itself, though near-ties may fall otherwise with more rows at a time
        if greedy and parting is None and len(left) and candidate is not reference:
            row = int(left[0])
            parting = _parting(done + row, p_logits[row], q_logits[row], int(targets[row]), tokenizer)

    ids = [*prompt_ids, *answer_ids]
    yield from _look_at_logits(reference, (candidate,), vocab_size, ids, len(prompt_ids), look)
    return AnswerDivergence(tokens=tuple(tokens), first_difference=parting)


def _look_at_logits(
    reference: Reader,
    candidates: Sequence[Reader],
    vocab_size: int,
    ids: Sequence[int],
    first: int,
    look: Callable[[int, Tensor, Tensor], None],
) -> Reading[None]:
    """Show the place of each candidate with the reference's logits for ``ids[first:]`` and its own, a few rows at a
    time: two of ``[rows, vocab]``."""
    p_hidden = yield from _hidden_states(reference, ids, first)
    hidden: list[Tensor] = []
    for candidate in candidates:
        hidden.append(p_hidden if candidate is reference else (yield from _hidden_states(candidate, ids, first)))
    for p_rows, *all_rows in zip(p_hidden.split(HEAD_ROWS), *(each.split(HEAD_ROWS) for each in hidden), strict=True):
        p_logits = (yield from reference.logits(p_rows))[:, :vocab_size]
        for place, (candidate, q_rows) in enumerate(zip(candidates, all_rows, strict=True)):
            q_logits = p_logits if candidate is reference else (yield from candidate.logits(q_rows))[:, :vocab_size]
            for p_part, q_part in zip(p_logits.split(ROWS_AT_ONCE), q_logits.split(ROWS_AT_ONCE), strict=True):
                yield from reference.compute(partial(look, place, p_part, q_part))


def _hidden_states(reader: Reader, ids: Sequence[int], first: int) -> Reading[Tensor]:
    """Hidden states from which ``ids[first:]`` are predicted: those of the tokens before each."""
    read = torch.tensor(ids[:-1])  # nothing comes after the last token, so nobody reads it
    cache, chunks = reader.new_cache(len(read)), list[Tensor]()
    for chunk in reader.chunks(read, cache):
        chunks.append((yield from reader.forward(chunk, cache)))
    return torch.cat(chunks)[first - 1 :]


def _likeliest(logits: Tensor, tokenizer: ChatTokenizer) -> list[tuple[TokenChance, ...]]:
    """The likeliest tokens of each row, likeliest first; of equals, the lower id."""
    values, ids = logits.topk(min(TOP, logits.shape[-1]))
    chances = _probabilities(values, logits)
    return [
        tuple(
            TokenChance(token_id, tokenizer.token_text(token_id), chance)
            for chance, token_id in sorted(zip(*row, strict=True), key=lambda pair: (-pair[0], pair[1]))
        )
        for row in zip(chances.tolist(), ids.tolist(), strict=True)
    ]


def _probabilities(values: Tensor, logits: Tensor) -> Tensor:
    """Of some of each row's logits, ``[rows, n]``; in fp64, as all figures are."""
    return (values.double() - logits.double().logsumexp(-1, keepdim=True)).exp()


def _parting(index: int, p_logits: Tensor, q_logits: Tensor, written: int, tokenizer: ChatTokenizer) -> FirstDifference:
    """Both models' view, logits ``[vocab]``, of the token that the candidate wrote and its rival."""
    rival = int(p_logits.argmax())
    p, q = (float(_probabilities(x[token_id], x)) for x, token_id in ((p_logits, rival), (q_logits, written)))
    return FirstDifference(
        index=index,
        candidate_choice=TokenChance(written, tokenizer.token_text(written), q),
        reference_choice=TokenChance(rival, tokenizer.token_text(rival), p),
        candidate_gap=float(q_logits[written] - q_logits[rival]),
        reference_gap=float(p_logits[rival] - p_logits[written]),
    )
