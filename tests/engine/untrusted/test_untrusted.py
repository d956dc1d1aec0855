"""Texts, JSON and line-based files from strangers."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import InvalidRequestError
from engine.untrusted import MAX_DEPTH, decode_text, parse_json, read_jsonl, valid_text

ANY_CHARACTER = st.characters(codec=None)  # lone surrogates and NUL among them


@given(st.text(ANY_CHARACTER))
def test_valid_text_has_utf8_no_nul_and_the_same_length(text: str) -> None:
    valid = valid_text(text)
    assert valid.encode().decode() == valid
    assert "\x00" not in valid
    assert len(valid) == len(text)
    assert all(a == b for a, b in zip(valid, text, strict=True) if a != "\ufffd")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_says_the_encoding_and_is_not_part_of_the_text(encoding: str) -> None:
    assert decode_text("é 北京".encode(encoding), "It") == "é 北京"


def test_bytes_that_are_no_utf8_are_refused_with_their_line() -> None:
    with pytest.raises(InvalidRequestError, match=r"prompts\.csv is not text in UTF-8: byte 0xe9 in line 2"):
        decode_text(b"a\ncaf\xe9", "prompts.csv")


@pytest.mark.parametrize("opening", ["[", '{"a":'])
@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 100_000])
def test_json_of_any_depth_is_refused_in_words(opening: str, depth: int) -> None:
    closing = "]" if opening == "[" else "}"
    text = opening * depth + "1" + closing * depth
    with pytest.raises(ValueError, match=f"nested more than {MAX_DEPTH} levels deep"):
        parse_json(text)


def test_json_as_deep_as_allowed_is_read() -> None:
    assert parse_json("[" * MAX_DEPTH + "]" * MAX_DEPTH) is not None


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999", "9" * 309, "-" + "9" * 400, "9" * 5000])
def test_numbers_that_no_float_can_be_are_refused(number: str) -> None:
    for text in (number, f"[[{number}]]", f'{{"a": {number}}}'):
        with pytest.raises(ValueError, match=r"no JSON number|larger than 1\.8e\+308"):
            parse_json(text)


def test_the_largest_numbers_are_read() -> None:
    assert parse_json(f"[{10**308}, -1.7e308]") == [10**308, -1.7e308]


def test_lone_surrogates_in_json_become_replacement_characters() -> None:
    assert parse_json(r'{"a\ud83d": ["x\u0000"]}') == {"a\ufffd": ["x\ufffd"]}


@given(st.lists(st.text(min_size=1), min_size=1, max_size=5), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_jsonl_comes_back_whatever_its_strings_and_line_ends(texts: list[str], end: str, mark: bool) -> None:
    raw = end.join(json.dumps({"t": text}, ensure_ascii=False) for text in texts)
    data = raw.encode("utf-8-sig" if mark else "utf-8")
    found = list(read_jsonl(decode_text(data, "It")))
    assert [record.fields["t"] for record in found] == [valid_text(text) for text in texts]
    assert [record.line for record in found] == list(range(1, len(texts) + 1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1}\n[1]', "Line 2: a JSON object is needed"),
        ('{"a": 1}\n\n{', "Line 3: not JSON"),
        ("[" * 5_000, "Line 1: not JSON .it is nested"),
    ],
)
def test_a_bad_line_of_jsonl_is_named(text: str, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        list(read_jsonl(text))
