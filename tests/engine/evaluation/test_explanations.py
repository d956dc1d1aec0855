"""Why an answer is right or wrong, in words."""

from __future__ import annotations

from typing import Any

import pytest

from engine.evaluation import Task, check, expected_words, explain_check, load_tasks
from engine.evaluation.tasks import MIXED_FILE
from tests.support.evaluation import needs_sandbox

OPTIONS = {"options": ["ant", "bee"], "answer": "B"}


def task(checker: str | None, expected: Any = None) -> Task:
    return Task(id="t", category="c", prompt="?", checker=checker, expected=expected, max_tokens=8)


@pytest.mark.parametrize(
    ("checker", "expected", "text", "says"),
    [
        ("number", 42, "40, no, 41.", "the last number is 41, expected 42"),
        ("number", 42, "It is 42.", "the last number is 42, as expected"),
        ("number", 1234.5, "none", "there is no number in it, expected 1234.5"),
        ("exact", "yes", "Yes, it is", "the whole answer must be “yes”, and is “Yes, it is”"),
        ("exact", ["yes", "ja"], "Ja.", "the whole answer is what was expected"),
        ("contains", ["Paris", "Lutetia"], "Parisian", "it does not say “Paris” or “Lutetia” as words of their own"),
        ("contains", ["Paris", "Lutetia"], "It is Lutetia.", "“Lutetia” stands in it"),
        ("choice", OPTIONS, "A", "it picks A (ant), expected B (bee)"),
        ("choice", OPTIONS, "B", "it picks B (bee), as expected"),
        ("choice", OPTIONS, "An ant or a bee", "it picks none of the 2 options, or several; expected B (bee)"),
        ("regex", {"pattern": "^yes"}, "no", "the pattern ^yes is not found in it"),
        ("json", {"a": 1}, "no", 'there is no JSON in it, expected {"a": 1}'),
        ("json", {"a": 1}, '{"a": 2}', 'the first JSON in it is {"a": 2}, expected {"a": 1}'),
        ("schema", {"schema": {"type": "object"}}, "[1]", "the first JSON in it, [1], is not valid by the schema"),
        (None, None, "Aye!", "the prompt has no checker"),
    ],
)
def test_a_reason_says_what_was_found_and_what_was_expected(
    checker: str | None, expected: Any, text: str, says: str
) -> None:
    assert explain_check(task(checker, expected), text) == says


@needs_sandbox
def test_code_says_what_became_of_its_tests() -> None:
    half = task("code", {"tests": "assert half(4) == 2", "entry": "half"})
    assert explain_check(half, "def half(n):\n    return n / 2") == "half passes its tests"
    assert explain_check(half, "def half(n):\n    return n").startswith("half does not pass its tests: ")


def test_what_cannot_be_judged_says_so() -> None:
    endless = task("regex", {"pattern": r"^(\w+\s?)+!$"})
    assert explain_check(endless, "word " * 40).startswith("it cannot be judged: the pattern")


def test_every_task_that_comes_along_has_expected_words_and_a_reason_that_agrees_with_its_checker() -> None:
    wrong = ("expected", "none", "not", "must be")
    for each in load_tasks(MIXED_FILE):
        assert expected_words(each)
        if each.checker not in ("code", "schema"):
            reason = explain_check(each, "Purple monkeys, 987654.")
            assert any(word in reason for word in wrong) is not check(each, "Purple monkeys, 987654."), reason
