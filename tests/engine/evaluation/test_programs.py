"""The code of an answer, whether it repeats what it was to continue or not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.evaluation.programs import forms, helpers
from engine.evaluation.walled.answering import load, sound_beginning

START = '''import math


def helper(n):
    return n + 1


def area(r):
    """The area of a circle. area(0) is 0."""
'''
BODY = """    if r < 0:
        return None
    return math.pi * helper(r - 1) ** 2"""


def program(text: str, entry: str, start: str = "") -> str:
    """What the sandbox runs of an answer."""
    return max(map(sound_beginning, forms(text, entry, start)), key=lambda code: code.count("\n"))


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
    for area in (defined(program(answer, "area", START)), load(forms(answer, "area", START), "area", ())["area"]):
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


def test_the_helpers_of_a_start_are_what_comes_before_its_function() -> None:
    assert helpers("area", START).endswith("return n + 1")
    assert "area" not in helpers("area", START)


QUOTES = "'" * 3
LINES = [
    "import math", "def f(x):", "    return x", "    if x:", "        pass", "else:", "try:", "finally:", "x = (1,",
    "2)", "f'{x y}'", "return 5", "So that is it.", "", "  odd", "\tx", "@f", "class A:", "for i in x: pass", "x = [",
    "print(f(", "lambda: (yield)", "a = b = ", "\\", "'", "# done", "x: int = 3", f"    y = {QUOTES}", QUOTES, "]",
    "await f",
]  # fmt: skip


@given(st.lists(st.sampled_from(LINES), max_size=12))
def test_the_longest_sound_beginning_is_found_as_if_every_one_was_tried(lines: list[str]) -> None:
    sound = ""
    for end in range(len(lines), 0, -1):
        try:
            compile("\n".join(lines[:end]), "answer", "exec", dont_inherit=True)
        except SyntaxError:
            continue
        sound = "\n".join(lines[:end])
        break
    assert sound_beginning("\n".join(lines)) == sound


def test_a_long_answer_is_read_in_one_go() -> None:
    assert forms("\n" * 200_000 + "def f(): pass", "f", "def f():\n") == ("def f(): pass",)
    assert sound_beginning("def f(): pass\n" + "It is right.\n" * 5_000) == "def f(): pass"
