"""A small model here before a large one on a server."""

from __future__ import annotations

import pytest

from engine.types import (
    NEVER,
    Backend,
    CascadeConfig,
    GenerationRequest,
    Message,
    OptimizationConfig,
    Precision,
    RunConfig,
    SamplingParams,
    Tier,
)
from tests.support.real_servers import NAME, Asked, Served

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]
SMALL = Tier(model="smollm2-135m", precision=Precision.INT4)


def ask(served: Served, threshold: float) -> Asked:
    cascade = CascadeConfig(smaller=(SMALL,), thresholds=(threshold,), guard=False)
    config = RunConfig(
        model=NAME,
        backend=Backend.REMOTE,
        optimization=OptimizationConfig(cascade=cascade),
        sampling=SamplingParams(max_tokens=12),
    )
    request = GenerationRequest(messages=(Message("user", "Why is the sky blue?"),), config=config)
    return Asked(list(served.engine.generate(request)))


def test_what_goes_up_is_answered_by_the_server(served: Served) -> None:
    asked = ask(served, 0.0)
    report = asked.finished.cascade
    assert report
    assert [attempt.kept for attempt in report.attempts] == [False, True]
    assert report.attempts[-1].tier == NAME
    assert asked.text == served.ask(max_tokens=12).text
    assert asked.report.server == served.model.server


def test_what_stays_never_reaches_the_server(served: Served) -> None:
    before = next((each.requests for each in served.engine.remote_status()), 0)
    asked = ask(served, NEVER)
    report = asked.finished.cascade
    assert report
    assert report.tier == str(SMALL)
    assert next((each.requests for each in served.engine.remote_status()), 0) == before


def test_without_the_server_the_small_answer_stands_and_it_is_said(served: Served) -> None:
    if not served.server.is_ours:
        pytest.skip(f"{served.software.name} was not started here, so it is not killed")
    served.server.kill()
    try:
        asked = ask(served, 0.0)
        assert asked.text
        assert asked.finished.cascade
        assert asked.finished.cascade.tier == str(SMALL)
    finally:
        served.server.start()
