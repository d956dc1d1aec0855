"""How far a judge is to be trusted, as the page says it."""

from __future__ import annotations

from app.views.router.judge import how_good
from engine.types import Precision, Tier


def test_a_measured_judge_is_told_with_its_interval_and_another_is_not() -> None:
    known = how_good(Tier(model="qwen2.5-coder-0.5b", precision=Precision.INT4))
    assert "70 % (53 % to 83 %) with a right answer to compare with" in known
    assert "by chance 50 %" in known
    assert "was not measured" in how_good(Tier(model="qwen2.5-coder-0.5b", precision=Precision.BF16))
