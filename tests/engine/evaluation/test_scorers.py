"""Checkers forgive form and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import NotJudgedError
from engine.evaluation.programs import forms
from engine.evaluation.scorers import CHECKERS, choice, code, contains, exact, json_equal, number, regex, schema
from tests.support.evaluation import needs_sandbox

ANIMALS = {"options": ["ant", "bee", "sea cow", "beetle"], "answer": "B"}
MOODS = {"options": ["positive", "negative"], "answer": "A"}


@pytest.mark.parametrize(
    ("text", "expected", "right"),
    [
        ("Japan", "Japan", True),
        ("  japan.\n", "Japan", True),
        ("**Japan**", "Japan", True),
        ('"Blue  lantern"', "blue lantern", True),
        ("the pine", ["pine", "the pine"], True),
        ("It is Japan", "Japan", False),
        ("Japanese", "Japan", False),
        ("", "Japan", False),
        ("「北京」。", "北京", True),
        ("¡París!", "parís", True),
        ("cafe\u0301", "café", True),
        ("दिल्ली।", "दिल्ली", True),
        ("北京市", "北京", False),
    ],
)
def test_exact(text: str, expected: Any, right: bool) -> None:
    assert exact(text, expected) is right


@pytest.mark.parametrize(
    ("text", "expected", "right"),
    [
        ("42", 42, True),
        ("4 boxes of 6 make 24.", 24, True),
        ("= 1,234.50 euros", 1234.5, True),
        ("12'000", 12000, True),
        ("10\u202f000", 10000, True),
        ("−7", -7, True),
        ("between 3-4", 4, True),
        ("between 3-4", -4, False),
        (".5", 0.5, True),
        ("$9", 9, True),
        ("20%", 20, True),
        ("1, 2, 3", 3, True),
        ("1,2,3", 3, True),
        ("2e3", 2000, True),
        ("24 eggs, that is 2 dozen", 24, False),
        ("421", 42, False),
        ("42.0001", 42, False),
        ("forty-two", 42, False),
        ("", 0, False),
    ],
)
def test_number(text: str, expected: float, right: bool) -> None:
    assert number(text, expected) is right


@given(st.integers(-(10**12), 10**12), st.sampled_from(["{}", "{:,}", "It is {:,}.", "**{}**", "x = {}\n"]))
def test_number_reads_every_integer_however_set(value: int, form: str) -> None:
    assert number(form.format(value), value)
    assert not number(form.format(value), value + 1)


@given(st.decimals(min_value=-10_000, max_value=10_000, places=3))
def test_number_reads_decimals(value: Any) -> None:
    assert number(f"So the answer is {value:,}.", float(value))


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("B", True),
        ("b", True),
        ("B)", True),
        ("(B) bee", True),
        ("**B**", True),
        ("B. The bee makes honey.", True),
        ("Answer: B", True),
        ("The answer is B.", True),
        ("bee", True),
        ("It is the bee.", True),
        ("Option B", True),
        ("A", False),
        ("C) sea cow", False),
        ("A bee", True),  # the article, not the letter
        ("the ant or the bee", False),
        ("beetle", False),  # not a bee
        ("E", False),
        ("", False),
    ],
)
def test_choice(text: str, right: bool) -> None:
    assert choice(text, ANIMALS) is right


@pytest.mark.parametrize(
    ("text", "right"), [("Positive.", True), ("negative", False), ("positive or negative", False), ("a", True)]
)
def test_choice_between_words(text: str, right: bool) -> None:
    assert choice(text, MOODS) is right


@pytest.mark.parametrize(
    ("text", "expected", "right"),
    [
        ("The capital of France is Paris.", "Paris", True),
        ("PARIS", "paris", True),
        ("a thigh\nbone", ["femur", "thigh bone"], True),
        ("Parisian", "Paris", False),
        ("unseen", "un", False),
        ("C is not C++", "C++", True),
        ("C++11 is a standard", "C++", True),
        ("It costs US$5.", "$5", True),
        ("It costs $50.", "$5", False),
        ("between 3-5", "-5", False),
        ("it is -5", "-5", True),
        ("snake_case", "snake", False),
        ("", "x", False),
        # scripts without spaces have no borders
        ("答案是北京。", "北京", True),
        ("答案是Paris。", "Paris", True),
        ("2024年的冠军", "2024", True),
        ("答案是上海。", "北京", False),
        ("首都は東京です", "東京", True),
        ("カフェはパリにある", "パリ", True),
        ("เมืองหลวงคือกรุงเทพมหานคร", "กรุงเทพ", True),
        ("ນະຄອນຫຼວງວຽງຈັນແມ່ນ", "ວຽງຈັນ", True),
        ("រាជធានីភ្នំពេញជា", "ភ្នំពេញ", True),
        ("မြို့တော်နေပြည်တော်ဖြစ်သည်", "နေပြည်တော်", True),
        # a vowel sign or a tone mark is part of its letter
        ("กา กิน", "กน", False),
        ("ที่", "ท", False),
        # Korean sets words apart, and puts particles after them
        ("수도는 서울입니다", "서울", True),
        ("Paris는 수도", "Paris", True),
        ("5개", "5", True),
        ("남서울에 있다", "서울", False),
        # accents, whether of one character or two
        ("le cafe\u0301 noir", "café", True),
        ("le café noir", "cafe\u0301", True),
        ("le cafe\u0301 noir", "cafe", False),
        # other scripts with spaces
        ("Это Москва.", "москва", True),
        ("Московский", "моск", False),
        ("राजधानी दिल्ली है", "दिल्ली", True),
        ("राजधानी दिल्ली है", "दिल", False),
        ("العاصمة هي القاهرة.", "القاهرة", True),
        ("η Αθήνα είναι", "Αθήνα", True),
    ],
)
def test_contains(text: str, expected: Any, right: bool) -> None:
    assert contains(text, expected) is right


CITIES = {"options": ["南京", "北京", "北京大学"], "answer": "B"}


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("B", True),
        ("B。", True),
        ("（B）北京", True),
        ("答案是B。", True),
        ("答案：B", True),
        ("答案是北京。", True),
        ("正解はBです", True),
        ("정답은 B입니다", True),
        ("北京大学", False),
        ("南京和北京", False),
        ("C、北京大学", False),
    ],
)
def test_choice_in_scripts_without_spaces(text: str, right: bool) -> None:
    assert choice(text, CITIES) is right


def test_an_option_inside_a_longer_one_is_not_named_by_it() -> None:
    cows = {"options": ["cow", "sea cow"], "answer": "B"}
    assert choice("It is the sea cow.", cows)
    assert not choice("The cow and the sea cow.", cows)


HOSTILE = (
    *("```", "```\n", "``` x\n", " ", "\n", "\r\n", "1", "1,", "1.", "1,111", "[", "{", '{"a":', "[1,", '["', '{"'),
    *("[1]x", "(", "a", "a ", "-", '"', "answer ", "answer is ", "選B", "A ", "_", "def f", "@a\n", "if x:\n"),
    *("    x\n", "x = \\\n", "e\u0301", "北", "서", "\\", "lambda:", "not "),
)


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("unit", HOSTILE)
def test_a_megabyte_of_anything_gets_a_verdict_in_bounded_time(unit: str) -> None:
    text = unit * (10**6 // len(unit))
    for answer in (text, text + "x", "x" + text):
        assert exact(answer, "x y") is False
        number(answer, 10**400)
        number(answer, 1.5)
        assert choice(answer, ANIMALS) in (True, False)
        assert contains(answer, [unit.strip() or "x", "x y"]) in (True, False)
        assert json_equal(answer, [0]) is False
        assert schema(answer, {"schema": False}) is False
        forms(answer, "f")
        forms(answer, "f", "def f(x):\n    # Doubles it.\n")


@pytest.mark.parametrize("depth", [65, 500, 900, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_json_of_any_depth_is_no_json(opening: str, closing: str, depth: int) -> None:
    text = f"Here: {opening * depth}1{closing * depth}"
    assert json_equal(text, [1]) is False
    assert schema(text, {"schema": {"$ref": "#"}}) is False
    assert schema(text, {"schema": True}) is False


@pytest.mark.parametrize("number_", ["NaN", "1e999", "9" * 400, "9" * 5000])
def test_json_with_numbers_that_are_none_is_no_json(number_: str) -> None:
    assert schema(f"[{number_}]", {"schema": True}) is False


def test_json_is_found_after_many_brackets() -> None:
    assert json_equal("f(x) = {x}, [y] and [1 of 2], " * 200 + '{"a": 1}', {"a": 1})


def test_regex_looks_at_the_answer_without_its_margins() -> None:
    assert regex("  RIVER\n", {"pattern": r"\ARIVER\Z"})
    assert not regex("river", {"pattern": "RIVER"})


@pytest.mark.parametrize(
    ("text", "expected", "right"),
    [
        ('{"age": 36, "name": "ada "}', {"name": "Ada", "age": 36}, True),
        ('```json\n{"age": 36.0}\n```', {"age": 36}, True),
        ('Here it is: {"a": [1, 2]} as you asked', {"a": [1, 2]}, True),
        ("use {braces}: [1]", [1], True),
        ("[1, 2", [1, 2], False),
        ('{"a": true}', {"a": 1}, False),
        ('{"a": 1}', {"a": True}, False),
        ('{"a": "1"}', {"a": 1}, False),
        ('{"a": 1, "b": 2}', {"a": 1}, False),
        ("[2, 1]", [1, 2], False),
        ('{"a": null}', {"a": None}, True),
        ('{"a": 1} {"a": 2}', {"a": 2}, False),
        ("[" * 3000, [1], False),
        ("none", {}, False),
    ],
)
def test_json(text: str, expected: Any, right: bool) -> None:
    assert json_equal(text, expected) is right


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(JSON, st.sampled_from(["{}", "```json\n{}\n```", "Sure: {} there."]))
def test_json_equals_itself_however_wrapped(value: Any, form: str) -> None:
    value = [value]
    assert json_equal(form.replace("{}", json.dumps(value, indent=1)), value)
    assert not json_equal(form.replace("{}", json.dumps([*value, 0])), value)


PERSON = {
    "schema": {
        "type": "object",
        "properties": {"name": {"type": "string", "pattern": "^[A-Z]"}, "age": {"type": "integer", "minimum": 18}},
        "required": ["name", "age"],
        "additionalProperties": False,
    },
    "example": {"name": "Ada", "age": 36},
}


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ('{"name": "Ada", "age": 36}', True),
        ('Here:\n```json\n{"age": 18.0, "name": "Bo"}\n```', True),
        ('{"name": "ada", "age": 36}', False),
        ('{"name": "Ada", "age": 17}', False),
        ('{"name": "Ada", "age": "36"}', False),
        ('{"name": "Ada"}', False),
        ('{"name": "Ada", "age": 36, "town": "Ely"}', False),
        ('[{"name": "Ada", "age": 36}]', False),
        ('{"name": "Ada", "age": 36', False),
        ("Ada, 36", False),
    ],
)
def test_schema(text: str, right: bool) -> None:
    assert schema(text, PERSON) is right


def test_no_schema_is_fetched_from_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(*_: Any, **__: Any) -> None:
        pytest.fail("a schema was asked for over the network")

    monkeypatch.setattr("urllib.request.urlopen", fetch)
    with pytest.raises(NotJudgedError, match=r"Unresolvable: https://harbour\.example"):
        schema("[1]", {"schema": {"$ref": "https://harbour.example/schema.json"}})


DOUBLE = {"tests": "assert double(4) == 8\nassert double(0) == 0", "entry": "double"}


@needs_sandbox
@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("def double(n):\n    return 2 * n", True),
        ("Sure:\n```python\ndef double(n):\n    return n + n\n```\nIt adds n to itself.", True),
        ("```\ndouble = lambda n: n * 2\n```", True),
        ("```python\ndef double(n):\n    return n * n\n```", False),
        ("```python\ndef twice(n):\n    return 2 * n\n```", False),
        ("def double(n):\n    return 2 *", False),
        ("I cannot write code.", False),
        ("", False),
    ],
)
def test_code(text: str, right: bool) -> None:
    assert code(text, DOUBLE) is right


@needs_sandbox
@given(st.text(max_size=60), st.sampled_from(sorted(CHECKERS)))
def test_any_text_gets_a_verdict(text: str, name: str) -> None:
    expected = {
        "exact": "x", "number": 1.5, "choice": ANIMALS, "contains": "x", "regex": {"pattern": "x"}, "json": {"a": 1},
        "schema": PERSON, "code": DOUBLE,
    }[name]  # fmt: skip
    assert CHECKERS[name](text, expected) in (True, False)
