"""Whether the server lives, can answer, and what it has counted."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from app.runs.answers import answer_kept
from app.runs.race import LaneRun
from app.store import RunOutcome, RunSource, RunStatus, RunStore
from engine import Engine
from engine.types import CascadeReport, Precision, RouterKind, RunFinished, SamplingParams, TierAttempt
from tests.support.api import chat, serving
from tests.support.disturbing import DISTURBED
from tests.support.fakes import FakeEngine, make_metrics, make_request

SAME = {"model_name": "smollm2-135m", "precision": "int4", "source": "api"}


def counted(client: TestClient) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def value(client: TestClient, name: str, **labels: str) -> float:
    return counted(client).get((name, frozenset(labels.items())), 0.0)


def test_a_server_with_a_model_is_alive_and_ready(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})


def test_without_a_model_or_an_engine_it_is_alive_and_says_why_it_is_not_ready(
    store: RunStore, tmp_path: Path, models_dir: Path
) -> None:
    closed = Engine(models_dir)
    closed.close()
    for engine, folder, why in ((FakeEngine(), tmp_path, "No model"), (closed, models_dir, "shut down")):
        with serving(engine, store, folder) as app, TestClient(app) as client:
            assert client.get("/healthz").status_code == 200
            answer = client.get("/readyz")
            assert answer.status_code == 503
            assert why in answer.json()["reason"]


def test_an_answer_of_the_api_is_counted_under_vllms_names(client: TestClient) -> None:
    usage = client.post("/v1/chat/completions", json=chat()).json()["usage"]
    expected = {
        "vllm:prompt_tokens_total": usage["prompt_tokens"],
        "vllm:generation_tokens_total": usage["completion_tokens"],
        "vllm:prefix_cache_queries_total": usage["prompt_tokens"],
        "vllm:prefix_cache_hits_total": usage["prompt_tokens_details"]["cached_tokens"],
        "vllm:time_to_first_token_seconds_count": 1,
        "vllm:e2e_request_latency_seconds_count": 1,
        "vllm:request_time_per_output_token_seconds_count": 1,
        "vllm:inter_token_latency_seconds_count": usage["completion_tokens"] - 1,
        "vllm:time_per_output_token_seconds_count": usage["completion_tokens"] - 1,
        "vllm:request_queue_time_seconds_count": 1,
        "vllm:spec_decode_num_draft_tokens_total": 0,
        "vllm:spec_decode_num_accepted_tokens_total": 0,
    }
    assert {name: value(client, name, **SAME) for name in expected} == expected
    assert value(client, "vllm:request_success_total", **SAME, finished_reason="length") == 1
    assert value(client, "gearbox_runs_total", **SAME, status="finished") == 1
    assert (value(client, "vllm:num_requests_running"), value(client, "vllm:num_requests_waiting")) == (0, 0)


def test_what_runs_takes_a_share_of_the_room_for_kv(client: TestClient, engine: Engine) -> None:
    assert ("vllm:num_preemptions_total", frozenset()) in counted(client)
    request = make_request("A long story.", precision=Precision.INT4, sampling=SamplingParams(max_tokens=2000))
    with closing(engine.generate(request)) as generation:
        while not (share := value(client, "vllm:kv_cache_usage_perc")):
            assert not isinstance(next(generation), RunFinished)
        assert share < 1


def test_runs_of_the_pages_count_too(fake_client: TestClient, fake_engine: FakeEngine, store: RunStore) -> None:
    fake_engine.disturbances = [DISTURBED]
    seen_by_somebody = store.seen_by(None)
    run = LaneRun(make_request())
    answer_kept(fake_engine, seen_by_somebody, run, person_id="p", source=RunSource.PLAYGROUND, watch=lambda run: None)
    labels = {"model_name": "smollm2-135m", "precision": "bf16", "source": "playground"}
    assert value(fake_client, "gearbox_runs_total", **labels, status="finished") == 1
    assert value(fake_client, "gearbox_disturbed_runs_total", **labels) == 1


@pytest.mark.parametrize("model", ["/a/folder", "some/hub-id"])
def test_folders_and_hub_ids_are_no_label(
    fake_client: TestClient, fake_engine: FakeEngine, store: RunStore, model: str
) -> None:
    run = LaneRun(make_request(model=model))
    answer_kept(fake_engine, store, run, person_id=None, source=RunSource.CHAT, watch=lambda run: None)
    assert value(
        fake_client, "gearbox_runs_total", model_name="other", precision="bf16", source="chat", status="finished"
    )
    assert model not in fake_client.get("/metrics").text


def test_a_cascade_counts_who_answered_and_what_was_thrown_away(
    fake_client: TestClient, fake_engine: FakeEngine, store: RunStore
) -> None:
    tiers = [TierAttempt(tier="small int4", kept=False), TierAttempt(tier="large int8", kept=True)]
    report = CascadeReport(
        router=RouterKind.ESCALATE, attempts=tuple(tiers), routing_s=0.0, discarded_tokens=7, salvaged_tokens=0
    )
    run_id = store.create_run(make_request(), person_id=None, environment={}, source=RunSource.API)
    metrics = replace(make_metrics(), discarded_tokens=7)
    store.finish_run(run_id, RunOutcome(RunStatus.FINISHED, "x", "stop", metrics=metrics, cascade=report))
    labels = {**SAME, "precision": "bf16"}
    assert value(fake_client, "gearbox_cascade_answers_total", **labels, tier="large int8") == 1
    assert value(fake_client, "gearbox_cascade_escalations_total", **labels) == 1
    assert value(fake_client, "gearbox_cascade_discarded_tokens_total", **labels) == 7
