"""The API on a port of its own: many clients at once, those that leave, those that do not read."""

from __future__ import annotations

import http.client
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from starlette.types import Receive, Scope, Send

from app.api import answering, calls
from app.store import RunStatus, RunStore
from engine import Engine
from engine.errors import GearboxError
from engine.types import GenerationRequest, Message, RunConfig, SamplingParams, Started
from tests.support.api import chat, events_of, listening, said, send, serving
from tests.support.fakes import FakeEngine

CLIENTS = 20
_PATIENCE_S = 30.0


@pytest.fixture
def url(engine: Engine, store: RunStore, models_dir: Path) -> Iterator[str]:
    with serving(engine, store, models_dir) as app, listening(app) as url:
        yield url


def ask(url: str, body: dict[str, Any]) -> str:
    answer = httpx2.post(f"{url}/v1/chat/completions", json=body, timeout=120)
    assert answer.status_code == 200, answer.text
    text: str = answer.json()["choices"][0]["message"]["content"]
    return text


def ask_streamed(url: str, body: dict[str, Any]) -> str:
    with httpx2.stream("POST", f"{url}/v1/chat/completions", json={**body, "stream": True}, timeout=120) as answer:
        assert answer.status_code == 200
        return said(events_of(answer.iter_lines()))


def wait_for(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def statuses(store: RunStore) -> list[RunStatus]:
    return [run.status for run in store.page().rows]


def test_many_clients_at_once_are_all_answered_and_each_gets_its_own(url: str, store: RunStore) -> None:
    prompts = [f"Name {count} animals." for count in range(2, 2 + CLIENTS)]
    expected = {prompt: ask(url, chat(prompt, max_tokens=4)) for prompt in prompts[:6]}
    with ThreadPoolExecutor(CLIENTS) as clients:
        ways = [ask, ask_streamed] * (CLIENTS // 2)
        answers = clients.map(lambda pair: pair[0](url, chat(pair[1], max_tokens=4)), zip(ways, prompts, strict=True))
        found = dict(zip(prompts, answers, strict=True))
    assert {prompt: found[prompt] for prompt in expected} == expected
    assert all(found.values())
    assert statuses(store) == [RunStatus.FINISHED] * (CLIENTS + 6)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_client_that_leaves_ends_its_run_which_is_kept_as_stopped(
    store: RunStore, models_dir: Path, streamed: bool
) -> None:
    never = threading.Event()
    fake = FakeEngine(gate=never)
    with serving(fake, store, models_dir) as app, listening(app) as url:
        connection = send(url, chat(stream=streamed))
        wait_for(lambda: bool(fake.generations))
        if streamed:
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        connection.close()
        wait_for(lambda: fake.generations[0].over)
        assert fake.generations[0].cancelled
        wait_for(lambda: statuses(store) == [RunStatus.STOPPED])
        (run,) = store.page().rows
        assert (run.finish_reason, store.get(run.id).text) == ("abort", "The")


def test_a_real_run_ends_within_a_moment_of_its_client_leaving(url: str, engine: Engine, store: RunStore) -> None:
    connection = send(url, chat("Tell a very long story.", max_tokens=8000, stream=True, temperature=1, seed=1))
    assert connection.recv(64).startswith(b"HTTP/1.1 200")
    connection.close()
    wait_for(lambda: statuses(store) == [RunStatus.STOPPED])
    assert not engine.status().running
    (run,) = store.page().rows
    assert run.metrics
    assert run.metrics.completion_tokens < 8000


def test_a_client_that_reads_nothing_holds_nobody_up(store: RunStore, models_dir: Path) -> None:
    fake = FakeEngine(["x" * 2000] * 4000)  # more than lies between two sockets
    with serving(fake, store, models_dir) as app, listening(app) as url:
        connection = send(url, chat(stream=True, max_tokens=4000))
        wait_for(lambda: statuses(store) == [RunStatus.FINISHED])
        fake.tokens = ("y",)
        assert ask(url, chat()) == "y"
        with connection:
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            assert len(said(events_of(iter(answer.read().decode().splitlines())))) == 8_000_000


def test_a_stream_that_waits_says_for_what(url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "HEADERS_AFTER_S", 0.2)
    config = RunConfig(model="smollm2-135m", sampling=SamplingParams(max_tokens=4000, temperature=1))
    race = engine.generate(
        GenerationRequest(messages=(Message("user", "A long story."),), config=config, exclusive=True)
    )
    next(event for event in race if isinstance(event, Started))
    with httpx2.stream("POST", f"{url}/v1/chat/completions", json=chat(stream=True), timeout=60) as answer:
        lines = answer.iter_lines()
        comment = next(line for line in lines if line.startswith(":"))
        race.close()
        assert said(events_of(lines))
    assert comment == ": waiting, 1 request ahead. Another request has the engine alone: its times are compared."


def test_a_failure_after_the_first_token_is_told_in_the_stream(store: RunStore, models_dir: Path) -> None:
    fake = FakeEngine(failure=GearboxError("It broke."), fail_after=3, delay_s=0.05)
    with serving(fake, store, models_dir) as app, listening(app) as url:
        request = {**chat(), "stream": True}
        with httpx2.stream("POST", f"{url}/v1/chat/completions", json=request, timeout=60) as answer:
            events = events_of(answer.iter_lines())
    assert events[-2]["error"]["message"] == "It broke."
    assert events[-1] == "[DONE]"
    assert statuses(store) == [RunStatus.FAILED]


def test_what_is_said_stands_in_no_log_however_talkative_it_is(
    store: RunStore, models_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    fake = FakeEngine(["hidden", "answer"])
    with serving(fake, store, models_dir) as app, listening(app) as url:
        for streamed in (False, True):
            body = chat("secretprompt", stream=streamed, user="secretuser")
            httpx2.post(f"{url}/v1/chat/completions", json=body, headers={"Authorization": "Bearer secretkey"})
        httpx2.post(f"{url}/v1/chat/completions", json=chat("secretprompt", foo="secretvalue"))
    assert caplog.records
    for word in ("hidden", "secretprompt", "secretuser", "secretvalue", "secretkey"):
        assert word not in caplog.text


@pytest.mark.parametrize("streamed", [False, True])
def test_no_name_ends_a_header(store: RunStore, models_dir: Path, fake_engine: FakeEngine, streamed: bool) -> None:
    split = "\r\nSet-Cookie: a=b\r\n\r\n"
    config = RunConfig(model=f"/models/é {split}", sampling=SamplingParams(max_tokens=3))
    saved_id = store.configurations.save(None, f"fast{split}", config.to_dict(), warm=True)
    body = chat(model=f"gearbox/{saved_id}", user=f"anna{split}", metadata={f"a{split}": split}, stream=streamed)
    with serving(fake_engine, store, models_dir) as app, listening(app) as url:
        answer = httpx2.post(f"{url}/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    assert "set-cookie" not in answer.headers
    assert answer.headers["x-gearbox-tier"].startswith("%2Fmodels%2F%C3%A9 %0D%0A")
    run = store.get(answer.headers["x-gearbox-run-id"])
    assert (run.user, dict(run.metadata)) == (f"anna{split}", {f"a{split}": split})


def test_what_runs_when_the_server_ends_is_stored_as_stopped(store: RunStore, models_dir: Path) -> None:
    fake = FakeEngine(gate=threading.Event())
    with serving(fake, store, models_dir) as app, listening(app) as url, send(url, chat(stream=True)) as connection:
        assert connection.recv(64).startswith(b"HTTP/1.1 200")
    assert statuses(store) == [RunStatus.STOPPED]


def test_beyond_as_many_answers_as_are_made_at_once_a_call_is_asked_to_come_back(
    store: RunStore, models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "MOST_AT_ONCE", 2)
    go_on = threading.Event()
    fake = FakeEngine(gate=go_on)
    with serving(fake, store, models_dir) as app, listening(app) as url, ThreadPoolExecutor() as clients:
        first = clients.submit(ask, url, chat(n=2))
        wait_for(lambda: len(fake.generations) == 2)
        refused = httpx2.post(f"{url}/v1/chat/completions", json=chat())
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        go_on.set()
        assert first.result()
        assert ask(url, chat())


def test_a_key_gives_its_runs_an_owner_and_pays_for_what_they_take(
    store: RunStore, models_dir: Path, fake_engine: FakeEngine
) -> None:
    key, spent = SimpleNamespace(id="k1", name="the bot", created_by="p" * 32), list[int]()
    with serving(fake_engine, store, models_dir) as app:

        async def behind_doors(scope: Scope, receive: Receive, send: Send) -> None:
            await app({**scope, "state": {"key": key, "spend": spent.append}}, receive, send)

        with listening(behind_doors) as url:
            assert ask(url, chat())
            assert ask_streamed(url, chat(user="anna"))
            wait_for(lambda: len(spent) == 2)
    runs = store.page().rows
    assert [(run.person_id, run.user) for run in runs] == [("p" * 32, "anna"), ("p" * 32, "the bot")]
    assert spent == [run.metrics.prompt_tokens + run.metrics.completion_tokens for run in runs if run.metrics]
    first, second = (request.cache_salt for request in fake_engine.requests)
    assert first != second
