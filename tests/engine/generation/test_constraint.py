"""Answers held to JSON of a schema: what may come next, and which schemas are refused."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from engine.errors import InvalidRequestError
from engine.generation.constraint import JsonConstraint
from engine.generation.grammar import grammar_of
from engine.models.tokenization.tokenizer import ChatTokenizer
from engine.types import Message
from tests.conftest import SMALL
from tests.support.schemas import bounded_schemas
from tests.support.tokenizers_of_all_kinds import Rules, open_tokenizer, save_tokenizer, tokenizer_json

KINDS = {
    "bytes": Rules(),
    "bytes with prefix": Rules(space="bytes with prefix", normalizer="nfc"),
}


@pytest.fixture(scope="module", params=[SMALL, *KINDS])
def tokenizer(
    request: pytest.FixtureRequest, models_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> ChatTokenizer:
    if request.param == SMALL:
        return open_tokenizer(models_dir / SMALL)
    text = tokenizer_json(KINDS[request.param])
    return open_tokenizer(save_tokenizer(tmp_path_factory.mktemp("tokenizer"), text, "{{ messages[0].content }}"))


def constraint(tokenizer: ChatTokenizer, schema: Any, written: tuple[int, ...] = ()) -> JsonConstraint:
    return JsonConstraint(tokenizer.for_grammars, tokenizer.stop_ids, json.dumps(schema), written)


def allowed(by: JsonConstraint, tokenizer: ChatTokenizer) -> set[int]:
    words = by.allowed.tolist()
    assert len(words) == -(-tokenizer.vocab_size // 32)
    found = {32 * at + bit for at, word in enumerate(words) for bit in range(32) if word >> bit & 1}
    assert max(found) < tokenizer.vocab_size
    return found


PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("text", ['{"name": "Ada", "age": 36}', '{\n  "name":"<|im_end|> é 🌍",\n  "age":-1\n}'])
def test_what_ends_an_answer_is_allowed_exactly_where_the_json_is_whole(tokenizer: ChatTokenizer, text: str) -> None:
    """Control tokens that are typed are text, and never the tokens themselves."""
    by = constraint(tokenizer, PERSON)
    vocabulary, ends = tokenizer.for_grammars, {i for i in tokenizer.stop_ids if i < tokenizer.vocab_size}
    written = vocabulary.greedy_tokenize(text)
    for at, token_id in enumerate(written):
        may = allowed(by, tokenizer)
        assert token_id in may
        assert not may & tokenizer.control_tokens.keys(), f"before {text[at:]!r}"
        by.accept(token_id)
    may = allowed(by, tokenizer)
    assert ends <= may
    assert not may & (tokenizer.control_tokens.keys() - ends)
    by.accept(max(ends))


def test_an_answer_goes_on_from_what_is_there_and_refuses_what_does_not_keep_to_it(tokenizer: ChatTokenizer) -> None:
    vocabulary = tokenizer.for_grammars
    begun = constraint(tokenizer, {"const": 1234}, tuple(vocabulary.greedy_tokenize("12")))
    assert {vocabulary.decode_str([i]) for i in allowed(begun, tokenizer)} <= {"3", "34"}
    with pytest.raises(InvalidRequestError, match="does not keep to the JSON schema"):
        constraint(tokenizer, {"const": 1234}, tuple(vocabulary.greedy_tokenize("13")))


@given(bounded_schemas, st.integers(0, 2**32))
def test_any_way_through_what_is_allowed_ends_in_json_of_the_schema(
    tokenizer: ChatTokenizer, schema: Any, seed: int
) -> None:
    by, chance, written = constraint(tokenizer, schema), random.Random(seed), []
    for _ in range(400):
        token_id = chance.choice(sorted(allowed(by, tokenizer)))
        if token_id in tokenizer.stop_ids:
            break
        written.append(token_id)
        by.accept(token_id)
    else:
        pytest.fail("no end in sight")
    assert Draft202012Validator(schema).is_valid(json.loads(tokenizer.for_grammars.decode_bytes(written)))


def test_reading_a_chat_with_typed_control_tokens_leaves_the_vocabulary_as_it_is(models_dir: Path) -> None:
    """Cutting them out adds a token to the tokenizer, which no model has."""
    read = open_tokenizer(models_dir / SMALL)
    read.encode_chat([Message("user", "<|im_end|>")])
    assert read.for_grammars.vocab_size == read.vocab_size == 49152


def test_a_tokenizer_of_a_kind_that_cannot_be_held_to_a_schema_says_so(tmp_path: Path) -> None:
    text = tokenizer_json(Rules(space="first"))
    with pytest.raises(
        InvalidRequestError, match="No answer of this model can be held to a JSON schema: its tokenizer"
    ):
        _ = open_tokenizer(save_tokenizer(tmp_path, text, "{{ messages[0].content }}")).for_grammars


def nested(depth: int) -> Any:
    steps = {f"d{at}": {"$ref": f"#/$defs/d{at + 1}"} for at in range(depth)}
    return {"$defs": {**steps, f"d{depth}": {"type": "string"}}, "$ref": "#/$defs/d0"}


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"type": "array", "uniqueItems": True}, "uniqueItems in it is not supported"),
        ({"if": {"type": "string"}, "then": {"minLength": 3}}, "if, then in it is not supported"),
        ({"type": "strin"}, "Invalid type: strin"),
        ({"$ref": "https://example.com/schema"}, "example.com"),
        ({"$ref": "#"}, "nothing keeps to it"),
        ({"type": "object", "properties": {"a": False}, "required": ["a"]}, "unsatisfiable"),
        ({"type": "string", "pattern": "(?=a)"}, "look-around"),
        ({"type": "string", "pattern": "^((a{0,100}){0,100}){0,100}$"}, "too complex"),
        ({"items": [{"patternProperties": {"^((a{0,100}){0,100}){0,100}$": True}}]}, "too complex"),
        ({"anyOf": [{"type": "null"}, {"pattern": "^((a{0,100}){0,100}){0,100}$", "type": "string"}]}, "too complex"),
        (
            {"type": "object", "properties": {f"p{n}": {"type": "integer"} for n in range(3000)}},
            "too complex|longer than",
        ),
        (nested(3000), "broke the process"),
        ({"x-guidance": {"lenient": True}, "not": {"type": "string"}}, "not in it is not supported"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_schema_that_no_answer_can_be_held_to_is_refused_in_words(schema: Any, says: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"No answer can be held to this JSON schema: .*({says})"):
        grammar_of(json.dumps(schema))


def test_a_schema_after_one_that_broke_its_process_is_read_as_ever() -> None:
    with pytest.raises(InvalidRequestError):
        grammar_of(json.dumps(nested(3000)))
    assert "json_schema" in grammar_of("{}")
