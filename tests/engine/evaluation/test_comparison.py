"""Two models read the same tokens: on real weights, and with scripted logits."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import torch

from engine import Engine, Window
from engine.errors import NonFiniteLogitsError
from engine.evaluation.comparison import answer_divergence, window_divergence
from engine.passes import Steps, at_once, perform_alone
from engine.serving.memory.pool import ModelPool
from engine.types import CPU_PRECISIONS, Message, Precision
from tests.conftest import SMALL
from tests.engine.test_engine import PROMPTS
from tests.support.evaluation import answer, asked
from tests.support.loading import open_model

T = TypeVar("T")

QUANTIZED = [precision for precision in CPU_PRECISIONS if precision is not Precision.BF16]


def test_fewer_bits_diverge_and_sixteen_do_not(engine: Engine, models_dir: Path) -> None:
    run = answer(engine, asked("Name three fruits.", SMALL, max_tokens=12))
    pool_ids = open_model(ModelPool(models_dir), SMALL).tokenizer.encode_chat([Message("user", "Name three fruits.")])
    window = Window((*pool_ids, *run.token_ids), len(pool_ids))
    same = engine.compare_window(SMALL, Precision.BF16, window)
    assert len(same) == len(run.token_ids)
    assert not same.kld.any()
    for precision in QUANTIZED:
        figures = engine.compare_window(SMALL, precision, window)
        assert figures.nll_ref == pytest.approx(same.nll_ref)
        assert 0 < figures.kld.mean() < 5
    assert {Precision.BF16, *QUANTIZED} <= {model.precision for model in engine.status().resident}


def test_an_answer_seen_by_both_models(engine: Engine) -> None:
    request = asked("What is the capital of France?", SMALL, Precision.NF4, max_tokens=24)
    run = answer(engine, request)
    seen = engine.compare_answer(request, run.token_ids)
    assert "".join(token.text for token in seen.tokens) == run.text
    assert tuple(token.token_id for token in seen.tokens) == run.token_ids
    for token in seen.tokens:
        assert token.delta_p == pytest.approx(token.q - token.p, abs=1e-5)
        assert token.flip == (token.reference_top[0].token_id != token.candidate_top[0].token_id)
        assert [c.probability for c in token.reference_top] == sorted(c.probability for c in token.reference_top)[::-1]
        assert len(token.candidate_top) == 5
        own = [c.probability for c in token.candidate_top if c.token_id == token.token_id]
        assert own == pytest.approx([token.q] * len(own), abs=1e-5)
    parted = [i for i, token in enumerate(seen.tokens) if token.reference_top[0].token_id != token.token_id]
    assert (seen.first_difference.index if seen.first_difference else None) == (parted[0] if parted else None)


def test_the_first_difference_is_where_the_sixteen_bit_answer_leaves(engine: Engine) -> None:
    for question in PROMPTS:
        request = asked(question, SMALL, Precision.NF4, max_tokens=16)
        ours, theirs = (answer(engine, r).token_ids for r in (request, asked(question, SMALL, max_tokens=16)))
        parted = [i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b]
        if parted:
            break
    else:
        pytest.fail("4 bits never chose another token than 16")
    seen = engine.compare_answer(request, ours).first_difference
    assert seen is not None
    assert seen.index == parted[0]
    assert (seen.candidate_choice.token_id, seen.reference_choice.token_id) == (ours[parted[0]], theirs[parted[0]])
    assert seen.reference_gap >= 0
    assert seen.candidate_gap >= 0


class ScriptedReader:
    """Gives each position the logits that a table has for the token there."""

    def __init__(self, table: torch.Tensor) -> None:
        self.table = table

    def new_cache(self, capacity: int) -> list[int]:
        return []

    def chunks(self, ids: torch.Tensor, cache: list[int]) -> list[torch.Tensor]:
        return [ids]

    def forward(self, ids: torch.Tensor, cache: list[int]) -> Steps[torch.Tensor]:
        cache.extend(ids.tolist())
        yield from ()
        return ids[:, None].float()

    def logits(self, hidden: torch.Tensor) -> Steps[torch.Tensor]:
        yield from ()
        return self.table[hidden[:, 0].long()]

    def compute(self, work: Callable[[], T]) -> Steps[T]:
        return at_once(work)


def test_each_token_is_scored_by_the_distribution_before_it() -> None:
    vocab = 6
    certain = torch.full((vocab, vocab), -20.0)
    for token_id in range(vocab):
        certain[token_id, (token_id + 1) % vocab] = 20.0  # after n comes n + 1
    reader = ScriptedReader(certain)
    figures = perform_alone(window_divergence(reader, reader, vocab, Window((0, 1, 2, 3, 5, 0), 2)))
    assert figures.nll_ref == pytest.approx(np.array([0, 0, 40, 0]), abs=1e-5)


def test_ids_that_are_no_token_are_left_out_of_both_distributions() -> None:
    table = torch.zeros(8, 8)
    wild = table.clone()
    wild[:, 6:] = 50.0
    figures = perform_alone(window_divergence(ScriptedReader(table), ScriptedReader(wild), 6, Window((0, 1, 2), 1)))
    assert not figures.kld.any()
    assert figures.nll_cand == pytest.approx(math.log(6))


def test_the_gap_of_the_first_difference_is_between_its_two_tokens(tiny_models_dir: Path) -> None:
    tokenizer = open_model(ModelPool(tiny_models_dir), "tiny").tokenizer
    reference, candidate = torch.zeros(20, 20), torch.zeros(20, 20)
    reference[:, 11], candidate[:, 11] = 3.0, 3.0
    reference[11, 12], reference[11, 13] = 4.5, 6.0
    candidate[11, 12], candidate[11, 13] = 5.25, 5.0
    seen = perform_alone(
        answer_divergence(
            ScriptedReader(reference), ScriptedReader(candidate), 20, tokenizer, [10], [11, 12, 11], greedy=True
        )
    )
    assert [token.flip for token in seen.tokens] == [False, True, False]
    parting = seen.first_difference
    assert parting is not None
    assert (parting.index, parting.candidate_choice.token_id, parting.reference_choice.token_id) == (1, 12, 13)
    assert (parting.candidate_gap, parting.reference_gap) == (0.25, 1.5)


def test_broken_weights_are_an_error_and_no_statistic() -> None:
    sound, broken = torch.zeros(8, 8), torch.zeros(8, 8)
    broken[2, 3] = math.nan
    with pytest.raises(NonFiniteLogitsError, match="candidate"):
        perform_alone(window_divergence(ScriptedReader(sound), ScriptedReader(broken), 8, Window((0, 1, 2, 3, 4), 1)))
