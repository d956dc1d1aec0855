"""The sample prompts that come with Gearbox."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from app.settings import REPOSITORY
from engine.untrusted import decode_text, read_jsonl

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
    return tuple(SamplePrompt(**record.fields) for record in read_jsonl(decode_text(path.read_bytes(), path.name)))
