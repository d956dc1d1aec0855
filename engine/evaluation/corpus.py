"""Texts to measure on, and how a model's tokens of them are cut into windows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import CorpusError
from engine.types import GenerationRequest, Message, RunConfig, SamplingParams

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

    def request(self, model: str) -> GenerationRequest:
        """The run that answers it: greedy, in 16 bits."""
        sampling = SamplingParams(max_tokens=ANSWER_TOKENS)
        return GenerationRequest(messages=self.messages, config=RunConfig(model=model, sampling=sampling))


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

    def __post_init__(self) -> None:
        if not 1 <= self.first_scored < len(self.token_ids):
            raise ValueError(f"a window of {len(self.token_ids)} tokens cannot be scored from {self.first_scored} on")

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
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CorpusError(f"The corpus {path} cannot be read: {error.strerror}.") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError(f"The corpus {path} is no text in UTF-8 (at byte {error.start:,}).") from error
    if "\0" in text:
        raise CorpusError(f"The corpus {path} is no text: it has a zero byte at character {text.index(chr(0)):,}.")
    if not text.strip():
        raise CorpusError(f"The corpus {path} is empty.")
    if path.suffix == ".jsonl":
        lines = enumerate(text.split("\n"), start=1)
        prompts = tuple(_read_prompt(line, f"line {number} of {path}") for number, line in lines if line.strip())
        return Corpus(name=name or path.name, prompts=prompts)
    return Corpus(name=name or path.name, text=text)


def text_windows(token_ids: Sequence[int], bos_id: int | None) -> tuple[Window, ...]:
    """Cut running text as llama-perplexity does: windows of 512 tokens that do not overlap, what is
    left over dropped. It takes the distributions at positions 256 to 510 of each, which predict the
    tokens at 257 to 511: those 255 are scored.

    Args:
        token_ids: the whole text.
        bos_id: replaces each window's first token, for a tokenizer that begins every text with it.

    Raises:
        CorpusError: there are fewer tokens than one window takes.
    """
    if len(token_ids) < WINDOW_TOKENS:
        raise CorpusError(
            f"The corpus is too short: it has {len(token_ids):,} tokens, and a window takes {WINDOW_TOKENS}."
        )
    starts = range(0, len(token_ids) - WINDOW_TOKENS + 1, WINDOW_TOKENS)
    windows = (token_ids[start : start + WINDOW_TOKENS] for start in starts)
    first_scored = WINDOW_TOKENS // 2 + 1
    if bos_id is None:
        return tuple(Window(tuple(ids), first_scored) for ids in windows)
    return tuple(Window((bos_id, *ids[1:]), first_scored) for ids in windows)


def _read_prompt(line: str, where: str) -> CorpusPrompt:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise CorpusError(f"The corpus is damaged: {where} is no JSON.") from error
    if not isinstance(record, dict) or not isinstance(record.get("prompt"), str) or not record["prompt"].strip():
        raise CorpusError(f'The corpus is damaged: {where} has no "prompt" with a text.')
    system = record.get("system", "")
    if not isinstance(system, str):
        raise CorpusError(f'The corpus is damaged: "system" in {where} is no text.')
    return CorpusPrompt(record["prompt"], system)
