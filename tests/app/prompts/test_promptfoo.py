"""promptfoo's tests as prompts: filled in, and checked as their assertions say, as far as a checker here can."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.prompts.columns import convert, guess
from app.prompts.files import read_prompt_file
from app.prompts.gathering import Brought
from app.prompts.promptfoo.assertions import Check, check_of
from app.prompts.promptfoo.filling import MOST_FILLED, Filler
from app.prompts.tables import LONGEST_PROMPT, MOST_PROMPTS
from engine import JUDGED, Task, check
from engine.errors import InvalidRequestError

CONFIG = """\
description: Capitals
prompts:
  - 'Capital of {{country}}?'
  - file://prompt2.txt
  - id: polite
    raw: 'Please name the capital of {{ country }}.'
providers: [openai:gpt-4.1]
defaultTest:
  assert:
    - {type: latency, threshold: 900}
tests:
  - description: France
    vars: {country: France}
    assert:
      - {type: icontains, value: paris}
      - {type: not-contains, value: London}
  - vars: {country: [Spain, 'the Netherlands']}
    metadata: {category: Europe}
    assert:
      - type: javascript
        value: output.length < 99
  - vars: {land: Italy}
  - file://more.yaml
"""


def brought(name: str, text: str) -> Brought:
    table = read_prompt_file(name, text.encode())
    return convert(table, guess(table))


def test_prompts_are_filled_in_with_each_test_and_each_value() -> None:
    found = brought("promptfooconfig.yaml", CONFIG)
    assert [(task.id, task.prompt) for task in found.tasks] == [
        ("France.1", "Capital of France?"),
        ("France.2", "Please name the capital of France."),
        ("test 2.1", "Capital of Spain?"),
        ("test 2.2", "Please name the capital of Spain."),
        ("test 2.3", "Capital of the Netherlands?"),
        ("test 2.4", "Please name the capital of the Netherlands."),
    ]
    assert [task.category for task in found.tasks] == ["promptfoo"] * 2 + ["Europe"] * 4
    first, *_, last = found.tasks
    assert check(first, "It is PARIS.")
    assert not check(first, "Paris, not London")
    assert last.checker is None
    assert [str(row) for row in found.left_out] == [
        "test 3 gives its prompt no variable “country”", "test 4 lies in another file, or is no test",
    ]  # fmt: skip
    assert found.notes == (
        "Prompts that lie in other files and are left out: 1.",
        "Assertions of promptfoo that no checker here holds, and which are left out: latency (2), javascript (1).",
    )


@pytest.mark.parametrize(
    ("assertions", "right", "wrong"),
    [
        ([("equals", "Yes")], "yes.", "Yes it is"),
        ([("equals", 4)], "4", "14"),
        ([("equals", {"a": 1})], 'So: {"a": 1}', '{"a": 2}'),
        ([("contains", "C++ (fast)")], "In C++ (fast) it is", "in c++ (fast)"),
        ([("icontains-any", ["Ja", "Oui"])], "oui", "non"),
        ([("contains-all", ["a.", "b"])], "b\nthen a.", "ab"),
        ([("icontains-all", ["A", "B"])], "ba", "a"),
        ([("starts-with", "Dear")], "Dear you", "My dear"),
        ([("regex", r"\d{3}")], "x 123", "x 12"),
        ([("contains", "a"), ("regex", "^b"), ("not-icontains", "C")], "b\na", "ba c"),
        ([("is-json", {"type": "object", "required": ["a"]})], '{"a": 1}', '{"b": 1}'),
        ([("contains-json", None)], "so [1]", "so"),
    ],
)
def test_assertions_hold_what_they_hold_in_promptfoo(assertions: list[Any], right: str, wrong: str) -> None:
    found = check_of([{"type": type, "value": value} for type, value in assertions])
    assert found.dropped == ()
    task = Task(id="a", category="", prompt="?", checker=found.checker, expected=found.expected, max_tokens=8)
    assert check(task, right)
    assert not check(task, wrong)


def test_what_has_no_checker_or_none_beside_the_others_is_named() -> None:
    rubric = {"type": "llm-rubric", "value": "is kind"}
    assert check_of([rubric]) == Check(None, None, ("llm-rubric",))
    assert check_of([rubric, {"type": "factuality", "value": "Paris"}]) == Check(JUDGED, "Paris", ("llm-rubric",))
    both = check_of([{"type": "is-json"}, {"type": "contains", "value": "a"}])
    assert (both.checker, both.dropped) == ("regex", ("is-json",))
    inside = [{"type": "assert-set", "assert": [{"type": "contains", "value": "a"}]}, {"type": "cost", "weight": 0}]
    assert check_of(inside) == Check("regex", {"pattern": "a"}, ())


@pytest.mark.parametrize("pattern", [r"(a)\1", r"(?P<x>a)(?P=x)", "(?i)aa", r"\\(?P<x>a)", r"(?(1)a|b)"])
def test_patterns_that_mean_something_else_beside_others_are_named(pattern: str) -> None:
    alone, other = {"type": "regex", "value": pattern}, {"type": "regex", "value": r"(?<!x)\\1(?:y)(?i:z)"}
    assert check_of([alone]) == Check("regex", {"pattern": pattern}, ())
    assert check_of([other, alone]) == Check("regex", {"pattern": other["value"]}, ("regex",))
    assert check_of([{**alone, "type": "not-regex"}]) == Check(None, None, ("not-regex",))


def test_a_list_of_tests_without_prompts_has_its_variables_as_columns() -> None:
    (task,) = brought("tests.yaml", "- vars: {question: 'Why?'}\n  assert: [{type: contains, value: so}]\n").tasks
    assert (task.prompt, task.checker) == ("Why?", "regex")


def test_a_sheet_with_assertions() -> None:
    found = brought(
        "a.csv",
        'question,__expected1,__expected2\n2+2?,equals: 4,\nHi?,"contains-any: a,b",cost(0.1): 3\nJ?,contains-json,\n',
    )
    assert [task.checker for task in found.tasks] == ["exact", "regex", "schema"]
    assert check(found.tasks[1], "b")
    assert "cost (1)" in found.notes[0]


def test_json_is_read_too_and_a_chat_s_messages_come_before_the_prompt() -> None:
    chat = json.dumps([{"role": "system", "content": "Be {{tone}}."}, {"role": "user", "content": "Hi"}])
    (task,) = brought("a.json", json.dumps({"prompts": [chat], "tests": [{"vars": {"tone": "kind"}}]})).tasks
    assert [(message.role, message.content) for message in task.messages] == [("system", "Be kind."), ("user", "Hi")]


def test_a_variable_breaks_no_chat_s_json() -> None:
    chat = json.dumps([{"role": "system", "content": "Be kind."}, {"role": "user", "content": "{{ask}}"}])
    said = 'He said "hi"\nand left\\'
    (task,) = brought("a.json", json.dumps({"prompts": [chat], "tests": [{"vars": {"ask": said}}]})).tasks
    assert [(message.role, message.content) for message in task.messages] == [("system", "Be kind."), ("user", said)]


def test_variables_in_assertions_are_filled_in_for_each_value() -> None:
    config = """\
prompts: ['{{n}}+{{n}}?']
tests:
  - vars: {n: [1, 2], want: 'so'}
    assert: [{type: contains, value: '{{n}} and {{ want }}'}, {type: contains-any, value: ['{{n}}']}]
"""
    first, second = brought("a.yaml", config).tasks
    assert (check(first, "1 and so"), check(first, "2 and so")) == (True, False)
    assert (check(second, "1 and so"), check(second, "2 and so")) == (False, True)
    (row,) = brought("a.csv", 'question,want,__expected\n2+2?,4,"equals: {{want}}"\n').tasks
    assert (row.checker, row.expected) == ("exact", "4")


@pytest.mark.parametrize("value", ["file://x.txt", "{% if n %}1{% endif %}", "{{n | upper}}", "{{unknown}}"])
@pytest.mark.parametrize("type", ["contains", "is-json"])
def test_what_cannot_be_filled_in_is_no_expected_text(type: str, value: str) -> None:
    test = {"vars": {"n": "1"}, "assert": [{"type": type, "value": value}]}
    found = brought("a.json", json.dumps({"prompts": ["{{n}}?"], "tests": [test]}))
    assert [task.checker for task in found.tasks] == [None]
    assert f"{type} (1)" in found.notes[0]


def test_filling_ends_at_the_prompts_that_are_taken() -> None:
    many: dict[str, Any] = {f"v{n}": list(range(100)) for n in range(20)}
    found = read_prompt_file("a.json", json.dumps({"prompts": ["{{v0}} {{v19}}"], "tests": [{"vars": many}]}).encode())
    assert len(found.rows) == MOST_PROMPTS
    assert [str(each) for each in found.left_out] == ["test 1 has prompts beyond the first 5,000"]


def test_what_would_grow_too_long_is_not_filled_in() -> None:
    word = {"a": "x" * 2**20}
    found = brought("a.json", json.dumps({"prompts": ["{{a}}" * 1000], "tests": [{"vars": word}, {"vars": {"a": 1}}]}))
    assert [task.prompt for task in found.tasks] == ["1" * 1000]
    assert str(found.left_out[0]).startswith("test 1 has 1,048,576,000 characters when it is filled in")
    filler = Filler()
    longest = {"a": "x" * LONGEST_PROMPT}
    for _ in range(MOST_FILLED // (LONGEST_PROMPT + 69)):
        filler.text("{{a}}", longest)
    with pytest.raises(ValueError, match="beyond the first 128 MB"):
        filler.text("{{a}}", longest)


def test_no_test_has_assertions_without_end() -> None:
    with pytest.raises(ValueError, match="more than 100 assertions"):
        check_of([{"type": "assert-set", "assert": [{"type": "contains", "value": "a"}] * 101}])
    with pytest.raises(ValueError, match="more than 100 assertions"):
        check_of([{"type": "contains", "value": "a", "weight": 0}] * 101)


@pytest.mark.parametrize(
    "usual",
    [{"assert": [0] * 100_000}, {"vars": {"a": [1] * 100_000}}, {"vars": {"a": [[0] * 100_000]}},
     {"vars": {f"v{n}": n for n in range(100_000)}}],
)  # fmt: skip
def test_what_all_tests_share_is_not_gone_through_for_each_without_end(usual: dict[str, Any]) -> None:
    whole = {"prompts": ["{{b}}{{c}}"], "defaultTest": usual, "tests": [{"vars": {"b": 1}}] * 20_000}
    with pytest.raises(InvalidRequestError, match="no test that can be asked"):
        brought("a.json", json.dumps(whole))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [1, 2", "is no YAML that can be read: .* in line"),
        ("[" * 100_000, "nested more than 64 levels"),
        ("!!python/object/apply:os.system [ls]", "could not determine a constructor .* in line 1"),
        ("a: 1", "has no tests of promptfoo"),
        ("prompts: [file://a.txt]\ntests: [{vars: {a: 1}}]", "has no prompt in it"),
        ("prompts: ['{{a | upper}}']\ntests: [{vars: {a: 1}}]", "more than {{names}} in it"),
        ("? [a]\n: b", "no YAML|no tests"),
        ("x: \x01", "cannot be read"),
        ("a: &a {b: 1}\nc: {<<: [*a, *a]}", r"merge key \(<<\) in line 2 is not followed"),
        ("a: &a {b: 1}\nc: {!!merge 'x': *a}", "merge key"),
        ("a: 1" + ":59" * 200, "a number in line 1 is too long"),
        ("a: !!int '1" + ":59" * 200 + "'", "a number in line 1 is too long"),
    ],
)
def test_hostile_files_are_refused_in_words(text: str, says: str) -> None:
    with pytest.raises(InvalidRequestError, match=says):
        brought("a.yaml", text)


def test_references_to_references_are_not_followed_for_ever() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(InvalidRequestError, match="more than 1,000,000 values"):
        brought("a.yaml", "\n".join(lines))


KEYS = st.sampled_from(["vars", "assert", "type", "value", "tests", "prompts", "raw", "a"])
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=50)
@given(ANYTHING)
def test_no_shape_breaks_the_reading(tree: Any) -> None:
    for whole in ({"prompts": ["{{a}}"], "tests": [tree, {"vars": {"a": 1}}]}, {"tests": tree, "prompts": tree}):
        try:
            found = brought("a.yaml", json.dumps(whole))
        except InvalidRequestError:
            continue
        assert found.tasks or found.left_out
