"""GGUF files that hold a tokenizer and no weights, trained on some texts; llama.cpp opens them for their vocabulary."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import gguf
from gguf import TokenType
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

CONTROLS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<s>", "</s>")
OWN_WORDS = ("<tool_call>", "<repo_name>")
"""Tokens that are found in texts, but begin and end nothing."""
_TOKENS = 3_000


def write_byte_level(path: Path, words: str, texts: Sequence[str]) -> None:
    """A tokenizer that merges bytes, whose file says that it splits texts into ``words``."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=_TOKENS,
        special_tokens=[*CONTROLS, *OWN_WORDS],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tree = json.loads(tokenizer.to_str())["model"]
    vocabulary: dict[str, int] = tree["vocab"]
    writer = _writer(path, "gpt2")
    writer.add_tokenizer_pre(words)
    writer.add_token_merges([" ".join(merge) for merge in tree["merges"]])
    tokens = sorted(vocabulary, key=lambda token: vocabulary[token])
    writer.add_token_list(tokens)
    writer.add_token_types([_kind(token) for token in tokens])
    _finish(writer, tokens)


def write_sentence_pieces(path: Path, texts: Sequence[str], *, space_prefix: bool) -> None:
    """A tokenizer of scored pieces, as SentencePiece's BPE mode makes them: the earlier merged, the better."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=_TOKENS, show_progress=False))
    learned: dict[str, int] = json.loads(tokenizer.to_str())["model"]["vocab"]
    kinds = {"<unk>": TokenType.UNKNOWN} | {token: _kind(token) for token in (*CONTROLS, *OWN_WORDS)}
    kinds |= {f"<0x{byte:02X}>": TokenType.BYTE for byte in range(256)}
    before = len(kinds)
    for token in sorted(learned, key=lambda token: (len(token) == 1, learned[token])):
        kinds.setdefault(token, TokenType.NORMAL)
    tokens = list(kinds)
    writer = _writer(path, "llama")
    writer.add_token_list(tokens)
    writer.add_token_types(list(kinds.values()))
    writer.add_token_scores([0.0] * before + [-float(place) for place in range(len(tokens) - before)])
    writer.add_unk_token_id(0)
    writer.add_add_space_prefix(space_prefix)
    _finish(writer, tokens)


def _writer(path: Path, model: str) -> gguf.GGUFWriter:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(128)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(128)
    writer.add_block_count(1)
    writer.add_head_count(4)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_tokenizer_model(model)
    return writer


def _kind(token: str) -> TokenType:
    if token in CONTROLS:
        return TokenType.CONTROL
    return TokenType.USER_DEFINED if token in OWN_WORDS else TokenType.NORMAL


def _finish(writer: gguf.GGUFWriter, tokens: Sequence[str]) -> None:
    writer.add_bos_token_id(tokens.index("<s>"))
    writer.add_eos_token_id(tokens.index("<|im_end|>"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
