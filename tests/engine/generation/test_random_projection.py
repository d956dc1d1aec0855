"""A hidden state in a few numbers."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from engine import Engine
from engine.cascade import tier_answer
from engine.generation.random_projection import SIZE, random_projection
from engine.types import (
    CacheMode,
    GenerationRequest,
    Message,
    OptimizationConfig,
    Precision,
    PrefillDone,
    RunConfig,
    SamplingParams,
)
from tests.conftest import SMALL


def test_a_projection_is_the_same_everywhere() -> None:
    state = torch.arange(64, dtype=torch.float32) - 20
    assert len(random_projection(state)) == SIZE
    assert random_projection(state) == random_projection(state * 7)
    assert random_projection(state)[:3] == pytest.approx((1.41356, 0.45494, -0.56867), abs=1e-4)
    assert random_projection(torch.zeros(64)) == (0.0,) * SIZE


def test_what_lies_close_stays_close() -> None:
    torch.manual_seed(0)
    state, near, far = torch.randn(576), torch.randn(576) * 0.1, torch.randn(576)
    one, close, other = (torch.tensor(random_projection(each)) for each in (state, state + near, far))
    assert (one - close).norm() < 0.3 * (one - other).norm()


def test_a_prompt_is_projected_alike_whether_it_was_read_or_reused(engine: Engine) -> None:
    """On the engine's own kernels a row is the same however many are computed with it."""

    def read(messages: Sequence[Message]) -> tuple[tuple[float, ...], int]:
        gears = OptimizationConfig.at(Precision.INT4, CacheMode.PREFIX)
        config = RunConfig(model=SMALL, optimization=gears, sampling=SamplingParams(max_tokens=4))
        events = list(
            engine.generate(GenerationRequest(messages=tuple(messages), config=config, cache_salt="projected"))
        )
        (done,) = [event for event in events if isinstance(event, PrefillDone)]
        recorded = tier_answer(events, lambda text: None)
        assert recorded is not None
        assert recorded.hidden == done.hidden
        return done.hidden, done.cached_tokens

    asked = [Message("user", "Which is the largest of the planets, and how large is it?")]
    first, _ = read(asked)
    again, reused = read(asked)
    assert reused > 0
    assert first == again
    assert first != read([Message("user", "Which is the smallest?")])[0]
