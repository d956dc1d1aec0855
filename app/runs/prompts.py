"""The sample prompts that come with Gearbox."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from app.settings import REPOSITORY
from engine.untrusted import decode_text, read_jsonl

SAMPLES = REPOSITORY / "data" / "prompts" / "samples.jsonl"


class _Categorised(Protocol):
    @property
    def category(self) -> str: ...


_Item = TypeVar("_Item", bound=_Categorised)


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


def some_of_each(items: Sequence[_Item], most: int) -> tuple[_Item, ...]:
    """The first of each category, at most so many of each, in their order: a smaller choice is part of a larger."""
    seen: Counter[str] = Counter()
    found = []
    for item in items:
        seen[item.category] += 1
        if seen[item.category] <= most:
            found.append(item)
    return tuple(found)
