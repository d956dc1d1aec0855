"""A tokenizer out of a GGUF file gives the tokens of the one that transformers builds for the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, LlamaTokenizer, Qwen2Tokenizer
from transformers.convert_slow_tokenizer import TikTokenConverter, generate_merges

from engine.models.sources import gguf_tokenizer
from engine.models.sources.gguf_file import GgufFile
from engine.models.sources.gguf_tokenizer import stop_ids, write_tokenizer
from engine.models.sources.sentence_pieces import merges_by_score

SPECIAL = ("<s>", "<|im_end|>", "<|eot_id|>")
TEXTS = (
    "Hello world, it's 2026: 12345 words!",
    "  two  spaces\n\nand\r\nlines\t. ",
    "Ça va? cafe\u0301 你好 мир 🌍 ﬁ İSTANBUL",
    "def f(x):\n    return x ** 2  # comment\n",
    "",
)
CORPUS = [*TEXTS, "the quick brown fox jumps over the lazy dog; 100 200 300", "HELLO don't DON'T can't I'll"] * 3
LLAMA3 = TikTokenConverter().pattern


def trained() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges of a byte-level tokenizer that was trained on some text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=420, special_tokens=list(SPECIAL), initial_alphabet=alphabet)
    )
    tree = json.loads(tokenizer.to_str())["model"]
    return tree["vocab"], [tuple(merge) for merge in tree["merges"]]


def read_back(folder: Path, kind: str, words: str | None, vocabulary: dict[str, int], **more: Any) -> Any:
    """The tokenizer that comes out of a file with this vocabulary."""
    tokens = sorted(vocabulary, key=lambda token: vocabulary[token])
    writer = gguf.GGUFWriter(folder / "tokenizer.gguf", "llama")
    writer.add_context_length(128)
    writer.add_tokenizer_model(kind)
    if words is not None:
        writer.add_tokenizer_pre(words)
    writer.add_token_list(tokens)
    types = more.pop("types", None)
    writer.add_token_types(types or [gguf.TokenType.CONTROL if t in SPECIAL else gguf.TokenType.NORMAL for t in tokens])
    for key, value in more.items():
        getattr(writer, f"add_{key}")(value)
    writer.add_eos_token_id(vocabulary[SPECIAL[1]])
    writer.add_eot_token_id(vocabulary[SPECIAL[2]])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    file = GgufFile.open(folder / "tokenizer.gguf")
    assert stop_ids(file) == [vocabulary[SPECIAL[1]], vocabulary[SPECIAL[2]]]
    write_tokenizer(file, folder)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    return AutoTokenizer.from_pretrained(folder)


def test_qwen2_s_is_transformers_own(tmp_path: Path) -> None:
    vocabulary, merges = trained()
    theirs = Qwen2Tokenizer(vocab=vocabulary, merges=merges)
    ours = read_back(tmp_path, "gpt2", "qwen2", vocabulary, token_merges=[" ".join(merge) for merge in merges])
    for text in TEXTS:
        assert ours(text).input_ids == theirs(text, add_special_tokens=False).input_ids, text
        assert ours.decode(ours(text).input_ids) == theirs.decode(theirs(text).input_ids)


def test_llama_3_s_splits_as_its_own_pattern_and_begins_with_its_mark(tmp_path: Path) -> None:
    vocabulary, merges = trained()
    theirs = Tokenizer(models.BPE(vocabulary, merges, ignore_merges=True))
    theirs.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(LLAMA3), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    theirs.decoder = decoders.ByteLevel()
    ours = read_back(
        tmp_path,
        "gpt2",
        "llama-bpe",
        vocabulary,
        token_merges=[" ".join(merge) for merge in merges],
        bos_token_id=vocabulary["<s>"],
    )
    for text in TEXTS:
        assert ours(text).input_ids == [vocabulary["<s>"], *theirs.encode(text).ids], text
        assert ours(text, add_special_tokens=False).input_ids == theirs.encode(text).ids
    assert ours("<|eot_id|>", add_special_tokens=False).input_ids == [vocabulary["<|eot_id|>"]]


@pytest.mark.parametrize("words", list(gguf_tokenizer._KINDS))
def test_every_kind_gives_texts_back(words: str, tmp_path: Path) -> None:
    vocabulary, merges = trained()
    ours = read_back(tmp_path, "gpt2", words, vocabulary, token_merges=[" ".join(merge) for merge in merges])
    for text in (TEXTS[0], TEXTS[1], TEXTS[3]):
        assert ours.decode(ours(text, add_special_tokens=False).input_ids) == text


@pytest.mark.parametrize(("words", "split"), [("tekken", ["1", "2", "3", "4"]), ("llama-bpe", ["123", "4"])])
def test_digits_are_split_as_the_model_was_trained(words: str, split: list[str], tmp_path: Path) -> None:
    vocabulary, merges = trained()
    for joined in ("12", "123", "1234"):  # merges that only the pattern keeps from being used
        merges.append((joined[:-1], joined[-1]))
        vocabulary[joined] = len(vocabulary)
    ours = read_back(tmp_path, "gpt2", words, vocabulary, token_merges=[" ".join(merge) for merge in merges])
    assert ours.tokenize("1234") == split


def pieces() -> tuple[dict[str, int], list[float], list[gguf.TokenType]]:
    """A vocabulary of scored pieces, as SentencePiece's BPE mode makes them: the earlier merged, the better."""
    vocabulary: dict[str, int] = {"<unk>": 0}
    kinds = [gguf.TokenType.UNKNOWN]
    for token in SPECIAL:
        vocabulary[token] = len(vocabulary)
        kinds.append(gguf.TokenType.CONTROL)
    for byte in range(256):
        vocabulary[f"<0x{byte:02X}>"] = len(vocabulary)
        kinds.append(gguf.TokenType.BYTE)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=300))
    learned = json.loads(tokenizer.to_str())["model"]["vocab"]
    for token in sorted(learned, key=lambda token: (len(token) == 1, learned[token])):
        vocabulary.setdefault(token, len(vocabulary))
        kinds.append(gguf.TokenType.NORMAL)
    scores = [0.0] * 260 + [-float(i) for i in range(len(vocabulary) - 260)]
    return vocabulary, scores, kinds


def test_llama_2_s_is_transformers_own(tmp_path: Path) -> None:
    vocabulary, scores, kinds = pieces()
    scored = dict(zip(vocabulary, scores, strict=True))
    special = {token for token, kind in zip(vocabulary, kinds, strict=True) if kind != gguf.TokenType.NORMAL}
    theirs = LlamaTokenizer(vocab=vocabulary, merges=generate_merges(vocabulary, scored, special), bos_token="<s>")
    ours = read_back(
        tmp_path, "llama", None, vocabulary, token_scores=scores, types=kinds, bos_token_id=1, unk_token_id=0
    )
    for text in TEXTS:
        # SentencePiece puts a space before every text; this class of transformers does so unless there is one
        expected = theirs(text.lstrip(" "), add_special_tokens=False).input_ids
        spaces = [vocabulary["\u2581"]] * (len(text) - len(text.lstrip(" ")))
        assert ours(text).input_ids == [1, *spaces, *expected], text
        assert ours.decode(ours(text).input_ids, skip_special_tokens=True) == text
    assert ours("no ☃", add_special_tokens=False).input_ids[-3:] == [4 + byte for byte in "☃".encode()]


@settings(deadline=None)
@given(st.dictionaries(st.text("ab_", min_size=1, max_size=5), st.floats(-9, 9), max_size=30))
def test_merges_by_score_are_those_of_transformers(scores: dict[str, float]) -> None:
    vocabulary = {piece: i for i, piece in enumerate(scores)}
    assert merges_by_score(scores, vocabulary) == generate_merges(vocabulary, scores)


@settings(deadline=None, max_examples=50)
@given(text=st.text(max_size=40))
def test_any_text_is_the_same_tokens_in_both(text: str, both: tuple[Any, Any]) -> None:
    ours, theirs = both
    assert ours(text).input_ids == theirs(text).input_ids


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """Qwen2's, out of a file and transformers' own."""
    vocabulary, merges = trained()
    folder = tmp_path_factory.mktemp("both")
    ours = read_back(folder, "gpt2", "qwen2", vocabulary, token_merges=[" ".join(merge) for merge in merges])
    theirs = Qwen2Tokenizer(vocab=vocabulary, merges=merges)
    theirs.add_special_tokens({"additional_special_tokens": list(SPECIAL)})
    return ours, theirs
