"""The sample prompts that come with Gearbox."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from app.settings import REPOSITORY

SAMPLES = REPOSITORY / "data" / "prompts" / "samples.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplePrompt:
    """A prompt to try."""

    id: str
    category: str
    title: str
    prompt: str
    system: str = ""


def load_prompts(path: Path = SAMPLES) -> tuple[SamplePrompt, ...]:
    """The prompts of a JSONL file, in its order."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return tuple(SamplePrompt(**json.loads(line)) for line in lines if line.strip())
