"""A ladder whose tiers are partly on servers: who answers, who is passed by, and that a server that is down costs
nobody an answer."""

from __future__ import annotations

import json
import math
import socket
import threading
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import date
from typing import Any

import pytest

from engine.cascade import BoundaryRouter, RouterProfile, TierIdentity
from engine.errors import RouterProfileError
from engine.types import (
    NEVER,
    Backend,
    CascadeConfig,
    CascadeReport,
    Escalated,
    GenerationRequest,
    Message,
    OptimizationConfig,
    Precision,
    RouterKind,
    RunConfig,
    RunFailed,
    RunFinished,
    SamplingParams,
    Tier,
    TokenEvent,
)
from tests.support.misbehaving_server import (
    STREAM_HEAD,
    MisbehavingServer,
    Script,
    as_event,
    counts,
    ends,
    says,
    stream,
)
from tests.support.remotes import OFFICE, Servers, report_of

LOCAL = Tier(model="small", precision=Precision.INT4)
REMOTE = Tier(model=OFFICE, precision=Precision.UNKNOWN)
GOOD = stream(says("from"), says(" afar"), ends(), counts(9, 2))


def ask(
    smaller: Tier, largest: Tier, threshold: float = 0.5, router: RouterKind = RouterKind.ESCALATE, **more: Any
) -> GenerationRequest:
    gear = CascadeConfig(smaller=(smaller,), thresholds=(threshold,), router=router, guard=False, **more)
    config = RunConfig(
        model=largest.model,
        backend=Backend.REMOTE if largest.is_remote else Backend.LOCAL,
        optimization=OptimizationConfig.at(largest.precision, cascade=gear),
        sampling=SamplingParams(max_tokens=12),
    )
    return GenerationRequest(messages=(Message("user", "Tell me something."),), config=config)


def alone(servers: Servers) -> RunFinished:
    config = RunConfig(
        model="small", optimization=OptimizationConfig.at(Precision.INT4), sampling=SamplingParams(max_tokens=12)
    )
    *_, last = servers.engine.generate(
        GenerationRequest(messages=(Message("user", "Tell me something."),), config=config)
    )
    assert isinstance(last, RunFinished)
    return last


def finish(servers: Servers, request: GenerationRequest) -> tuple[RunFinished, CascadeReport, list[Any]]:
    events = [*servers.engine.generate(request)]
    run = events[-1]
    assert isinstance(run, RunFinished), run
    assert run.cascade is not None
    assert CascadeReport.from_dict(json.loads(json.dumps(asdict(run.cascade)))).tier == run.cascade.tier
    return run, run.cascade, events


def unreachable() -> str:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


def test_a_small_model_here_hands_on_to_a_server(servers: Servers) -> None:
    with MisbehavingServer(GOOD) as server:
        servers.add(server.url)
        run, report, events = finish(servers, ask(LOCAL, REMOTE, threshold=0.0))
    assert (run.text, run.token_ids) == ("from afar", ())
    assert report.tier == OFFICE
    assert [(each.tier, each.kept, each.tokens) for each in report.attempts] == [
        ("small int4", False, 12),
        (OFFICE, True, 2),
    ]
    (escalated,) = [event for event in events if isinstance(event, Escalated)]
    assert (escalated.to_tier, escalated.discarded_tokens) == (OFFICE, 12)
    assert {event.tier for event in events if isinstance(event, TokenEvent)} == {"small int4", OFFICE}
    assert run.metrics is not None
    assert (run.metrics.prompt_tokens, run.metrics.completion_tokens, run.metrics.discarded_tokens) == (9, 2, 12)
    assert report_of(run).server in server.url


def test_an_answer_that_stays_here_costs_no_request(servers: Servers) -> None:
    with MisbehavingServer(GOOD) as server:
        servers.add(server.url)
        run, report, _ = finish(servers, ask(LOCAL, REMOTE, threshold=NEVER))
    assert server.requests == []
    assert report.tier == "small int4"
    assert run.token_ids == alone(servers).token_ids


@pytest.mark.parametrize(
    "more", [{}, {"router": RouterKind.ALWAYS_LARGE}, {"after_tokens": 4}], ids=["whole", "unwritten", "cut short"]
)
def test_where_the_largest_is_down_the_small_one_answers_and_that_is_said(
    servers: Servers, more: dict[str, Any]
) -> None:
    model = servers.add(unreachable(), connect_timeout_s=0.2)
    run, report, _ = finish(servers, ask(LOCAL, REMOTE, threshold=0.0, **more))
    assert run.token_ids == alone(servers).token_ids
    assert report.tier == "small int4"
    (said,) = report.unavailable
    assert said.startswith(f"@office ({model.server}) cannot be reached")
    assert report.large_alone_s is None, "it has taught nobody anything"


def test_a_small_tier_that_is_down_falls_to_the_next(servers: Servers) -> None:
    servers.add(unreachable(), connect_timeout_s=0.2)
    run, report, _ = finish(servers, ask(REMOTE, LOCAL))
    assert run.token_ids == alone(servers).token_ids
    assert report.tier == "small int4"
    assert "cannot be reached" in report.unavailable[0]


class Breaking:
    """A server that breaks off once a piece of its answer has been seen."""

    def __init__(self) -> None:
        self.seen = threading.Event()

    def script(self, request: str) -> Iterator[bytes]:
        yield from stream(says("half an"), done=False)(request)
        self.seen.wait(30)
        yield as_event({"error": {"message": "out of memory"}})

    def events(self, servers: Servers, request: GenerationRequest) -> list[Any]:
        """All that comes of a request."""
        events = []
        for event in servers.engine.generate(request):
            events.append(event)
            if isinstance(event, TokenEvent) and event.tier == OFFICE:
                self.seen.set()
        return events


def test_a_tier_that_breaks_off_falls_to_the_next(servers: Servers) -> None:
    breaking = Breaking()
    with MisbehavingServer(breaking.script) as server:
        servers.add(server.url)
        events = breaking.events(servers, ask(REMOTE, LOCAL))
    run = events[-1]
    assert isinstance(run, RunFinished)
    assert run.cascade is not None
    assert run.token_ids == alone(servers).token_ids
    assert "out of memory" in run.cascade.unavailable[0]
    assert [event.discarded_tokens for event in events if isinstance(event, Escalated)] == [1]


def test_the_last_tier_that_breaks_off_fails_the_run_in_its_words(servers: Servers) -> None:
    breaking = Breaking()
    with MisbehavingServer(breaking.script) as server:
        servers.add(server.url)
        last = breaking.events(servers, ask(LOCAL, REMOTE, threshold=0.0))[-1]
    assert isinstance(last, RunFailed)
    assert "broke off the answer: out of memory" in last.error


def test_a_name_that_nobody_knows_is_a_tier_that_is_not_there(servers: Servers) -> None:
    _, report, _ = finish(servers, ask(REMOTE, LOCAL))
    assert "No server's model is called @office" in report.unavailable[0]
    assert report.tier == "small int4"


def sure(logprob: float | None) -> Script:
    """A server that is as sure of its answer as that; ``None`` does not tell."""
    told = {} if logprob is None else {"logprobs": {"content": [{"token": "afar", "logprob": logprob}]}}
    return stream(says("afar", **told), ends())


@pytest.mark.parametrize(("logprob", "kept"), [(-0.01, True), (-3.0, False), (None, False)])
def test_what_a_server_tells_of_probabilities_decides(servers: Servers, logprob: float | None, kept: bool) -> None:
    with MisbehavingServer(sure(logprob)) as server:
        servers.add(server.url)
        run, report, _ = finish(servers, ask(REMOTE, LOCAL))
    assert report.attempts[0].kept is kept
    assert (run.text == "afar") is kept
    score = report.attempts[0].answer_score
    assert score is not None
    assert math.isnan(score) is (logprob is None), "what is not known is not made up, and goes to the better model"


def test_a_cancelled_cascade_closes_the_servers_stream(servers: Servers) -> None:
    hung_up = threading.Event()

    def script(request: str) -> Iterator[bytes]:
        yield STREAM_HEAD
        try:
            while not server.is_over(0.005):
                yield b"".join(stream(says("on "), done=False, head=b"")(request))
        finally:
            hung_up.set()

    with MisbehavingServer(script) as server:
        servers.add(server.url)
        generation = servers.engine.generate(ask(REMOTE, LOCAL))
        while not isinstance(next(generation), TokenEvent):
            pass
        generation.cancel()
        *_, last = generation
        assert hung_up.wait(5)
    assert isinstance(last, RunFinished)
    assert last.finish_reason in ("abort", "length")


def test_others_go_on_while_a_server_is_waited_for(servers: Servers) -> None:
    answered = threading.Event()

    def script(request: str) -> Iterator[bytes]:
        answered.wait(30)
        return GOOD(request)

    with MisbehavingServer(script) as server:
        servers.add(server.url)
        waiting = servers.engine.generate(ask(LOCAL, REMOTE, threshold=0.0))
        assert alone(servers).finish_reason == "length", "beside it, and to its end"
        answered.set()
        *_, last = waiting
    assert isinstance(last, RunFinished)
    assert last.text == "from afar"


def test_a_profile_made_for_another_server_is_refused(servers: Servers) -> None:
    servers.add("http://127.0.0.1:9/v1")
    weights = {tier: servers.engine.weights_sha256(tier.model) for tier in (LOCAL, REMOTE)}
    ladder = [
        TierIdentity(model=tier.model, precision=tier.precision, weights_sha256=sha256)
        for tier, sha256 in weights.items()
    ]
    boundary = BoundaryRouter(threshold=0.5)
    profile = RouterProfile(
        name="mixed", made_on=date(2026, 1, 1), kind=RouterKind.ESCALATE, ladder=tuple(ladder), boundaries=(boundary,),
        data_sha256="", prompts=0, figures={},
    )  # fmt: skip
    profile.check_fits(ladder)
    servers.add("http://127.0.0.1:10/v1")
    moved = replace(ladder[1], weights_sha256=servers.engine.weights_sha256(OFFICE))
    with pytest.raises(RouterProfileError, match="another server behind @office"):
        profile.check_fits([ladder[0], moved])
