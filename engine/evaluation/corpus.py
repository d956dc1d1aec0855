"""Texts to measure on, and how a model's tokens of them are cut into windows."""

from __future__ import annotations

import codecs
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from engine.errors import CorpusError, InvalidRequestError
from engine.types import GenerationRequest, Message, RunConfig, SamplingParams
from engine.types.requirement import keep_valid_text
from engine.untrusted import Record, decode_text, read_jsonl, valid_text

SAMPLE_PROMPTS = Path(__file__).parents[2] / "data" / "prompts" / "samples.jsonl"
"""The project's own prompts."""
WINDOW_TOKENS = 512
"""Tokens of a window of running text, as in llama-perplexity."""
ANSWER_TOKENS = 64
"""Longest answer of the 16-bit model to a prompt of a corpus."""
_WIDE_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)
"""Encodings whose every other byte is zero; UTF-32's other mark begins like UTF-16's."""


@dataclass(frozen=True, slots=True)
class CorpusPrompt:
    """A prompt that the 16-bit model is to answer."""

    prompt: str
    system: str = ""

    def __post_init__(self) -> None:
        keep_valid_text(self, "prompt", "system")

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

    def __post_init__(self) -> None:
        keep_valid_text(self, "name", "text")

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
        raise CorpusError(f"The corpus {valid_text(str(path))} cannot be read: {error.strerror}.") from error
    corpus = corpus_from(data, path.name)
    return replace(corpus, name=name) if name else corpus


def corpus_from(data: bytes, file_name: str) -> Corpus:
    """A corpus from a file's bytes, as :func:`read_corpus` reads it, called by the file's name.

    Raises:
        CorpusError: it is empty, no text, or not such a JSONL file.
    """
    file_name = valid_text(file_name)
    try:
        text = decode_text(data, "It")
        if b"\0" in data and not data.startswith(_WIDE_MARKS):
            raise InvalidRequestError(
                f"It is no text: there is a zero byte at character {_characters_before_nul(data):,}."
            )
        if not text.strip():
            raise InvalidRequestError("It is empty.")
        if not file_name.casefold().endswith(".jsonl"):
            return Corpus(name=file_name, text=text)
        return Corpus(name=file_name, prompts=tuple(map(_read_prompt, read_jsonl(text))))
    except InvalidRequestError as error:
        raise CorpusError(f"The corpus {file_name} cannot be used. {error}") from error


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


def _characters_before_nul(data: bytes) -> int:
    return len(data[: data.index(0)].decode("utf-8-sig"))


def _read_prompt(record: Record) -> CorpusPrompt:
    prompt, system = record.fields.get("prompt"), record.fields.get("system", "")
    if not isinstance(prompt, str) or not prompt.strip():
        raise InvalidRequestError(f'Line {record.line:,}: there is no "prompt" with a text.')
    if not isinstance(system, str):
        raise InvalidRequestError(f'Line {record.line:,}: "system" is no text.')
    return CorpusPrompt(prompt, system)
