"""The API in the server that people start, beside the pages: one port, the doors, a kill in the middle of a stream."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.store import RunSource, RunStatus, RunStore
from tests.support.api import chat, events_of, said, send
from tests.support.server import Server

pytestmark = pytest.mark.slow
ANSWERS = 12


@pytest.fixture
def server(models_dir: Path, tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "models").symlink_to(models_dir, target_is_directory=True)
    server = Server(tmp_path)
    server.start()
    yield server
    server.stop()


def test_pages_api_and_metrics_share_a_port_and_the_doors(server: Server) -> None:
    with httpx2.Client(base_url=server.url, timeout=120) as client:
        assert "<html" in client.get("/").text
        assert client.get("/healthz").json() == {"status": "ok"}
        assert client.get("/readyz").status_code == 200
        assert "smollm2-135m" in client.get("/v1/models").text
        assert client.get("/v1/nothing").json()["error"]["code"] == "unknown_url"
        with client.stream("POST", "/v1/chat/completions", json=chat(stream=True)) as answer:
            assert said(events_of(answer.iter_lines()))
        assert 'vllm:e2e_request_latency_seconds_count{model_name="smollm2-135m"' in client.get("/metrics").text
        strange = client.post("/v1/chat/completions", json=chat(), headers={"Origin": "https://evil.example"})
        assert strange.status_code == 403
        for name in ("..%2f..%2fetc", "%0d%0aset-cookie:%20a=b", "a%00b"):
            answer = client.get(f"/v1/models/{name}")
            assert answer.status_code in (400, 404)
            assert "set-cookie" not in answer.headers
    assert "Say hello" not in server.log


def long_work(*, streamed: bool) -> dict[str, Any]:
    """A call that takes a while, however quick the machine: many answers, each seldom short."""
    prompt = "Tell a very long story about a fox."
    return chat(prompt, max_tokens=6000, stream=streamed, n=ANSWERS, temperature=2, seed=1)


def statuses(server: Server) -> list[RunStatus]:
    store = RunStore.open(server.database_url)
    try:
        return [run.status for run in store.page().rows]
    finally:
        store.close()


def test_a_kill_in_the_middle_of_a_stream_loses_no_run_and_leaves_none_running(server: Server) -> None:
    url = f"{server.url}/v1/chat/completions"
    with httpx2.stream("POST", url, json=long_work(streamed=True), timeout=60) as answer:
        lines = answer.iter_lines()  # held: without it the client would have left
        for _ in range(30):
            next(lines)
        time.sleep(1.5)  # the text so far is saved every second
        server.kill()
    server.start()
    found = statuses(server)
    assert len(found) == ANSWERS
    assert set(found) <= {RunStatus.FINISHED, RunStatus.INTERRUPTED}
    assert RunStatus.INTERRUPTED in found
    store = RunStore.open(server.database_url)
    try:
        runs = [store.get(run.id) for run in store.page().rows]
    finally:
        store.close()
    assert {run.source for run in runs} == {RunSource.API}
    assert any(run.text for run in runs)
    assert httpx2.post(f"{server.url}/v1/chat/completions", json=chat(), timeout=60).status_code == 200


@pytest.mark.parametrize("streamed", [False, True])
def test_a_server_that_is_asked_to_end_stores_what_runs_and_ends_soon(server: Server, streamed: bool) -> None:
    with send(server.url, long_work(streamed=streamed)) as connection:
        while len(statuses(server)) < ANSWERS:
            time.sleep(0.1)
        begun = time.monotonic()
        server.stop()
        assert time.monotonic() - begun < 20
        found = statuses(server)
        assert set(found) <= {RunStatus.FINISHED, RunStatus.STOPPED}
        assert RunStatus.STOPPED in found
        assert b"shut down" in b"".join(iter(lambda: connection.recv(65536), b"")) or streamed
