"""Benchmarks that are read as they are published: GSM8K, HumanEval, MT-Bench."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

from engine.evaluation.expected import expected_of
from engine.evaluation.tasks import Task

Row = Mapping[str, Any]
_FINAL = re.compile(r"####\s*([-+]?[\d,]+(?:\.\d+)?)\s*$")


def published_form(row: Row) -> tuple[str, Callable[[Row, int], Task]] | None:
    """The public form whose row this is, and how such a row with its number becomes a task; ``None`` for any other.
    What converts raises ValueError or KeyError where a row is none.

    GSM8K has ``question`` and ``answer``, HumanEval ``prompt``, ``test`` and ``entry_point``, MT-Bench ``turns``, of
    which the first is asked and has no score. A question with an answer is GSM8K's only where the answer ends as those
    do: ``#### 42``.
    """
    if {"question", "answer"} <= row.keys() and isinstance(row["answer"], str) and _FINAL.search(row["answer"]):
        return "GSM8K", _gsm8k
    if {"prompt", "test", "entry_point"} <= row.keys():
        return "HumanEval", _human_eval
    if isinstance(row.get("turns"), list):
        return "MT-Bench", _mt_bench
    return None


def _gsm8k(row: Row, line: int) -> Task:
    final = _FINAL.search(_text(row, "answer"))
    if not final:
        raise ValueError("its answer does not end with #### and a number")
    return Task(
        id=f"gsm8k-{line}",
        category="GSM8K",
        prompt=f"{_text(row, 'question')}\n\nWork it out step by step. End with the number alone.",
        checker="number",
        expected=_final(final[1]),
        max_tokens=320,
        template="gsm8k",
    )


def _human_eval(row: Row, line: int) -> Task:
    start, entry = _text(row, "prompt"), _text(row, "entry_point")
    tests = f"{_text(row, 'test')}\n\ncheck({entry})"
    return Task(
        id=str(row.get("task_id", f"humaneval-{line}")),
        category="HumanEval",
        prompt=f"Complete this Python function. Reply with its code only.\n\n```python\n{start.rstrip()}\n```",
        checker="code",
        expected=expected_of("code", {"tests": tests, "entry": entry, "start": start}),
        max_tokens=384,
        template="humaneval",
    )


def _mt_bench(row: Row, line: int) -> Task:
    turns = row["turns"]
    if not isinstance(turns, list) or not turns or not isinstance(turns[0], str) or not turns[0].strip():
        raise ValueError("its turns are no list of texts")
    return Task(
        id=f"mt-bench-{row.get('question_id', line)}",
        category=str(row.get("category", "MT-Bench")).capitalize(),
        prompt=turns[0],
        max_tokens=256,
        template="mt-bench",
    )


def _final(digits: str) -> float:
    value = float(digits.replace(",", ""))
    if not isfinite(value):
        raise ValueError("the number after #### is too large")
    return value


def _text(row: Row, key: str) -> str:
    value = row[key]
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"its {key} is no text")
    return value
