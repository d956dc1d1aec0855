"""Rebuilds a Hugging Face fast tokenizer from the vocabulary and merges inside a GGUF file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gguf import TokenType
from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE

from engine.errors import UnsupportedModelError

STOP_TOKENS = ("<|im_end|>", "<|endoftext|>")
"""Marks that end an answer, whichever of them the file itself names as its end of text."""

_QWEN2_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def write_tokenizer(metadata: dict[str, Any], folder: Path) -> None:
    """Write ``tokenizer.json`` and ``tokenizer_config.json`` (chat template included) into ``folder``.

    Raises:
        UnsupportedModelError: the file's tokenizer is of a kind not known here.
    """
    # Written from here, since the library does not say "disk full" in a way that can be told apart.
    (folder / "tokenizer.json").write_text(_build(metadata).to_str(pretty=True), "utf-8")
    tokens = metadata["tokenizer.ggml.tokens"]
    config = {
        "tokenizer_class": "Qwen2Tokenizer" if metadata["tokenizer.ggml.pre"] == "qwen2" else "PreTrainedTokenizerFast",
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": metadata[f"{metadata['general.architecture']}.context_length"],
        "chat_template": metadata["tokenizer.chat_template"],
    }
    for role, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding"), ("unk", "unknown")):
        token_id = metadata.get(f"tokenizer.ggml.{key}_token_id")
        if token_id is not None:
            config[f"{role}_token"] = tokens[token_id]
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False), "utf-8")


def stop_ids(metadata: dict[str, Any]) -> list[int]:
    """Ids that end an answer, the file's own end of text first."""
    tokens = metadata["tokenizer.ggml.tokens"]
    kinds = metadata["tokenizer.ggml.token_type"]
    control = {token: i for i, token in enumerate(tokens) if kinds[i] == TokenType.CONTROL}
    ids = [metadata["tokenizer.ggml.eos_token_id"], *(control[token] for token in STOP_TOKENS if token in control)]
    return list(dict.fromkeys(ids))


def _build(metadata: dict[str, Any]) -> Tokenizer:
    kind, words = metadata["tokenizer.ggml.model"], metadata.get("tokenizer.ggml.pre")
    if kind != "gpt2" or words not in ("qwen2", "smollm"):
        raise UnsupportedModelError(f"The file's tokenizer ({kind}, {words}) is not one that can be converted.")
    # The rows that only fill up the embedding matrix are no tokens.
    entries = [
        (token, TokenType(kind))
        for token, kind in zip(metadata["tokenizer.ggml.tokens"], metadata["tokenizer.ggml.token_type"], strict=True)
    ]
    vocabulary = {token: i for i, (token, kind) in enumerate(entries) if kind is not TokenType.UNUSED}
    merges = [(left, right) for left, right in (merge.split(" ", 1) for merge in metadata["tokenizer.ggml.merges"])]
    tokenizer = Tokenizer(BPE(vocabulary, merges))
    tokenizer.decoder = decoders.ByteLevel()
    if words == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
        steps = [
            pre_tokenizers.Split(Regex(_QWEN2_WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    else:
        steps = [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.add_tokens(
        [
            AddedToken(token, special=kind is TokenType.CONTROL, normalized=False)
            for token, kind in entries
            if kind in (TokenType.CONTROL, TokenType.USER_DEFINED)
        ]
    )
    return tokenizer
