"""Runs that a server answered, as the app keeps them and hands them on; and Gearbox's own API as such a server."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.runs.invariants import Measured, run_faults
from app.runs.service import stream
from app.store import ALL_RUNS, NewRemote, RunRecord, RunSource, RunStore
from engine import Engine
from engine.backends.remote import probe
from engine.types import (
    Ability,
    CascadeConfig,
    GenerationRequest,
    Message,
    OptimizationConfig,
    Precision,
    RemoteModel,
    RemoteReport,
    RunConfig,
    RunFinished,
    SamplingParams,
    Tier,
    TokenEvent,
)
from tests.support import misbehaving_server as scripted
from tests.support.api import chat, events_of, listening, serving
from tests.support.misbehaving_server import MisbehavingServer, counts, ends, says
from tests.support.remotes import OFFICE, Servers, asked_of, metrics_of, report_of, tokens_of

GOOD = scripted.stream(says("one"), says(" two"), ends(), counts(10, 5, prompt_tokens_details={"cached_tokens": 4}))


@pytest.fixture(scope="module")
def known(tiny_models_dir: Path) -> Iterator[Servers]:
    servers = Servers()
    servers.engine = Engine(tiny_models_dir, remote_models=servers.find)
    yield servers
    servers.engine.close()


def kept(servers: Servers, store: RunStore, request: GenerationRequest) -> RunRecord:
    for _ in stream(servers.engine, store, request, person_id=None, source=RunSource.PLAYGROUND):
        pass
    (row,) = store.page().rows
    record = store.get(row.id)
    assert record is not None
    return record


def test_a_run_is_kept_with_what_is_known_of_it(known: Servers, store: RunStore) -> None:
    with MisbehavingServer(GOOD) as server:
        known.add(server.url, key="secret")
        run = kept(known, store, asked_of(OFFICE))
    assert (run.model, run.backend, run.precision, run.text) == (OFFICE, "remote", "unknown", "one two")
    assert run.metrics is not None
    assert (run.metrics.prompt_tokens, run.metrics.cached_tokens, run.metrics.completion_tokens) == (10, 4, 5)
    report = RemoteReport.of(run.environment)
    assert report is not None
    assert (report.served_name, report.counts_from) == ("served", "usage")
    timeline = store.timeline(run.id)
    assert timeline is not None
    assert (timeline.token_ids, timeline.texts, len(timeline)) == ((), ("one", " two"), 2)
    assert all(map(math.isnan, timeline.logprob))
    events = timeline.to_events()
    assert [(event.token_id, event.text) for event in events] == [(None, "one"), (None, " two")]
    measured = Measured.of_record(run, timeline)
    assert measured is not None
    assert run_faults(measured) == ()


def test_the_key_is_nowhere_in_what_is_kept(known: Servers, store: RunStore) -> None:
    with MisbehavingServer(scripted.whole("401 Unauthorized", {"error": {"message": "no key sk-secret"}})) as server:
        known.add(server.url, key="sk-secret")
        run = kept(known, store, asked_of(OFFICE))
    out = io.StringIO()
    store.export_jsonl(ALL_RUNS, out)
    assert run.error is not None
    assert "refuses the key" in run.error
    assert "sk-secret" not in out.getvalue()


def test_a_cascade_whose_small_tier_tells_nothing_is_kept_and_exported(known: Servers, store: RunStore) -> None:
    gear = CascadeConfig(smaller=(Tier(model=OFFICE, precision=Precision.UNKNOWN),), thresholds=(0.5,), guard=False)
    config = RunConfig(
        model="tiny",
        optimization=OptimizationConfig.at(Precision.INT4, cascade=gear),
        sampling=SamplingParams(max_tokens=4),
    )
    with MisbehavingServer(GOOD) as server:
        known.add(server.url)
        run = kept(known, store, GenerationRequest(messages=(Message("user", "Hello"),), config=config))
    assert run.cascade is not None
    assert [attempt.tier for attempt in run.cascade.attempts] == [OFFICE, "tiny int4"]
    out = io.StringIO()
    store.export_jsonl(ALL_RUNS, out)
    (attempt, _) = json.loads(out.getvalue())["cascade"]["attempts"]
    assert (attempt["answer_score"], attempt["logprobs"], attempt["margins"]) == (None, [None, None], [None, None])


@pytest.fixture
def gearbox(known: Servers, tiny_models_dir: Path, store: RunStore) -> Iterator[str]:
    """Gearbox's own API, as a server."""
    with serving(known.engine, store, tiny_models_dir) as app, listening(app) as url:
        known.models[OFFICE] = RemoteModel(name=OFFICE, url=f"{url}/v1", served_name="tiny")
        yield url


def test_gearbox_is_a_server_that_tells_all(known: Servers, gearbox: str) -> None:
    request = asked_of(OFFICE, "Hello there", max_tokens=8, top_logprobs=2)
    events = [*known.engine.generate(request)]
    run, tokens = events[-1], tokens_of(events)
    assert isinstance(run, RunFinished), run
    gears, sampling = OptimizationConfig.at(Precision.INT4), SamplingParams(max_tokens=8)
    config = RunConfig(model="tiny", optimization=gears, sampling=sampling)
    *_, here = known.engine.generate(GenerationRequest(messages=request.messages, config=config))
    assert isinstance(here, RunFinished)
    assert (run.text, run.finish_reason) == (here.text, here.finish_reason)
    assert metrics_of(run).prompt_tokens == metrics_of(here).prompt_tokens
    assert report_of(run).counted
    assert all(not math.isnan(token.logprob) and token.margin is not None for token in tokens)


def test_the_connection_test_finds_what_gearbox_can(known: Servers, gearbox: str) -> None:
    found = probe(known.models[OFFICE])
    assert "tiny" in found.models
    assert found.software == "Gearbox"
    assert {found.streams, found.usage_in_stream, found.logprobs} == {Ability.YES}
    assert found.problems == ()


@pytest.mark.parametrize(
    ("counted", "told"),
    [
        (
            [counts(10, 5, prompt_tokens_details={"cached_tokens": 4})],
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 15,
                "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
            },
        ),
        (
            [],
            {
                "prompt_tokens_details": {"audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
            },
        ),
    ],
)
def test_the_api_tells_no_count_that_a_server_did_not_tell(
    known: Servers, store: RunStore, tiny_models_dir: Path, counted: list[Any], told: dict[str, Any]
) -> None:
    answer = scripted.stream(says("one"), says(" two"), ends(), *counted)
    store.remotes.add(NewRemote(name=OFFICE, url="http://h/v1", served_name="served"))
    with (
        MisbehavingServer(answer) as server,
        serving(known.engine, store, tiny_models_dir) as app,
        listening(app) as url,
    ):
        known.add(server.url)
        body = {**chat("Hello"), "model": OFFICE}
        whole = httpx2.post(f"{url}/v1/chat/completions", json=body, timeout=30).json()
        streamed = {**body, "stream": True, "stream_options": {"include_usage": True}}
        lines = httpx2.post(f"{url}/v1/chat/completions", json=streamed, timeout=30).text.splitlines()
    assert whole["usage"] == told
    assert events_of(lines)[-2]["usage"] == told


def test_the_api_hands_a_servers_answer_on_without_making_up_probabilities(known: Servers) -> None:
    from app.api.presentation import ChatShape, TextShape

    unknown = TokenEvent(None, "one", 0.1, math.nan, math.nan)
    assert ChatShape().logprobs([unknown], 0) is None
    assert TextShape().logprobs([unknown], 0) is None
    told = TokenEvent(None, "one", 0.1, -0.5, math.nan, top_logprobs=((None, "two", -0.4), (None, "one", -0.5)))
    assert ChatShape().logprobs([told], 0)["content"][0]["token"] == "one"
