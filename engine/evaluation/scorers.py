"""Whether an answer is right: one function of its text for each kind of task.

A checker takes the answer and what is expected of it, and forgives what does not make an answer
wrong: case, white space, quotes and markdown around it, a full stop at its end.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

from engine.evaluation import patterns
from engine.evaluation.programs import forms, helpers
from engine.evaluation.sandbox import run_tests
from engine.evaluation.words import has_words, places, plain
from engine.untrusted import parse_json, valid_tree

Checker = Callable[[str, Any], bool]
"""``checker(text, expected)``; what ``expected`` is, each checker says."""

_WRAPPING = " \t\n\"'`*_“”‘’«»„‚‹›.,;:!()[]…¿¡。．，、；：！（）［］「」『』【】《》〈〉।॥،؛۔។၊။።"
_NUMBER = re.compile(
    r"""(?:(?<![\w.])[-+−])?        # a hyphen after a word or a digit is no sign
        (?:\d{1,3}(?:[,\u00a0\u202f']\d{3})+(?!\d)|\d+|(?<!\w)(?=\.\d))   # thousands may be set apart
        (?:\.\d+)?(?:[eE][-+]?\d+)?""",
    re.VERBOSE | re.ASCII,
)
_FENCE = re.compile(r"```[\w-]*\n?(.*?)(?:```|$)", re.DOTALL)
_JSON_START = re.compile(r"\{\s*[\"}]|\[\s*[\[{\"\d\-tfn\]]")
_JSON_EFFORT = 4_000_000
"""Characters read in search of JSON in one answer, over all the places where some might begin."""
_JSON_TRY = 2_000
"""What trying one such place counts at least."""
_LARGEST = sys.float_info.max
_STATING = (
    r"(?:(?:answer|option|choice)(?:\s+is)?|(?:答案|选项|選項|选择|選擇|选|選|答え|正解)(?:应该)?(?:是|为|為|は)?|(?:정답|답)(?:은|는)?)"
    r"[\s:：\"'*_(（「]*"
)


def exact(text: str, expected: str | list[str]) -> bool:
    """The whole answer is ``expected``, or one of a list of equivalents."""
    return _bare(text) in {_bare(option) for option in _options(expected)}


def number(text: str, expected: float) -> bool:
    """The last number of the answer is ``expected``. A point marks decimals; 1,234 is a thousand and more."""
    found = last_number(text)
    if found is None or not -_LARGEST <= expected <= _LARGEST:
        return False
    value = float(re.sub(r"[,\u00a0\u202f']", "", found).replace("−", "-"))
    return abs(value - expected) <= 1e-9


def last_number(text: str) -> str | None:
    """The last number of a text as it stands there; ``None`` where there is none."""
    found = _NUMBER.findall(text)
    return found[-1] if found else None


def choice(text: str, expected: Mapping[str, Any]) -> bool:
    """The answer picks ``expected["answer"]``, a letter, out of ``expected["options"]``, a list whose
    first is A. It may give the letter or the option's text; one that names several options picks none."""
    return picked(text, expected["options"]) == str(expected["answer"])


def contains(text: str, expected: str | list[str]) -> bool:
    """The answer has ``expected``, or one of a list of equivalents, as whole words
    (:mod:`engine.evaluation.words` says what that means in which script)."""
    answer = plain(text)
    return any(has_words(answer, plain(option)) for option in _options(expected))


def regex(text: str, expected: Mapping[str, str]) -> bool:
    """The pattern ``expected["pattern"]`` is found in the answer, white space around it left out.
    ``expected["example"]`` is an answer that passes, for readers and tests.

    Raises:
        NotJudgedError: the pattern took too long.
    """
    return patterns.found(expected["pattern"], text.strip())


def json_equal(text: str, expected: Any) -> bool:
    """The first JSON object or list in the answer equals ``expected``. The order of keys does not
    matter, nor 1 against 1.0, nor case and white space around strings; true is not 1. What is nested too deep is
    no JSON."""
    return any(_same_json(value, valid_tree(expected)) for value in first_json(text))


def schema(text: str, expected: Mapping[str, Any]) -> bool:
    """The first JSON object or list in the answer is valid by ``expected["schema"]``, a JSON schema (draft
    2020-12). ``expected["example"]`` is a value that passes, for readers and tests.

    Raises:
        NotJudgedError: the schema took too long, or refers to what it does not hold.
    """
    return any(patterns.is_valid(expected["schema"], value) for value in first_json(text))


def code(text: str, expected: Mapping[str, str]) -> bool:
    """The answer's Python code defines ``expected["entry"]`` and passes ``expected["tests"]``, statements that
    use it. ``expected["start"]``, where there is one, is code that the answer was to continue.

    Raises:
        SandboxUnavailableError: this machine cannot run a model's code safely.
    """
    entry, start = expected["entry"], expected.get("start", "")
    return run_tests(forms(text, entry, start), expected["tests"], entry, helpers=helpers(entry, start)).passed


CHECKERS: Mapping[str, Checker] = {
    "exact": exact,
    "number": number,
    "choice": choice,
    "contains": contains,
    "regex": regex,
    "json": json_equal,
    "schema": schema,
    "code": code,
}


def _options(expected: str | list[str]) -> list[str]:
    return [expected] if isinstance(expected, str) else expected


def _bare(text: str) -> str:
    return plain(text).strip(_WRAPPING)


def picked(text: str, options: list[str]) -> str | None:
    """The letter of the option that an answer picks."""
    letters = [chr(ord("A") + index) for index in range(len(options))]
    label = f"[{letters[0]}-{letters[-1]}]"
    # a bare letter, or one set off by punctuation: "A cat" begins with an article
    leading = re.match(rf"[\s\"'*_(\[]*({label})(?:[\s\"'*_]*$|[\s\"'*_]*[).:,\]\n–）．：，、。」-])", text, re.I)
    if leading:
        return leading[1].upper()
    named = _named(plain(text), dict(zip(letters, map(plain, options), strict=True)))
    stated = re.search(rf"{_STATING}({label})(?![a-z0-9_])(?!\s+\w)", text, re.IGNORECASE)
    if stated:
        named.add(stated[1].upper())
    return named.pop() if len(named) == 1 else None


def _named(text: str, options: Mapping[str, str]) -> set[str]:
    """The letters of the options that stand in a text. What is part of a longer one there does not count."""
    named = set()
    for letter, option in sorted(options.items(), key=lambda item: -len(item[1])):
        starts = list(places(text, option))
        if starts:
            named.add(letter)
            pieces, end = [], 0
            for start in starts:
                if start >= end:
                    pieces += [text[end:start], " \n "]  # a line's end stands in no option
                    end = start + len(option)
            text = "".join([*pieces, text[end:]])
    return named


def first_json(text: str) -> list[Any]:
    """The first object or list that parses, in a list of one; an empty list if none does, or if it is nested deeper
    than JSON from strangers is read, or if looking for it takes more than :data:`_JSON_EFFORT`."""
    decoder = json.JSONDecoder()
    fenced = _FENCE.search(text)
    effort = 0
    for source in ([fenced[1]] if fenced else []) + [text]:
        for start in _JSON_START.finditer(source):
            try:
                return [parse_json(source[start.start() : decoder.raw_decode(source, start.start())[1]])]
            except json.JSONDecodeError as error:
                # of a string without an end it tells the beginning, and has read on to the text's end
                read = len(source) if error.msg.startswith("Unterminated") else error.pos
                effort += max(read - start.start(), _JSON_TRY)
            except (ValueError, RecursionError):
                return []
            if effort > _JSON_EFFORT:
                return []
    return []


def _same_json(found: Any, expected: Any) -> bool:
    if isinstance(found, bool) or isinstance(expected, bool):
        return found is expected
    if isinstance(expected, dict):
        return (
            isinstance(found, dict)
            and found.keys() == expected.keys()
            and all(_same_json(found[key], value) for key, value in expected.items())
        )
    if isinstance(expected, list):
        return (
            isinstance(found, list)
            and len(found) == len(expected)
            and all(_same_json(a, b) for a, b in zip(found, expected, strict=True))
        )
    if isinstance(expected, str):
        return isinstance(found, str) and " ".join(found.casefold().split()) == " ".join(expected.casefold().split())
    return bool(found == expected)
