"""The sample prompts are complete."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.prompts import load_prompts


def test_shipped_prompts_are_complete_and_distinct() -> None:
    prompts = load_prompts()
    assert len(prompts) >= 20
    assert len({prompt.id for prompt in prompts}) == len({prompt.prompt for prompt in prompts}) == len(prompts)
    assert len({(prompt.category, prompt.title) for prompt in prompts}) == len(prompts)
    assert all(prompt.category and prompt.title and prompt.prompt.strip() for prompt in prompts)


def test_prompts_keep_their_order_and_blank_lines_are_skipped(tmp_path: Path) -> None:
    line = '{{"id": "{0}", "category": "c", "title": "t", "prompt": "p"}}\n'
    file = tmp_path / "samples.jsonl"
    file.write_text(line.format("b") + "\n" + line.format("a"), encoding="utf-8")
    assert [prompt.id for prompt in load_prompts(file)] == ["b", "a"]


def test_unknown_field_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "samples.jsonl"
    file.write_text('{"id": "x", "text": "p"}\n', encoding="utf-8")
    with pytest.raises(TypeError, match="text"):
        load_prompts(file)
