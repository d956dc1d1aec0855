"""Token equality with llama.cpp on the same GGUF files: of texts of every kind, and of greedy answers.

A text's ids are compared twice: with control tokens that are spelled out in it taken as text, as Gearbox takes them,
and taken for the tokens. ``composed`` are those that differ only because our tokenizer composes characters first (NFC),
as the model's own does and llama.cpp does not. Of the catalogue's files, and of vocabularies trained here, one for each
kind of tokenizer that is read. Greedy answers are compared until they part; ``furthest`` is how far below our best
token, in nats of our distribution, llama.cpp's choice lies where they do.
"""

from __future__ import annotations

import tempfile
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import compress
from pathlib import Path

import torch
from torch import Tensor

from app.runs.prompts import load_prompts
from engine import list_models
from engine.models import CATALOG
from engine.models.decoders.decoder import Decoder
from engine.models.sources.gguf_file import GgufFile
from engine.models.sources.gguf_tokenizer import write_tokenizer
from engine.models.tokenization.fast_tokenizer import FastTokenizer
from engine.models.tokenization.transformers_tokenizer import read_tokenizer
from engine.serving.memory.pool import ModelPool
from engine.types import Message, Precision
from tests.benchmarks.divergence import open_decoder
from tests.benchmarks.peers import installed_peers
from tests.benchmarks.peers.process import PeerError, PeerProcess
from tests.benchmarks.table import Row
from tests.support.gguf_vocabularies import write_byte_level, write_sentence_pieces
from tests.support.loading import open_model
from tests.support.near_ties import first_difference
from tests.support.varied_texts import varied_texts

PEER = "llama.cpp"
TEXTS_OF_A_KIND = 300
ANSWERS = 12
ANSWER_TOKENS = 48
BYTE_LEVEL = ("qwen2", "deepseek-r1-qwen", "llama-bpe", "tekken", "smollm", "starcoder", "refact", "command-r", "gpt-2")
"""Kinds of which a vocabulary is trained; other names that are read stand for one of these."""


@dataclass(frozen=True, slots=True)
class Compared:
    """Texts in two tokenizers."""

    equal: int
    composed: int
    """Differ, but not once they are composed."""
    others: list[str]
    """Differ all the same."""


def run(models_dir: Path, models: Sequence[str]) -> list[Row]:
    """Compare the models that are asked for and installed, and a vocabulary of each kind."""
    if PEER not in installed_peers():
        print(f"{PEER} is not installed, so there is nothing to compare with; `make bench-peers` installs it.")
        return []
    texts = corpus(TEXTS_OF_A_KIND)
    rows: list[Row] = []
    present = {model.name for model in list_models(models_dir) if model.installed}
    installed = [model for model in models if model in present and (models_dir / CATALOG[model].file_name).exists()]
    for model in installed:
        rows += _tokens_of(model, models_dir / CATALOG[model].file_name, read_tokenizer(models_dir / model), texts)
    with tempfile.TemporaryDirectory() as folder:
        # of control tokens none: a vocabulary holds no words that spell them
        training = [text for kind, some in texts.items() if kind != "control tokens" for text in some[::3]]
        for name, gguf in _written(Path(folder), training):
            place = Path(folder) / name
            place.mkdir()
            write_tokenizer(GgufFile.open(gguf), place)
            (place / "config.json").write_text('{"model_type": "llama"}')
            rows += _tokens_of(name, gguf, read_tokenizer(place), texts)
    for model in installed:
        rows += _answers_of(models_dir, model)
    return rows


def corpus(of_each: int) -> dict[str, list[str]]:
    """The prompts that come with Gearbox, and texts of every kind that tokenizers take differently."""
    return {"prompts": [sample.prompt for sample in load_prompts()]} | varied_texts(of_each)


def compare(
    texts: Sequence[str],
    ours: Callable[[Sequence[str]], list[list[int]]],
    theirs: Callable[[Sequence[str]], list[list[int]]],
) -> Compared:
    """Where two tokenizers differ; each gives the ids of some texts."""

    def differing(some: Sequence[str]) -> list[bool]:
        return [one != other for one, other in zip(ours(some), theirs(some), strict=True)]

    differ = list(compress(texts, differing(texts)))
    others = list(compress(differ, differing([unicodedata.normalize("NFC", text) for text in differ])))
    return Compared(len(texts) - len(differ), len(differ) - len(others), others)


def _written(folder: Path, training: Sequence[str]) -> list[tuple[str, Path]]:
    files = []
    for words in BYTE_LEVEL:
        write_byte_level(folder / f"{words}.gguf", words, training)
        files.append((words, folder / f"{words}.gguf"))
    for name, prefix in (("llama", True), ("llama without a space before", False)):
        write_sentence_pieces(folder / f"{name}.gguf", training, space_prefix=prefix)
        files.append((name, folder / f"{name}.gguf"))
    return files


def _tokens_of(name: str, gguf: Path, tokenizer: FastTokenizer, texts: dict[str, list[str]]) -> list[Row]:
    def ours(controls: bool, some: Sequence[str]) -> list[list[int]]:
        return [list(tokenizer.encode(text, split_controls=not controls).ids) for text in some]

    rows: list[Row] = []
    with PeerProcess(f"{PEER}-vocabulary", gguf, 1) as peer:
        for controls in (False, True):
            found = {
                kind: compare(some, partial(ours, controls), partial(peer.tokens, controls=controls))
                for kind, some in texts.items()
            }
            for text in [text for part in found.values() for text in part.others[:2]][:6]:
                print(f"  {name}: {text!r:.100}")
            rows.append(
                {
                    "tokenizer": name,
                    "controls": "tokens" if controls else "text",
                    "texts": sum(map(len, texts.values())),
                    "equal": sum(part.equal for part in found.values()),
                    "composed": sum(part.composed for part in found.values()),
                    "other": sum(len(part.others) for part in found.values()),
                    "of": ", ".join(f"{kind} {len(part.others)}" for kind, part in found.items() if part.others)
                    or None,
                }
            )
    return rows


def _answers_of(models_dir: Path, model: str) -> list[Row]:
    gguf = models_dir / CATALOG[model].file_name
    pool = ModelPool(models_dir)
    tokenizer = open_model(pool, model).tokenizer
    samples = [sample.prompt for sample in load_prompts()[:ANSWERS]]
    prompts = [tokenizer.encode_chat([Message("user", prompt)]) for prompt in samples]
    rows: list[Row] = []
    try:
        with PeerProcess(PEER, gguf, torch.get_num_threads()) as peer:
            theirs = [peer.written(prompt, ANSWER_TOKENS) for prompt in prompts]
    except PeerError as error:
        return [{"model": model, "precision": None, "error": str(error)}]
    for precision in (Precision.BF16, Precision.INT4):
        gaps, equal, shared = [], 0, 0
        decoder = open_decoder(pool, model, precision)
        for prompt, wanted in zip(prompts, theirs, strict=True):
            ids, rows_of = _written_by(decoder, prompt, tokenizer.vocab_size)
            at = first_difference(ids, wanted)
            shared += at
            if at == len(ids):
                equal += 1
            else:
                scores = rows_of[at].log_softmax(-1)
                gaps.append(float(scores[ids[at]] - scores[wanted[at]]))
        rows.append(
            {
                "model": model,
                "precision": str(precision),
                "answers": len(prompts),
                "tokens": ANSWER_TOKENS,
                "equal": equal,
                "shared": shared / (len(prompts) * ANSWER_TOKENS),
                "median": sorted(gaps)[len(gaps) // 2] if gaps else None,
                "furthest": max(gaps, default=None),
            }
        )
    return rows


@torch.inference_mode()
def _written_by(decoder: Decoder, prompt: Sequence[int], vocab_size: int) -> tuple[list[int], list[Tensor]]:
    """Our own greedy answer, end marks passed over, and the logits before each of its tokens."""
    cache = decoder.new_cache(len(prompt) + ANSWER_TOKENS)
    logits = decoder.prefill(torch.tensor(prompt), cache, lambda: False)
    assert logits is not None  # nobody cancels
    rows = [logits[:vocab_size]]
    ids = [int(rows[0].argmax())]
    while len(ids) < ANSWER_TOKENS:
        rows.append(decoder.step(ids[-1], cache)[:vocab_size])
        ids.append(int(rows[-1].argmax()))
    return ids, rows
