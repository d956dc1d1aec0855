"""Verdicts on a model of this machine and one of a server: no figure is made of what the server does not tell."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.runs.verdict import Outcome, judge
from app.store import RunStatus
from engine.types import (
    Backend,
    CascadeConfig,
    OptimizationConfig,
    Precision,
    RunConfig,
    Tier,
)
from tests.support.fakes import make_metrics

METRICS = replace(
    make_metrics(ttft_s=0.4, tpot_s=0.05, e2e_s=2.0, completion_tokens=30), weights_bytes=200, kv_bytes=50
)
HERE = Outcome(
    name="Lane A",
    config=RunConfig(model="small"),
    status=RunStatus.FINISHED,
    text="one two three",
    token_ids=(1, 2, 3),
    finish_reason="stop",
    metrics=METRICS,
)
THERE = replace(
    HERE,
    name="Lane B",
    config=RunConfig(model="@office", backend=Backend.REMOTE),
    token_ids=(),
    metrics=replace(METRICS, weights_bytes=0, kv_bytes=0),
)
SMALL = Tier(model="small", precision=Precision.INT4)


@pytest.mark.parametrize(("first", "other"), [(HERE, THERE), (THERE, HERE)])
def test_no_memory_is_saved_by_a_server(first: Outcome, other: Outcome) -> None:
    verdict = judge([first], [other])
    assert "memory" not in verdict.summary
    assert not verdict.is_of_two_backends, "there is no like to compare with"
    assert any("a server" in detail for detail in verdict.details)


def test_who_wrote_a_cascades_answer_is_told_of_servers_too() -> None:
    cascade = CascadeConfig(smaller=(SMALL,), thresholds=(0.3,))
    config = replace(THERE.config, optimization=OptimizationConfig(cascade=cascade))
    there, here = (replace(THERE, config=config, tier=tier) for tier in ("@office", "small int4"))
    assert (there.writer, there.writer_precision) == ("@office", "unknown")
    assert (here.writer, here.writer_precision) == ("small", "int4")
    assert not here.is_all_here
    differing = judge([replace(there, text="one two")], [replace(here, name="Lane A")])
    assert "@office wrote" in differing.doubt
