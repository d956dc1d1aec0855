"""Rebuilds a Hugging Face fast tokenizer from the vocabulary and merges inside a GGUF file.

How each kind splits texts into words is told by the model's own ``tokenizer.json``; llama.cpp's names for the kinds:
https://github.com/ggml-org/llama.cpp/blob/master/src/llama-vocab.cpp
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gguf import TokenType
from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE

from engine.errors import UnsupportedModelError, WeightsIntegrityError
from engine.models.sources.gguf_file import GgufFile
from engine.models.sources.sentence_pieces import sentence_piece_tokenizer

STOP_TOKENS = ("<|im_end|>", "<|endoftext|>")
"""Marks that end an answer, whichever of them the file itself names as its end of text."""
_LONGEST_TEMPLATE = 2**20
"""Characters."""

_ROLES = {"bos": "bos", "eos": "eos", "pad": "padding", "unk": "unknown"}
_ENDS = ("eos", "eot", "eom")
_AFTER_WORDS = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_QWEN2_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|" + _AFTER_WORDS
_LLAMA3_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|" + _AFTER_WORDS
_TEKKEN_WORDS = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass(frozen=True, slots=True)
class _Words:
    """How texts are split into words before bytes are merged."""

    pattern: str | None
    """``None`` is GPT-2's own."""
    digits_alone: bool = False
    composed: bool = False
    """Whether texts are normalized to NFC first."""
    whole_first: bool = False
    """Whether a word that is a token is one, whatever the merges say."""
    begins: bool = False
    """Whether texts begin with the beginning mark, where the file does not say."""


_LLAMA3 = _Words(_LLAMA3_WORDS, whole_first=True, begins=True)
_SINGLE_DIGITS = _Words(None, digits_alone=True)
_KINDS = {
    "qwen2": _Words(_QWEN2_WORDS, composed=True),
    "deepseek-r1-qwen": _Words(_QWEN2_WORDS),
    "llama-bpe": _LLAMA3,
    "llama3": _LLAMA3,
    "llama-v3": _LLAMA3,
    "smaug-bpe": _LLAMA3,
    "tekken": _Words(_TEKKEN_WORDS, whole_first=True, begins=True),
    "smollm": _SINGLE_DIGITS,
    "starcoder": _SINGLE_DIGITS,
    "refact": _SINGLE_DIGITS,
    "command-r": _SINGLE_DIGITS,
    "gpt-2": _Words(None),
}
"""By ``tokenizer.ggml.pre``."""


def write_tokenizer(gguf: GgufFile, folder: Path) -> None:
    """Write ``tokenizer.json`` and ``tokenizer_config.json`` (chat template included) into ``folder``.

    Raises:
        UnsupportedModelError: the file's tokenizer is of a kind not known here.
        WeightsIntegrityError: it contradicts itself.
    """
    metadata, tokens = gguf.metadata, check_tokenizer_kind(gguf)
    written = _build(gguf).to_str(pretty=True)
    if (first := _beginning_id(gguf)) is not None:
        written = json.dumps({**json.loads(written), "post_processor": _begin_with(tokens[first], first)}, indent=2)
    # Written from here, since the library does not say "disk full" in a way that can be told apart.
    (folder / "tokenizer.json").write_text(written, "utf-8")
    config = {
        "tokenizer_class": "Qwen2Tokenizer" if metadata.get("tokenizer.ggml.pre") == "qwen2" else _ANY_TOKENIZER,
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": metadata[f"{metadata['general.architecture']}.context_length"],
    }
    template = metadata.get("tokenizer.chat_template")
    if template is not None:
        if not isinstance(template, str) or len(template) > _LONGEST_TEMPLATE:
            raise WeightsIntegrityError(f"{gguf.path.name}: its chat template is no text, or far too long.")
        config["chat_template"] = template
    for role, key in _ROLES.items():
        token_id = _special_id(gguf, key, tokens)
        if token_id is not None:
            config[f"{role}_token"] = tokens[token_id]
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False), "utf-8")


def check_tokenizer_kind(gguf: GgufFile) -> list[str]:
    """The tokens of the vocabulary, once it is sure that the tokenizer is of a kind known here.

    Raises:
        UnsupportedModelError: it is not.
        WeightsIntegrityError: the file holds no list of tokens, with a type for each.
    """
    kind, words = gguf.metadata.get("tokenizer.ggml.model"), gguf.metadata.get("tokenizer.ggml.pre")
    if not (kind == "llama" or (kind == "gpt2" and isinstance(words, str) and words in _KINDS)):
        raise UnsupportedModelError(
            f"The tokenizer of {gguf.path.name} ({kind!s:.40}, {words!s:.40}) is not one that can be converted. These "
            f"can: llama, and gpt2 with {', '.join(_KINDS)}."
        )
    tokens = texts_of(gguf, "tokenizer.ggml.tokens")
    kinds = gguf.metadata.get("tokenizer.ggml.token_type")
    known = {int(kind) for kind in TokenType}
    if not isinstance(kinds, list) or len(kinds) != len(tokens) or not known.issuperset(kinds):
        raise WeightsIntegrityError(f"{gguf.path.name} does not give each of its {len(tokens):,} tokens a known type.")
    return tokens


def texts_of(gguf: GgufFile, key: str) -> list[str]:
    """A list of texts of the metadata.

    Raises:
        WeightsIntegrityError: it is none.
    """
    texts = gguf.metadata.get(key)
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise WeightsIntegrityError(f"{gguf.path.name}: {key} is no list of texts.")
    return texts


def stop_ids(gguf: GgufFile) -> list[int]:
    """Ids that end an answer, the file's own end of text first.

    Raises:
        WeightsIntegrityError: it names none, or one that is none.
    """
    tokens, kinds = check_tokenizer_kind(gguf), gguf.metadata["tokenizer.ggml.token_type"]
    control = {token: i for i, token in enumerate(tokens) if kinds[i] == TokenType.CONTROL}
    stated = [_special_id(gguf, key, tokens) for key in _ENDS]
    ids = [i for i in stated if i is not None] + [control[token] for token in STOP_TOKENS if token in control]
    if not ids:
        raise WeightsIntegrityError(f"{gguf.path.name} does not say which token ends an answer.")
    return list(dict.fromkeys(ids))


_ANY_TOKENIZER = "PreTrainedTokenizerFast"


def _special_id(gguf: GgufFile, key: str, tokens: Sequence[str]) -> int | None:
    full = f"tokenizer.ggml.{key}_token_id"
    token_id = gguf.metadata.get(full)
    if token_id is not None and (type(token_id) is not int or not 0 <= token_id < len(tokens)):
        raise WeightsIntegrityError(f"{gguf.path.name}: {full} is {token_id!r:.60}, which is no token.")
    return token_id


def _beginning_id(gguf: GgufFile) -> int | None:
    """The token that every text begins with; ``None`` if there is none."""
    metadata = gguf.metadata
    is_sentence_piece = metadata["tokenizer.ggml.model"] == "llama"
    usual = is_sentence_piece or _KINDS[metadata["tokenizer.ggml.pre"]].begins
    if metadata.get("tokenizer.ggml.add_bos_token", usual) is not True:
        return None
    return _special_id(gguf, "bos", texts_of(gguf, "tokenizer.ggml.tokens"))


def _begin_with(token: str, token_id: int) -> dict[str, Any]:
    """The step of a ``tokenizer.json`` that puts a token before every text."""
    begin, text = {"SpecialToken": {"id": token, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}
    return {
        "type": "TemplateProcessing",
        "single": [begin, text],
        "pair": [begin, text, {"SpecialToken": {"id": token, "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {token: {"id": token, "ids": [token_id], "tokens": [token]}},
    }


def _build(gguf: GgufFile) -> Tokenizer:
    metadata = gguf.metadata
    # The rows that only fill up the embedding matrix are no tokens.
    entries = [
        (token, TokenType(kind))
        for token, kind in zip(metadata["tokenizer.ggml.tokens"], metadata["tokenizer.ggml.token_type"], strict=True)
    ]
    vocabulary = {token: i for i, (token, kind) in enumerate(entries) if kind is not TokenType.UNUSED}
    if metadata["tokenizer.ggml.model"] == "llama":
        tokenizer = sentence_piece_tokenizer(gguf.path.name, metadata, vocabulary)
    else:
        tokenizer = _byte_level_tokenizer(gguf, _KINDS[metadata["tokenizer.ggml.pre"]], vocabulary)
    tokenizer.add_tokens(
        [
            AddedToken(token, special=kind is TokenType.CONTROL, normalized=False)
            for token, kind in entries
            if kind in (TokenType.CONTROL, TokenType.USER_DEFINED)
        ]
    )
    return tokenizer


def _byte_level_tokenizer(gguf: GgufFile, words: _Words, vocabulary: dict[str, int]) -> Tokenizer:
    merges = [_merge(gguf, merge, vocabulary) for merge in texts_of(gguf, "tokenizer.ggml.merges")]
    tokenizer = Tokenizer(BPE(vocabulary, merges, ignore_merges=True) if words.whole_first else BPE(vocabulary, merges))
    tokenizer.decoder = decoders.ByteLevel()
    if words.composed:
        tokenizer.normalizer = normalizers.NFC()
    steps: list[Any] = []
    if words.digits_alone:
        steps.append(pre_tokenizers.Digits(individual_digits=True))
    if words.pattern is not None:
        steps.append(pre_tokenizers.Split(Regex(words.pattern), behavior="isolated"))
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=words.pattern is None))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    return tokenizer


def _merge(gguf: GgufFile, merge: str, vocabulary: dict[str, int]) -> tuple[str, str]:
    left, space, right = merge.partition(" ")
    if not space or not {left, right, left + right} <= vocabulary.keys():
        raise WeightsIntegrityError(f"{gguf.path.name}: the merge {merge!r:.80} joins what are no tokens.")
    return left, right
