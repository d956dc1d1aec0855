"""An answer read by the 16-bit model once and by several candidates of the same weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from engine import Engine, Window
from engine.errors import InsufficientMemoryError, InvalidRequestError
from engine.evaluation.comparison import window_divergence, window_divergences
from engine.passes import Steps, perform_alone
from engine.types import CacheMode, KVDtype, OptimizationConfig, Precision
from tests.engine.evaluation.test_comparison import ScriptedReader
from tests.support.evaluation import answer, asked

PLAIN = OptimizationConfig()
INT4, INT8 = OptimizationConfig.at(Precision.INT4), OptimizationConfig.at(Precision.INT8)
KV_INT8 = OptimizationConfig.at(Precision.BF16, kv_dtype=KVDtype.INT8)


@pytest.fixture(scope="module")
def tiny_engine(tiny_models_dir: Path) -> Iterator[Engine]:
    engine = Engine(tiny_models_dir)
    yield engine
    engine.close()


def test_each_candidate_is_as_far_from_16_bits_as_it_is_alone(tiny_engine: Engine) -> None:
    request = asked("hello there", "tiny", max_tokens=40)
    run = answer(tiny_engine, request)
    found = tiny_engine.compare_candidates(request, run.token_ids, (INT8, PLAIN, INT4))
    seen = tiny_engine.compare_answer(request, run.token_ids)
    assert [len(each) for each in found] == [len(run.token_ids)] * 3
    assert not found[1].kld.any()
    assert found[0].nll_ref == pytest.approx([-np.log(token.p) for token in seen.tokens], abs=1e-5)
    for precision, each in zip((Precision.INT8, Precision.INT4), found[::2], strict=True):
        alone = tiny_engine.compare_answer(asked("hello there", "tiny", precision), run.token_ids)
        assert each.kld == pytest.approx([token.kld for token in alone.tokens], abs=1e-6)
        assert each.kld.mean() > 0
    assert found[0].kld.mean() < found[2].kld.mean()


def test_kv_in_8_bits_is_some_way_from_16_bits_by_itself(tiny_engine: Engine) -> None:
    request = asked("hello there", "tiny", max_tokens=40)
    run = answer(tiny_engine, request)
    kept, both = tiny_engine.compare_candidates(
        request, run.token_ids, (KV_INT8, OptimizationConfig.at(Precision.INT4, kv_dtype=KVDtype.INT8))
    )
    (weights,) = tiny_engine.compare_candidates(request, run.token_ids, (INT4,))
    assert 0 < kept.kld.mean() < weights.kld.mean()
    assert not np.array_equal(both.kld, weights.kld)


class CountingReader(ScriptedReader):
    """Counts what it reads."""

    def __init__(self, table: torch.Tensor) -> None:
        super().__init__(table)
        self.rows, self.head_rows = 0, 0

    def forward(self, ids: torch.Tensor, cache: list[int]) -> Steps[torch.Tensor]:
        self.rows += len(ids)
        return super().forward(ids, cache)

    def logits(self, hidden: torch.Tensor) -> Steps[torch.Tensor]:
        self.head_rows += len(hidden)
        return super().logits(hidden)


def test_16_bits_read_once_however_many_are_held_against_them() -> None:
    tables = [torch.randn(20, 20, generator=torch.Generator().manual_seed(seed)) for seed in range(4)]
    reference, *candidates = map(CountingReader, tables)
    window = Window(tuple(n % 20 for n in range(150)), 10)
    found = perform_alone(window_divergences(reference, candidates, 20, window))
    assert (reference.rows, reference.head_rows) == (149, 140)
    assert [(each.rows, each.head_rows) for each in candidates] == [(149, 140)] * 3
    for candidate, figures in zip(candidates, found, strict=True):
        alone = perform_alone(window_divergence(reference, candidate, 20, window))
        assert np.array_equal(alone.kld, figures.kld)
        assert np.array_equal(alone.nll_cand, figures.nll_cand)


def test_what_cannot_be_compared_is_refused(tiny_engine: Engine) -> None:
    request = asked("hello", "tiny")
    sliding = OptimizationConfig.at(Precision.INT4, CacheMode.KV, window=64)
    with pytest.raises(InvalidRequestError, match="no tokens"):
        tiny_engine.compare_candidates(request, (), (INT4,))
    with pytest.raises(InvalidRequestError, match="window forgets"):
        tiny_engine.compare_candidates(request, (5, 6), (INT4, sliding))
    with pytest.raises(InvalidRequestError, match="another one"):
        tiny_engine.compare_candidates(request, (5, 350), (INT4,))


def test_several_that_do_not_fit_together_are_refused(tiny_models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(tiny_models_dir)
    request = asked("hello", "tiny", max_tokens=4)
    run = answer(engine, request)
    monkeypatch.setattr("engine.machine.memory.available_bytes", lambda: 0)
    with pytest.raises(InsufficientMemoryError, match=r"tiny in int8, int4 is compared .* all of them must be"):
        engine.compare_candidates(request, run.token_ids, (INT8, INT4))
    engine.close()
