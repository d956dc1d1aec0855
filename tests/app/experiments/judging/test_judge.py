"""Who judges: the engine's models and a server's, and all that can go wrong on the way."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from app.experiments.judging import judge as module
from app.experiments.judging.judge import JudgeError, LocalJudge, Reply, ServerJudge
from app.experiments.judging.prompts import MOST_TOKENS, VERSION, Asked, Opinion
from app.store import JudgeId, NoVerdict
from engine.errors import ContextLengthError, GearboxError, InvalidRequestError
from engine.types import Precision, RemoteModel, Tier
from tests.support.fakes import FakeLabEngine
from tests.support.scripted_server import Reply as Scripted
from tests.support.scripted_server import ScriptedServer

ASKED = Asked("Why is it blue?", "The sky.", salt="x1")
KEY = "sk-very-secret"


def watch(_run: object) -> None:
    pass


def local(engine: FakeLabEngine) -> LocalJudge:
    return LocalJudge.installed(engine, Tier(model="small", precision=Precision.INT4), "judge x1")


def test_a_local_judge_is_asked_greedily_for_json() -> None:
    engine = FakeLabEngine(["{", '"ticket"', "…"])
    judge = local(engine)
    reply = judge.ask(ASKED, watch)
    assert (reply.text, reply.no_verdict, reply.completion_tokens) == ('{"ticket"…', None, 3)
    (request,) = engine.requests
    sampling = request.config.sampling
    assert (sampling.temperature, sampling.max_tokens, sampling.json_schema is not None) == (0.0, MOST_TOKENS, True)
    assert (request.messages, request.cache_salt) == (ASKED.messages(), "judge x1")
    assert judge.id == JudgeId("small@int4", engine.weights_sha256("small"), VERSION)


@pytest.mark.parametrize(
    ("failure", "why"),
    [(ContextLengthError(9000, 8192), NoVerdict.REFUSED), (GearboxError("NaN."), NoVerdict.NO_ANSWER)],
)
def test_a_local_judge_that_cannot_answer_says_why(failure: GearboxError, why: NoVerdict) -> None:
    reply = local(FakeLabEngine(failure=failure)).ask(ASKED, watch)
    assert (reply.text, reply.no_verdict, reply.detail) == ("", why, str(failure))


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


def completion(content: Any, **more: Any) -> Scripted:
    return Scripted(whole={"choices": [{"message": {"role": "assistant", "content": content}}], **more})


def ask(server: ScriptedServer, reply: Scripted, timeout_s: float = 10.0) -> Reply:
    server.script = lambda _: reply
    return ServerJudge(server.url, "big", KEY, timeout_s).ask(ASKED, watch)


def test_a_server_is_asked_with_the_key_and_its_reply_read(server: ScriptedServer) -> None:
    text = ASKED.reply(Opinion(0.8, "Good."))
    reply = ask(server, completion(text, usage={"prompt_tokens": 300, "completion_tokens": 21}))
    assert (reply.text, reply.prompt_tokens, reply.completion_tokens) == (text, 300, 21)
    (body,), (headers,) = server.bodies, server.headers
    assert (body["model"], body["temperature"], body["messages"][-1]["role"]) == ("big", 0, "user")
    assert headers["authorization"] == f"Bearer {KEY}"
    judge = ServerJudge(server.url, " big ", KEY)
    assert judge.id == JudgeId(f"big at {server.url.removeprefix('http://')}", "", VERSION)
    assert KEY not in repr(judge)


def test_a_server_that_writes_nothing_gives_an_empty_reply(server: ScriptedServer) -> None:
    assert ask(server, completion(None)) == Reply()


@pytest.mark.parametrize(
    "reply",
    [
        Scripted(whole={"choices": []}),
        Scripted(whole=[1]),
        Scripted(),  # a stream
        completion(["a"]),
        Scripted(status=500, error={"error": {"message": "Overloaded."}}),
        Scripted(status=429, error={}),
        Scripted(status=302, error={}),
        completion("a" * 300_000),
    ],
)
def test_what_is_no_completion_is_no_answer(server: ScriptedServer, reply: Scripted) -> None:
    found = ask(server, reply)
    assert (found.text, found.no_verdict) == ("", NoVerdict.NO_ANSWER)
    assert found.detail


def test_a_server_that_takes_too_long_is_no_answer(server: ScriptedServer) -> None:
    found = ask(server, Scripted(whole={}, wait_s=30), timeout_s=0.1)
    assert (found.no_verdict, found.detail) == (NoVerdict.NO_ANSWER, "it took longer than 0.1 s")


def test_nobody_there_is_no_answer() -> None:
    found = ServerJudge("http://127.0.0.1:9", "big").ask(ASKED, watch)
    assert found.no_verdict is NoVerdict.NO_ANSWER


def test_a_request_that_a_server_will_never_take_is_refused(server: ScriptedServer) -> None:
    found = ask(server, Scripted(status=400, error={"error": {"message": f"Too long for {KEY}"}}))
    assert (found.no_verdict, found.detail) == (NoVerdict.REFUSED, "HTTP 400: Too long for …")


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_server_that_refuses_all_ends_the_work_and_the_key_is_not_told(server: ScriptedServer, status: int) -> None:
    with pytest.raises(JudgeError, match="GEARBOX_JUDGE_KEY") as refused:
        ask(server, Scripted(status=status, error={"error": f"Bad key {KEY}"}))
    assert KEY not in str(refused.value)


def test_a_server_that_was_added_judges_by_its_model_and_says_where_its_key_is(server: ScriptedServer) -> None:
    remote = RemoteModel(name="@office", url=f"{server.url}/v1", served_name="big", key=KEY)
    judge = ServerJudge.of(remote)
    assert judge.id == ServerJudge(server.url, "big").id
    server.script = lambda _: completion("ok")
    assert judge.ask(ASKED, watch).text == "ok"
    server.script = lambda _: Scripted(status=401, error={"error": f"Bad key {KEY}"})
    with pytest.raises(JudgeError, match="@office on the Models page") as refused:
        judge.ask(ASKED, watch)
    assert KEY not in str(refused.value)


def test_whoever_stops_does_not_wait_for_a_slow_server(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    class StoppedError(Exception):
        pass

    def stop(_run: object) -> None:
        raise StoppedError

    monkeypatch.setattr(module, "_LOOKS_EVERY_S", 0.01)
    server.script = lambda _: Scripted(whole={}, wait_s=60)
    begun = time.monotonic()
    with pytest.raises(StoppedError):
        ServerJudge(server.url, "big").ask(ASKED, stop)
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize("model", ["", " ", "m" * 121])
def test_a_model_without_a_name_is_refused(model: str) -> None:
    with pytest.raises(InvalidRequestError, match="Name the server's model"):
        ServerJudge("http://h", model)
