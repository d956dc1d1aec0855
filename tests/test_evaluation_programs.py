"""The code of an answer, whether it repeats what it was to continue or not."""

from __future__ import annotations

from typing import Any

import pytest

from engine.evaluation.programs import program

START = '''import math


def helper(n):
    return n + 1


def area(r):
    """The area of a circle. area(0) is 0."""
'''
BODY = """    if r < 0:
        return None
    return math.pi * helper(r - 1) ** 2"""


def defined(code: str) -> Any:
    names: dict[str, Any] = {}
    exec(code, names)
    return names["area"]


@pytest.mark.parametrize(
    "answer",
    [
        BODY,
        BODY.lstrip(),
        "\n".join(line[4:] for line in BODY.split("\n")),
        f"```python\n{BODY}\n```",
        f"```python\n{START}{BODY}\n```\nIt uses pi.",
        f"{START}{BODY}\n\nThis is the whole function, isn't it?",
        f"def area(r):\n{BODY}",
        f"Here:\n\n```\ndef area(r):\n{BODY}\n",
        f"```python\n    def area(r):\n{''.join('    ' + line + chr(10) for line in BODY.splitlines())}```",
        f"{BODY}\n\nprint(area(",
    ],
)
def test_any_form_of_a_right_answer_runs(answer: str) -> None:
    area = defined(program(answer, "area", START))
    assert area(-1) is None
    assert round(area(2), 3) == 12.566


def test_a_nested_body_keeps_its_levels() -> None:
    body = "for i in range(3):\n        for j in range(3):\n            r += 1\n    return r"
    assert defined(program(body, "area", START))(0) == 9


def test_the_first_block_counts() -> None:
    text = "```python\ndef f():\n    return 1\n```\nor\n```python\ndef f():\n    return 2\n```"
    assert program(text, "f") == "def f():\n    return 1"


def test_without_a_start_text_is_code_as_far_as_it_is_python() -> None:
    assert program("def f():\n    return 1\n\nThat is it!", "f").strip() == "def f():\n    return 1"
    assert program("I do not know.", "f") == ""
