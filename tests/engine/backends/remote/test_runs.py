"""A run on a server that behaves: its events, its figures, and what is said of what nobody knows."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest

from engine import Engine
from engine.errors import InvalidRequestError, UnknownModelError, UnsupportedModelError
from engine.evaluation import Corpus
from engine.types import (
    Backend,
    GenerationRequest,
    KVCacheConfig,
    OptimizationConfig,
    Precision,
    PrefillDone,
    QuantizationConfig,
    RunConfig,
    RunFailed,
    RunFinished,
    SpeculationConfig,
    Started,
    Tier,
    TokenEvent,
)
from tests.support.misbehaving_server import MisbehavingServer, counts, ends, says, stream, whole
from tests.support.remotes import OFFICE, Servers, asked_of, metrics_of, report_of, tokens_of

GOOD = stream(says("one"), says(" two"), says(" three"), ends(), counts(10, 3))


def chance(token: str, logprob: float, *others: tuple[str, float]) -> dict[str, Any]:
    tops = [{"token": text, "logprob": value} for text, value in ((token, logprob), *others)]
    return {"token": token, "logprob": logprob, "bytes": list(token.encode()), "top_logprobs": tops}


def test_a_run_has_its_events_and_its_figures(servers: Servers) -> None:
    with MisbehavingServer(GOOD) as server:
        servers.add(server.url)
        events = servers.ask()
    assert [type(event) for event in events] == [Started, PrefillDone, *[TokenEvent] * 3, RunFinished]
    tokens, run = tokens_of(events), events[-1]
    assert isinstance(run, RunFinished)
    assert (run.text, run.token_ids, run.finish_reason) == ("one two three", (), "stop")
    metrics = metrics_of(run)
    assert (metrics.prompt_tokens, metrics.completion_tokens) == (10, 3)
    assert (metrics.ttft_s, metrics.e2e_s) == (tokens[0].t, tokens[-1].t)
    assert metrics.tpot_s == pytest.approx((tokens[-1].t - tokens[0].t) / 2)
    report = report_of(run)
    assert report.connect_s is not None
    assert report.first_byte_s is not None
    assert 0 <= report.connect_s < metrics.ttft_s
    assert report.server in server.url
    assert (report.counted, report.prompt_counted, report.attempts) == (True, True, 1)


def test_what_is_not_told_is_unknown(servers: Servers) -> None:
    with MisbehavingServer(stream(says("one"), says(" two"), ends())) as server:
        servers.add(server.url)
        run = servers.finish()
    report = report_of(run)
    assert (report.counted, report.prompt_counted) == (False, False)
    assert (report.cached_tokens, report.accepted_tokens, report.counts_from, report.shared) == (None,) * 4
    assert metrics_of(run).completion_tokens == 2, "pieces stand for tokens"


def test_tokens_without_logprobs_have_no_made_up_ones(servers: Servers) -> None:
    with MisbehavingServer(GOOD) as server:
        servers.add(server.url)
        tokens = tokens_of(servers.ask())
    assert all(math.isnan(token.logprob) and math.isnan(token.entropy) for token in tokens)
    assert {(token.token_id, token.margin, token.top_logprobs) for token in tokens} == {(None, None, ())}


def test_logprobs_become_probabilities_and_margins(servers: Servers) -> None:
    first = chance("Hel", -0.5, ("Hi", -1.5))
    second, third = chance("lo", -0.25, ("p", -3.0)), chance("!", -2.0)
    script = stream(
        says("Hel", logprobs={"content": [first]}), says("lo!", logprobs={"content": [second, third]}), ends()
    )
    with MisbehavingServer(script) as server:
        servers.add(server.url)
        tokens = tokens_of(servers.ask(top_logprobs=2))
    assert [token.text for token in tokens] == ["Hel", "lo", "!"]
    assert [token.logprob for token in tokens] == [-0.5, -0.25, -2.0]
    assert [token.margin for token in tokens] == [1.0, 2.75, None]
    assert tokens[0].top_logprobs == ((None, "Hel", -0.5), (None, "Hi", -1.5))
    assert all(math.isnan(token.entropy) for token in tokens), "two of them are no distribution"


@pytest.mark.parametrize(
    ("more", "cached", "accepted", "drafted", "told_by"),
    [
        ({"usage": {"prompt_tokens_details": {"cached_tokens": 7}}}, 7, None, None, "usage"),
        (
            {
                "usage": {
                    "completion_tokens_details": {"accepted_prediction_tokens": 2, "rejected_prediction_tokens": 1}
                }
            },
            None,
            2,
            3,
            "usage",
        ),
        ({"timings": {"cache_n": 5, "draft_n": 8, "draft_n_accepted": 6}}, 5, 6, 8, "timings"),
        ({"usage": {"prompt_tokens_details": {"cached_tokens": True}}}, None, None, None, None),
        ({"usage": {"prompt_tokens_details": {"cached_tokens": -1}}}, None, None, None, None),
    ],
)
def test_kept_and_drafted_tokens_are_taken_from_what_is_told(
    servers: Servers, more: dict[str, Any], cached: int, accepted: int, drafted: int, told_by: str
) -> None:
    with MisbehavingServer(stream(says("one"), ends(**more))) as server:
        servers.add(server.url)
        run = servers.finish()
    report, metrics = report_of(run), metrics_of(run)
    assert (report.cached_tokens, report.accepted_tokens, report.drafted_tokens) == (cached, accepted, drafted)
    assert report.counts_from == told_by
    assert (metrics.cached_tokens, metrics.accepted_tokens) == (cached or 0, accepted or 0)


def test_sampling_is_translated(servers: Servers) -> None:
    with MisbehavingServer(GOOD) as server:
        servers.add(server.url, key="secret")
        schema = '{"type":"object"}'
        run = servers.finish(
            temperature=0.7, top_p=0.9, top_k=5, seed=3, max_tokens=20, stop=("END",), repetition_penalty=1.1,
            presence_penalty=0.5, logit_bias=((7, -1.0),), json_schema=schema,
        )  # fmt: skip
    head, _, body = server.requests[0].partition("\r\n\r\n")
    asked = json.loads(body)
    assert asked["messages"] == [{"role": "user", "content": "Hello there"}]
    assert {name: asked[name] for name in ("model", "temperature", "top_p", "top_k", "seed", "max_tokens", "stop")} == {
        "model": "served", "temperature": 0.7, "top_p": 0.9, "top_k": 5, "seed": 3, "max_tokens": 20, "stop": ["END"],
    }  # fmt: skip
    assert (asked["presence_penalty"], asked["repetition_penalty"], asked["logit_bias"]) == (0.5, 1.1, {"7": -1.0})
    assert asked["response_format"]["json_schema"]["schema"] == json.loads(schema)
    assert "authorization: bearer secret" in head.lower()
    notes = " ".join(report_of(run).notes)
    assert "Top-k" in notes
    assert "repetition penalty" in notes
    assert "random numbers" in notes


def test_a_text_is_continued(servers: Servers) -> None:
    script = stream(
        {"choices": [{"index": 0, "text": " upon", "logprobs": {"tokens": [" upon"], "token_logprobs": [-0.5]}}]},
        {"choices": [{"index": 0, "text": " a time", "finish_reason": "length"}]},
    )
    with MisbehavingServer(script) as server:
        servers.add(server.url)
        config = RunConfig(model=OFFICE, backend=Backend.REMOTE)
        *events, run = servers.engine.generate(GenerationRequest(messages=(), completion="Once", config=config))
    assert server.requests[0].startswith("POST /v1/completions ")
    assert isinstance(run, RunFinished)
    assert (run.text, run.finish_reason) == (" upon a time", "length")
    assert tokens_of(events)[0].logprob == -0.5


def test_a_field_that_a_server_does_not_take_is_left_out_and_that_is_said(servers: Servers) -> None:
    def script(request: str) -> Iterator[bytes]:
        if '"logprobs"' in request:
            refused = {"error": {"message": "logprobs are not supported with reasoning models"}}
            return whole("400 Bad Request", refused)(request)
        return GOOD(request)

    with MisbehavingServer(script) as server:
        servers.add(server.url)
        first, second = servers.finish(), servers.finish()
    assert first.text == second.text == "one two three"
    assert len(server.requests) == 3, "it is known from the first time on"
    assert any("log-probabilities" in note for note in report_of(second).notes)


def test_reasoning_takes_time_and_is_not_shown(servers: Servers) -> None:
    thought = {"choices": [{"index": 0, "delta": {"reasoning_content": "hm"}}]}
    with MisbehavingServer(stream(thought, says("four"), ends(), counts(5, 2))) as server:
        servers.add(server.url)
        events = servers.ask()
    assert [token.text for token in tokens_of(events)] == ["", "four"]
    assert isinstance(events[-1], RunFinished)
    assert any("reasoning" in note for note in report_of(events[-1]).notes)


def test_a_stop_string_is_no_part_of_the_answer_whatever_the_server_does(servers: Servers) -> None:
    with MisbehavingServer(stream(says("one S"), says("TOP two"), ends())) as server:
        servers.add(server.url)
        run = servers.finish(stop=("STOP",))
    assert (run.text, run.finish_reason) == ("one ", "stop")


def test_the_same_answer_repeats_itself_as_much_as_its_pieces_do(servers: Servers) -> None:
    with MisbehavingServer(stream(*[says("la ")] * 8, ends())) as server:
        servers.add(server.url)
        assert metrics_of(servers.finish()).repetition == pytest.approx(0.8)


def test_a_name_that_nobody_knows_is_said(servers: Servers) -> None:
    assert "No server's model is called @nobody here" in servers.failure(name="@nobody")


def test_what_keeps_a_name_from_being_looked_up_fails_the_run_in_its_words(tmp_path: Any) -> None:
    def find(name: str) -> None:
        raise InvalidRequestError(f"The key of {name} cannot be read.")

    engine = Engine(tmp_path, remote_models=find)
    (event,) = engine.generate(asked_of(OFFICE))
    assert event == RunFailed("The key of @office cannot be read.", "InvalidRequestError")
    engine.close()


def test_a_closed_engine_ends_what_is_under_way(servers: Servers) -> None:
    def script(request: str) -> Iterator[bytes]:
        yield from stream(says("one"), done=False)(request)
        server.is_over(30)

    with MisbehavingServer(script) as server:
        servers.add(server.url)
        generation = servers.engine.generate(asked_of(OFFICE))
        while not isinstance(next(generation), TokenEvent):
            pass
        servers.engine.close()
        *_, last = generation
    assert isinstance(last, RunFinished)
    assert last.finish_reason == "abort"


@pytest.mark.parametrize(
    "gears",
    [
        {"quantization": QuantizationConfig()},
        {"kv_cache": KVCacheConfig()},
        {"speculation": SpeculationConfig()},
    ],
)
def test_no_gear_can_be_on_that_nobody_can_verify(gears: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError, match="cannot be seen from here"):
        RunConfig(model=OFFICE, backend=Backend.REMOTE, optimization=OptimizationConfig(**gears))


def test_a_name_and_its_backend_belong_together() -> None:
    with pytest.raises(InvalidRequestError, match="choose the backend Remote"):
        RunConfig(model=OFFICE)
    with pytest.raises(InvalidRequestError, match="names begin with @"):
        RunConfig(model="small", backend=Backend.REMOTE)


def test_its_precision_is_unknown_and_no_part_of_its_name() -> None:
    config = RunConfig(model=OFFICE, backend=Backend.REMOTE)
    assert config.precision is Precision.UNKNOWN
    (tier,) = config.ladder
    assert (str(tier), tier.key) == (OFFICE, OFFICE)
    assert Tier.from_key(OFFICE) == Tier.from_text(OFFICE) == tier
    assert RunConfig.from_dict(config.to_dict()) == config
    with pytest.raises(InvalidRequestError, match="server's to know"):
        Tier(model=OFFICE, precision=Precision.BF16)


def test_what_needs_weights_says_that_they_are_not_here(servers: Servers) -> None:
    servers.add("http://127.0.0.1:9/v1")
    with pytest.raises(UnsupportedModelError, match="runs on a server"):
        servers.engine.windows(OFFICE, Corpus(name="text", text="word " * 600))
    with pytest.raises(UnsupportedModelError, match="runs on a server"):
        servers.engine.check_losslessness(asked_of(OFFICE), (1, 2))


def test_its_identity_is_its_address_and_name(servers: Servers) -> None:
    servers.add("http://127.0.0.1:9/v1")
    first = servers.engine.weights_sha256(OFFICE)
    assert first == servers.engine.weights_sha256(OFFICE)
    servers.add("http://127.0.0.1:10/v1")
    assert servers.engine.weights_sha256(OFFICE) != first
    with pytest.raises(UnknownModelError):
        servers.engine.weights_sha256("@nobody")
