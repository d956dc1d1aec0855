"""The sample prompts that come with Gearbox."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from app.settings import REPOSITORY

PROMPTS_DIR = REPOSITORY / "data" / "prompts"


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplePrompt:
    """A prompt to try."""

    id: str
    category: str
    title: str
    prompt: str
    system: str = ""


def load_prompts(folder: Path = PROMPTS_DIR) -> tuple[SamplePrompt, ...]:
    """The prompts of every ``*.jsonl`` file, in the order of file names and lines."""
    lines = (line for path in sorted(folder.glob("*.jsonl")) for line in path.read_text(encoding="utf-8").splitlines())
    return tuple(SamplePrompt(**json.loads(line)) for line in lines if line.strip())
