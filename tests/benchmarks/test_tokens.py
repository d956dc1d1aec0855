"""What the token comparison counts, with stand-ins for the other tokenizer; what it has texts of."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pytest
from gguf import GGUFReader

from engine.models.sources.gguf_file import GgufFile
from engine.models.sources.gguf_tokenizer import write_tokenizer
from engine.models.tokenization.transformers_tokenizer import read_tokenizer
from tests.benchmarks import tokens
from tests.support.gguf_vocabularies import write_byte_level, write_sentence_pieces
from tests.support.varied_texts import varied_texts


def code_points(texts: Sequence[str]) -> list[list[int]]:
    return [list(map(ord, text)) for text in texts]


def composed(texts: Sequence[str]) -> list[list[int]]:
    return code_points([unicodedata.normalize("NFC", text) for text in texts])


def without_digits(texts: Sequence[str]) -> list[list[int]]:
    return [[point for point in points if chr(point) not in "0123456789"] for points in code_points(texts)]


def test_what_only_composing_tells_apart_is_counted_by_itself() -> None:
    found = tokens.compare(["plain", "cafe\u0301", "a1", "e\u03012"], composed, without_digits)
    assert (found.equal, found.composed) == (1, 1)
    assert found.others == ["a1", "e\u03012"]
    assert tokens.compare(["1", "2"], composed, composed).equal == 2


def test_the_corpus_is_the_same_every_time_and_has_every_kind() -> None:
    texts = tokens.corpus(20)
    assert texts == tokens.corpus(20)
    assert len(texts) == len(varied_texts(1)) + 1
    assert all(len(set(some)) > 9 for some in texts.values())
    assert any("<|im_end|>" in text for text in texts["control tokens"])
    assert all(text.encode() for some in texts.values() for text in some), "llama.cpp is given UTF-8"


@pytest.mark.parametrize("kind", ["llama", *tokens.BYTE_LEVEL])
def test_trained_vocabularies_are_read_as_files_of_their_kind(kind: str, tmp_path: Path) -> None:
    texts = [text for some in varied_texts(10).values() for text in some]
    path = tmp_path / "vocabulary.gguf"
    if kind == "llama":
        write_sentence_pieces(path, texts, space_prefix=True)
    else:
        write_byte_level(path, kind, texts)
    assert not GGUFReader(path).tensors
    write_tokenizer(GgufFile.open(path), tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    tokenizer = read_tokenizer(tmp_path)
    for text in ("the Quick 123", "  two\n"):
        assert tokenizer.decode(tokenizer.encode(text).ids, without_controls=True) == text


def test_without_llama_cpp_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tokens, "installed_peers", lambda: ["openvino-genai"])
    assert tokens.run(tmp_path, ()) == []
    assert "llama.cpp is not installed" in capsys.readouterr().out
