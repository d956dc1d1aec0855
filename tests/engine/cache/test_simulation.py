"""A log of requests against budgets, without a model."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.cache.simulation import read_log, simulate
from engine.errors import InvalidRequestError

CHAT = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is the capital of France?"},
        {"role": "assistant", "content": "Paris."},
        {"role": "user", "content": "And of Spain?"},
    ]
}
OTHER = {"history": [{"user": "Hi", "bot": "Hello."}, {"user": "Bye", "bot": "Goodbye."}]}


def log(*entries: dict[str, Any]) -> str:
    return "\n".join(map(json.dumps, entries)) + "\n\n"


def hit_rate(text: str, budget_bytes: int = 10**9) -> float:
    (result,) = simulate(read_log(text), [budget_bytes], 10)
    return result.hit_rate


def test_each_user_turn_is_a_request_that_begins_with_all_before_it() -> None:
    first, second = read_log(log(CHAT))
    assert second.prompt[: len(first.prompt)].tolist() == first.prompt.tolist()
    assert second.prompt[len(first.prompt) :][: len(first.answer)].tolist() == first.answer.tolist()
    assert len(second.answer) == 0


def test_a_chat_reuses_its_own_history_and_nothing_at_a_budget_of_nothing() -> None:
    first, second = read_log(log(CHAT))
    kept = len(first.prompt) + len(first.answer)
    assert hit_rate(log(CHAT)) == pytest.approx(kept / (len(first.prompt) + len(second.prompt)))
    assert hit_rate(log(CHAT), 0) == 0


def test_sessions_do_not_share_and_one_session_does() -> None:
    alone = hit_rate(log(CHAT))
    assert hit_rate(log(CHAT, CHAT)) == pytest.approx(alone)
    same = {**CHAT, "session": "s"}
    assert hit_rate(log(same, same)) > alone


def test_conversations_without_a_time_take_turns_and_push_each_other_out() -> None:
    requests = read_log(log(CHAT, OTHER))
    assert [request.session for request in requests] == ["line 1", "line 2", "line 1", "line 2"]
    first = requests[0]
    room_for_one = 10 * (len(first.prompt) + len(first.answer))
    (small,) = simulate(requests, [room_for_one], 10)
    assert small.hit_rate < hit_rate(log(CHAT, OTHER))
    assert small.evictions > 0


def test_of_conversations_without_a_time_so_many_are_held_at_once() -> None:
    one_by_one = [request.session for request in read_log(log(CHAT, OTHER, OTHER), at_once=1)]
    assert one_by_one == ["line 1", "line 1", "line 2", "line 2", "line 3", "line 3"]
    two = [request.session for request in read_log(log(CHAT, OTHER, OTHER), at_once=2)]
    assert two == ["line 1", "line 2", "line 1", "line 2", "line 3", "line 3"]


def test_times_order_a_trace_and_its_blocks_are_shared() -> None:
    early, late = ({"timestamp": at, "hash_ids": ids} for at, ids in ((0, [1, 2, 3]), (5, [1, 2, 9])))
    requests = read_log(log(late, early))
    assert [request.at for request in requests] == [0, 5]
    (result,) = simulate(requests, [10**9], 10)
    assert result.hit_rate == pytest.approx(2 / 6)


def test_a_larger_budget_never_reuses_less_on_a_chat_log() -> None:
    requests = read_log(log(*[CHAT, OTHER] * 4))
    rates = [result.hit_rate for result in simulate(requests, range(0, 3000, 300), 10)]
    assert rates == sorted(rates)
    assert rates[-1] > rates[0] == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n \n",
        "no json",
        '{"a": 1}',
        '{"messages": 3}',
        '{"messages": [{"role": "user"}]}',
        "[1]",
        "\x00\x01",
        "[" * 100_000,
        '{"messages": [], "time": NaN}',
        '{"messages": [], "time": ' + "9" * 400 + "}",
        '{"messages": [], "time": "1e999"}',
        '{"hash_ids": [1], "timestamp": "nan"}',
    ],
)
def test_what_is_no_log_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"Line 1|no requests"):
        read_log(text)


def test_logs_as_other_tools_write_them_are_read() -> None:
    odd = json.dumps({"history": [{"user": "one\u2028two\u0085", "bot": "three\x0b"}]}, ensure_ascii=False)
    assert len(read_log(f"{odd}\r\n\r\n{json.dumps(CHAT)}\r\n")) == 3


def test_progress_goes_from_nothing_to_all() -> None:
    told: list[float] = []
    simulate(read_log(log(CHAT, OTHER)), [100, 1000], 10, told.append)
    assert told == sorted(told)
    assert told[-1] == 1
