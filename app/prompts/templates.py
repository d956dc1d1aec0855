"""Small files of prompts to begin with, one for each format that is read."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass

_ROWS = (
    {"prompt": "What is the capital of France?", "expected": "Paris", "category": "Facts"},
    {"prompt": "Who wrote “Faust”? Reply with the name.", "expected": "Goethe", "category": "Facts"},
    {"prompt": "In which country does the Danube rise?", "expected": "Germany", "category": "Facts"},
)
_GSM8K = {
    "question": "Ann has 3 pots and buys 4 more. How many pots has she?",
    "answer": "She has 3 + 4 = 7 pots.\n#### 7",
}
_HUMAN_EVAL = {
    "task_id": "Own/1",
    "prompt": 'def half(n):\n    """Half of n, rounded down."""\n',
    "test": "def check(candidate):\n    assert candidate(5) == 2\n    assert candidate(4) == 2\n",
    "entry_point": "half",
}
_MESSAGES = {
    "messages": [
        {"role": "system", "content": "Answer in one sentence."},
        {"role": "user", "content": "Why is the sky blue?"},
    ]
}
_SHARE_GPT = {"id": "a1", "conversations": [{"from": "human", "value": "Write a haiku about rain."}]}
_MMLU = 'What is 7 times 8?,54,56,58,64,B\r\n"Which planet is the largest, by mass?",Mars,Venus,Jupiter,Earth,C\r\n'
_PROMPTFOO = """\
prompts:
  - "What is the capital of {{country}}?"
tests:
  - vars: {country: [France, "the French Republic"]}
    assert:
      - {type: icontains, value: paris}
"""
_MT_BENCH = {"question_id": 1, "category": "writing", "turns": ["Write a short note that thanks a colleague."]}


@dataclass(frozen=True, slots=True)
class Template:
    """A file to download, fill in and upload."""

    format: str
    file_name: str
    mime: str
    data: bytes
    says: str
    """What it is for, in a sentence."""


def _sheet() -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(_ROWS[0]))
    writer.writeheader()
    writer.writerows(_ROWS)
    return b"\xef\xbb\xbf" + out.getvalue().encode()  # spreadsheets take CSV for UTF-8 by this mark


def _lines(*rows: object) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


TEMPLATES: tuple[Template, ...] = (
    Template("CSV", "prompts.csv", "text/csv", _sheet(), "A row a prompt. Any names of columns will do."),
    Template("JSON lines", "prompts.jsonl", "application/jsonl", _lines(*_ROWS), "An object a line."),
    Template(
        "JSON",
        "prompts.json",
        "application/json",
        json.dumps(_ROWS, ensure_ascii=False, indent=1).encode(),
        "A list of objects, or of texts.",
    ),
    Template(
        "Plain text",
        "prompts.txt",
        "text/plain",
        "".join(f"{row['prompt']}\n" for row in _ROWS).encode(),
        "A prompt a line. Answers are compared with the large model's.",
    ),
    Template("GSM8K", "gsm8k.jsonl", "application/jsonl", _lines(_GSM8K), "Sums in words, as published."),
    Template("HumanEval", "humaneval.jsonl", "application/jsonl", _lines(_HUMAN_EVAL), "Python, as published."),
    Template("MT-Bench", "mt-bench.jsonl", "application/jsonl", _lines(_MT_BENCH), "Open questions, as published."),
    Template("OpenAI messages", "messages.jsonl", "application/jsonl", _lines(_MESSAGES), "As sent to the API."),
    Template("ShareGPT", "sharegpt.jsonl", "application/jsonl", _lines(_SHARE_GPT), "Conversations, as shared."),
    Template("promptfoo", "promptfoo.yaml", "application/yaml", _PROMPTFOO.encode(), "Prompts × tests."),
    Template("MMLU", "mmlu.csv", "text/csv", _MMLU.encode(), "Question, options A to D, the right letter; no names."),
)
