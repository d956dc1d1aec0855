"""What real servers answer, and what a run on them tells: the rows of the table in docs/scale-out.md."""

from __future__ import annotations

import json
import math
from contextlib import closing
from dataclasses import replace
from threading import Thread

import httpx2
import pytest

from engine.backends.remote.probing import probe
from engine.types import Ability, PrefillDone, TokenEvent
from tests.support.model_servers import LLAMA_CPP_PYTHON, SERVED
from tests.support.real_servers import ENDLESS, LONG, Served

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]

TELLS_LOGPROBS = {"vLLM", "llama-server", "llama-cpp-python", "Gearbox"}
COUNTS = {"vLLM", "llama-server", "Gearbox"}
"""Who ends a stream with counts of its tokens."""
TELLS_KEPT = {"vLLM": "usage", "llama-server": "usage", "Gearbox": "usage"}
"""Who tells of prompt tokens that it had kept, and where."""
HOLDS_SCHEMAS = {"vLLM", "llama-server", "Gearbox"}


def raw(served: Served, **fields: object) -> dict[str, object]:
    """The server's own answer to a call, all at once."""
    body = {"model": served.model.served_name, "temperature": 0, "max_tokens": 24, **fields}
    body.setdefault("messages", [{"role": "user", "content": "Why is the sky blue?"}])
    answer = httpx2.post(f"{served.model.url}/chat/completions", json=body, timeout=120)
    answer.raise_for_status()
    return answer.json()


def test_the_connection_test_finds_what_the_server_can_do(served: Served) -> None:
    found = probe(served.model)
    assert found.problems == ()
    assert found.can_be_used
    assert served.model.served_name in found.models
    assert found.streams is Ability.YES
    assert (found.usage_in_stream is Ability.YES) == (served.software.name in COUNTS)
    assert (found.logprobs is Ability.YES) == (served.software.name in TELLS_LOGPROBS)
    assert (found.metrics is Ability.YES) == (served.model.metrics_url is not None)
    assert found.first_token_s


def test_an_answer_streams_and_is_the_server_s_own(served: Served) -> None:
    asked = served.ask()
    whole = raw(served)
    assert asked.text == whole["choices"][0]["message"]["content"]  # type: ignore[index]
    assert "".join(token.text for token in asked.tokens) == asked.text
    assert len([event for event in asked.events if isinstance(event, TokenEvent)]) > 4
    assert any(isinstance(event, PrefillDone) for event in asked.events)
    assert asked.finished.finish_reason == "length"


def test_tokens_are_counted_as_the_server_counts_them(served: Served) -> None:
    asked = served.ask()
    usage = raw(served)["usage"]
    metrics = asked.finished.metrics
    assert metrics
    assert asked.report.counted == asked.report.prompt_counted == (served.software.name in COUNTS)
    if asked.report.counted:
        assert metrics.completion_tokens == usage["completion_tokens"]  # type: ignore[index]
        assert metrics.prompt_tokens == usage["prompt_tokens"]  # type: ignore[index]


def test_log_probabilities_come_with_each_token_or_are_unknown(served: Served) -> None:
    tokens = served.ask(top_logprobs=3).tokens
    if served.software.name not in TELLS_LOGPROBS:
        assert all(math.isnan(token.logprob) for token in tokens)
        return
    told = [token for token in tokens if not math.isnan(token.logprob)]
    assert len(told) >= len(tokens) - 1
    assert all(token.logprob <= 0 for token in told)
    assert any(len(token.top_logprobs) >= 2 for token in told)


def test_the_same_seed_gives_the_same_answer(served: Served) -> None:
    texts = [served.ask(temperature=1.5, seed=seed, max_tokens=16).text for seed in (1, 1, 2, 3)]
    assert texts[0] == texts[1]
    assert len(set(texts)) > 1


def test_a_stop_string_ends_the_answer_before_it(served: Served) -> None:
    whole = served.ask(max_tokens=40).text
    word = whole.split()[4]
    asked = served.ask(max_tokens=40, stop=(word,))
    assert whole.startswith(asked.text)
    assert word not in asked.text
    assert asked.finished.finish_reason == "stop"


def test_a_repeated_prefix_is_told_of_by_those_who_keep_it(served: Served) -> None:
    served.ask("First?", system=LONG, max_tokens=2)
    report = served.ask("Second?", system=LONG, max_tokens=2).report
    if served.software.name in TELLS_KEPT:
        assert report.cached_tokens is not None
        assert report.cached_tokens >= 128
        assert report.counts_from == TELLS_KEPT[served.software.name]
    else:
        assert report.cached_tokens is None


def test_an_answer_holds_to_a_schema_or_is_refused(served: Served) -> None:
    schema = {
        "type": "object",
        "properties": {"colour": {"enum": ["blue", "green"]}},
        "required": ["colour"],
        "additionalProperties": False,
    }
    asked = served.ask("Name a colour.", max_tokens=40, json_schema=json.dumps(schema))
    if served.software.name in HOLDS_SCHEMAS:
        assert json.loads(asked.text)["colour"] in ("blue", "green")
    else:
        assert "json_schema" in asked.failed.error


def test_a_run_alone_and_one_in_company_are_told_apart(served: Served) -> None:
    if served.software.name != "vLLM":
        pytest.skip("whose counters are not read for a run")
    assert served.ask(LONG[:200], max_tokens=4).report.shared in (False, None)
    other = Thread(target=lambda: served.ask(ENDLESS, max_tokens=100))
    other.start()
    asked = served.ask(ENDLESS, system="Be quick.", max_tokens=200)
    other.join()
    assert asked.report.shared in (True, None)


def test_stopping_ends_the_work_at_the_server(served: Served) -> None:
    with closing(served.engine.generate(served.request(ENDLESS, max_tokens=1500))) as run:
        for event in run:
            if isinstance(event, TokenEvent):
                break
        if served.running:
            served.server.wait_for(served.running, 1.0)
    if served.running:
        served.server.wait_for(served.running, 0.0)
    assert served.ask(max_tokens=2).finished


def test_a_model_that_the_server_lacks_is_told(served: Served) -> None:
    if served.software.name in ("llama-server", "llama-cpp-python"):
        pytest.skip("it answers with the one model that it has, whatever it is asked for")
    found = probe(replace(served.model, served_name="no-such-model"))
    assert not found.can_be_used
    assert any("no-such-model" in problem for problem in found.problems)


def test_a_prompt_that_is_too_long_fails_in_words(served: Served) -> None:
    if served.software is LLAMA_CPP_PYTHON:
        pytest.skip("it cuts the connection then, and that of the next request")
    assert served.ask(LONG * 14, max_tokens=8).failed.error
    assert served.ask(max_tokens=2).finished


def test_the_context_is_told_where_the_server_tells_it(served: Served) -> None:
    found = probe(served.model)
    if served.software.name in ("vLLM", "llama-server"):
        assert found.context_length
    assert SERVED in found.models or served.software.url
