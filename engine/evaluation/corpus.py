"""Texts to measure on, and how a model's tokens of them are cut into windows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.types import Message

SAMPLE_PROMPTS = Path(__file__).parents[2] / "data" / "prompts" / "samples.jsonl"
"""The project's own prompts."""
WINDOW_TOKENS = 512
"""Tokens of a window of running text, as in llama-perplexity."""
ANSWER_TOKENS = 64
"""Longest answer of the 16-bit model to a prompt of a corpus."""


@dataclass(frozen=True, slots=True)
class CorpusPrompt:
    """A prompt that the 16-bit model is to answer."""

    prompt: str
    system: str = ""

    @property
    def messages(self) -> tuple[Message, ...]:
        """As a conversation."""
        system = (Message("system", self.system),) if self.system else ()
        return (*system, Message("user", self.prompt))


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """What is measured on: either running text or prompts, never both."""

    name: str
    text: str = ""
    prompts: tuple[CorpusPrompt, ...] = ()

    @property
    def sha256(self) -> str:
        """Identity of what is measured, whatever the file is called: a result holds for the weights
        hash, the precision and this."""
        if not self.prompts:
            return hashlib.sha256(self.text.encode()).hexdigest()
        tree = {"answer_tokens": ANSWER_TOKENS, "prompts": [[p.system, p.prompt] for p in self.prompts]}
        return hashlib.sha256(json.dumps(tree, ensure_ascii=False).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Window:
    """Token ids that both models read at once. Those from ``first_scored`` on are scored, each by the
    distribution before it; so ``first_scored`` is at least 1."""

    token_ids: tuple[int, ...]
    first_scored: int

    @property
    def scored(self) -> int:
        """How many tokens count."""
        return len(self.token_ids) - self.first_scored


def default_corpus() -> Corpus:
    """The project's own prompts; their answers come from the 16-bit model itself."""
    return read_corpus(SAMPLE_PROMPTS, name="Gearbox's sample prompts")


def read_corpus(path: Path, name: str | None = None) -> Corpus:
    """Read a corpus from a file.

    Args:
        path: ``.jsonl``: one object a line with ``prompt`` and, if there is one, ``system``; other
            fields are not read. Anything else is running text in UTF-8.
        name: what to call it; by default the file's name.

    Raises:
        CorpusError: the file is missing, empty, no text, or not such a JSONL file.
    """
    raise NotImplementedError


def text_windows(token_ids: Sequence[int], bos: int | None) -> tuple[Window, ...]:
    """Cut running text as llama-perplexity does: into windows of 512 tokens that do not overlap, what
    is left over dropped, and a window's tokens scored after its first half.

    Args:
        token_ids: the whole text.
        bos: replaces each window's first token, for a tokenizer that begins every text with it.

    Raises:
        CorpusError: there are fewer tokens than one window takes.
    """
    raise NotImplementedError
