"""Patterns and schemas that somebody brought: each is read and tried in bounded time, or refused in words."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from engine.errors import NotJudgedError
from engine.evaluation import Task, check
from engine.evaluation.expected import expected_of

SENTENCE = r"^(\w+\s?)+\.$"
WORDS = "one two three four five six seven eight"


def task(checker: str, expected: Any) -> Task:
    return Task(id="t", category="c", prompt="?", checker=checker, expected=expected, max_tokens=8)


def schema(**schema: Any) -> Task:
    return task("schema", {"schema": schema})


def test_a_pattern_that_tries_without_end_ends_in_words() -> None:
    sentences = task("regex", {"pattern": SENTENCE})
    assert check(sentences, f"{WORDS}.")
    assert check(sentences, f"{WORDS * 5}.")
    with pytest.raises(NotJudgedError, match="the pattern took longer than 2 s and was stopped"):
        check(sentences, f"{WORDS * 5}!")
    assert not check(sentences, "No!")


def test_others_are_judged_while_a_pattern_tries_without_end() -> None:
    def slow() -> None:
        with pytest.raises(NotJudgedError):
            check(task("regex", {"pattern": SENTENCE}), f"{WORDS * 5}!")

    thread = threading.Thread(target=slow)
    thread.start()
    judged = 0
    while thread.is_alive():
        assert check(task("regex", {"pattern": "^a"}), "ab")
        judged += 1
    assert judged > 1


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        (schema(items={"pattern": SENTENCE}), [f"{WORDS * 5}!"]),
        (schema(patternProperties={SENTENCE: {}}), {f"{WORDS * 5}!": 1}),
        (schema(**{"$ref": "#"}), {}),
        (schema(**{"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}), []),
        (schema(**{"$ref": "https://harbour.example/schema.json"}), {}),
        (schema(**{"$ref": "#/$defs/none"}), {}),
        (schema(items={"pattern": "("}), ["a"]),
        (schema(uniqueItems=True), [{"a": i} for i in range(20_000)]),
    ],
)
def test_a_schema_that_works_without_end_or_fails_ends_in_words(given: Task, answer: Any) -> None:
    with pytest.raises(NotJudgedError, match=r"^the JSON schema "):
        check(given, json.dumps(answer))


@pytest.mark.parametrize(
    ("given", "answer", "right"),
    [
        (schema(minItems=10**9), [1], False),
        (schema(enum=[[i] for i in range(50_000)]), [49_999], True),
        (schema(enum=[[i] for i in range(50_000)]), [50_000], False),
        (schema(uniqueItems=True), [1, 1], False),
        (schema(items={"format": "date"}), ["no date"], True),  # formats are not checked, as ever
    ],
)
def test_large_numbers_in_a_schema_are_no_work(given: Task, answer: Any, right: bool) -> None:
    assert check(given, json.dumps(answer)) is right


def test_an_answer_nested_too_deep_is_not_valid() -> None:
    assert check(schema(), "[" * 60 + "]" * 60)
    assert not check(schema(), "[" * 600 + "]" * 600)


@pytest.mark.parametrize(
    ("checker", "expected", "why"),
    [
        ("regex", {"pattern": "("}, r"the pattern cannot be read: missing \), unterminated subpattern"),
        ("regex", {"pattern": 7}, "the pattern is no text"),
        ("regex", {"pattern": "(" * 4000 + ")" * 4000}, "the pattern cannot be read: it goes too deep into itself"),
        ("regex", {"pattern": "a" * 10**6}, "the pattern is longer than 10,000 characters"),
        ("regex", {"pattern": "a{99999999999999}"}, "the pattern cannot be read: the repetition number is too large"),
        ("schema", {"schema": {"type": "nothing"}}, "the JSON schema is not valid: 'nothing' is not valid"),
        ("schema", {"schema": {"items": {"pattern": "("}}}, r"the JSON schema is not valid: '\(' is not a 'regex'"),
        ("schema", {"schema": {"$ref": "#"}, "example": {}}, "the example cannot be judged: the JSON schema goes too"),
        ("schema", {"schema": {"type": "array"}, "example": {}}, "the example fails"),
    ],
)
def test_what_cannot_be_read_is_refused_in_words(checker: str, expected: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        expected_of(checker, expected)


def test_a_pattern_of_nested_counts_can_be_read_and_ends_when_tried() -> None:
    bomb = expected_of("regex", {"pattern": "(a{1,1000}){1,1000}$"})
    with pytest.raises(NotJudgedError, match="took longer"):
        check(task("regex", bomb), "a" * 5000 + "!")


def test_a_schema_of_any_depth_is_refused_in_words() -> None:
    schema: dict[str, Any] = {}
    for _ in range(500):
        schema = {"not": schema}
    with pytest.raises(ValueError, match="the JSON schema is nested more than 64 levels deep"):
        expected_of("schema", {"schema": schema})
    text = '{"schema": ' + '{"not": ' * 5000 + "1" + "}" * 5001
    with pytest.raises(ValueError, match="what schema expects is no JSON"):
        expected_of("schema", text)
