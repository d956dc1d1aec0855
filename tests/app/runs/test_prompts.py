"""The sample prompts are complete."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.runs.prompts import load_prompts


def test_shipped_prompts_are_complete_and_distinct() -> None:
    prompts = load_prompts()
    assert len(prompts) >= 20
    assert len({prompt.id for prompt in prompts}) == len({prompt.prompt for prompt in prompts}) == len(prompts)
    assert len({(prompt.category, prompt.title) for prompt in prompts}) == len(prompts)
    assert all(prompt.category and prompt.title and prompt.prompt.strip() for prompt in prompts)


def test_prompts_come_in_the_order_of_their_lines(tmp_path: Path) -> None:
    line = '{{"id": "{0}", "category": "c", "title": "t", "prompt": "p"}}\n'
    (tmp_path / "a.jsonl").write_text(line.format("second") + "\n" + line.format("first"), encoding="utf-8")
    assert [prompt.id for prompt in load_prompts(tmp_path / "a.jsonl")] == ["second", "first"]


def test_marks_and_odd_characters_break_no_file(tmp_path: Path) -> None:
    line = '{"id": "a", "category": "c", "title": "t", "prompt": "one\u2028two\u0085"}'
    (tmp_path / "a.jsonl").write_bytes(f"\ufeff{line}\r\n".encode())
    assert [prompt.prompt for prompt in load_prompts(tmp_path / "a.jsonl")] == ["one\u2028two\u0085"]


def test_unknown_field_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": "x", "text": "p"}\n', encoding="utf-8")
    with pytest.raises(TypeError, match="text"):
        load_prompts(tmp_path / "a.jsonl")
