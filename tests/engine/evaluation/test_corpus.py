"""Corpora: what is read, what is refused, and how windows are cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.runs.prompts import load_prompts
from engine.errors import CorpusError
from engine.evaluation import Corpus, CorpusPrompt, Window, default_corpus, read_corpus
from engine.evaluation.corpus import text_windows


def written(tmp_path: Path, content: bytes, name: str = "corpus.txt") -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


def test_running_text_is_read_as_it_is(tmp_path: Path) -> None:
    corpus = read_corpus(written(tmp_path, "Ça va?\r\nYes.\n".encode()))
    assert corpus == Corpus(name="corpus.txt", text="Ça va?\r\nYes.\n")
    assert len(corpus.sha256) == 64


def test_the_identity_is_the_content_and_not_the_name(tmp_path: Path) -> None:
    first = read_corpus(written(tmp_path, b"one two", "a.txt"))
    second = read_corpus(written(tmp_path, b"\xef\xbb\xbfone two", "b.md"))
    other = read_corpus(written(tmp_path, b"one  two", "c.txt"))
    assert first.sha256 == second.sha256 != other.sha256


def test_prompts_are_read_from_json_lines(tmp_path: Path) -> None:
    lines = b'{"prompt": "Why?", "id": "x"}\n\n{"prompt": "How?", "system": "Be brief."}\n'
    corpus = read_corpus(written(tmp_path, lines, "p.jsonl"), name="Mine")
    assert corpus == Corpus(name="Mine", prompts=(CorpusPrompt("Why?"), CorpusPrompt("How?", "Be brief.")))
    request = corpus.prompts[1].request("smollm2-135m")
    assert [message.role for message in request.messages] == ["system", "user"]
    assert request.config.sampling.temperature == 0


def test_a_prompts_identity_tells_system_from_prompt() -> None:
    first = Corpus(name="a", prompts=(CorpusPrompt("b", "a"),))
    second = Corpus(name="a", prompts=(CorpusPrompt("a", "b"),))
    assert first.sha256 != second.sha256


def test_the_default_corpus_is_the_sample_prompts() -> None:
    corpus = default_corpus()
    assert [(p.prompt, p.system) for p in corpus.prompts] == [(p.prompt, p.system) for p in load_prompts()]


@pytest.mark.parametrize(
    ("content", "name", "says"),
    [
        (b"", "a.txt", "empty"),
        (b" \n\t\n", "a.txt", "empty"),
        (b"\n\n", "a.jsonl", "empty"),
        (b"some text\x00and more", "a.txt", "zero byte at character 9"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "a.txt", "not text in UTF-8"),
        (b"\xff\xfea\x00b\x00c", "a.txt", "not text in UTF-8"),
        (b"fine\ncaf\xe9", "a.txt", "byte 0xe9 in line 2"),
        (b"[" * 100_000, "a.jsonl", "Line 1: not JSON .it is nested more than"),
        (b'{"prompt": "x"}\n{"prompt": "x", "n": ' + b"9" * 5000 + b"}", "a.jsonl", "Line 2: .*larger than"),
        (b'{"prompt": "x"}\nhello', "a.jsonl", "Line 2"),
        (b'{"text": "x"}', "a.jsonl", "Line 1"),
        (b'{"prompt": "  "}', "a.jsonl", "Line 1"),
        (b'["prompt"]', "a.jsonl", "Line 1"),
        (b'{"prompt": "x", "system": 1}', "a.jsonl", "system"),
    ],
)
def test_what_is_no_corpus_is_refused_with_the_reason(tmp_path: Path, content: bytes, name: str, says: str) -> None:
    path = written(tmp_path, content, name)
    with pytest.raises(CorpusError, match=says) as refused:
        read_corpus(path)
    assert name in str(refused.value)


def test_lines_as_other_tools_write_them(tmp_path: Path) -> None:
    lines = '\ufeff{"prompt": "one\u2028two\u0085"}\r\n\r\n{"prompt": "half \\ud83d", "system": "nul \\u0000"}\r\n'
    corpus = read_corpus(written(tmp_path, lines.encode(), "a.jsonl"))
    assert corpus.prompts == (CorpusPrompt("one\u2028two\u0085"), CorpusPrompt("half \ufffd", "nul \ufffd"))
    assert len(corpus.sha256) == 64
    assert read_corpus(written(tmp_path, "Ça va?".encode("utf-16"))).text == "Ça va?"


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="No such file"):
        read_corpus(tmp_path / "nowhere.txt")
    with pytest.raises(CorpusError, match="directory"):
        read_corpus(tmp_path)


def test_windows_are_cut_as_llama_perplexity_does() -> None:
    ids = list(range(512 * 2 + 100))
    first, second = text_windows(ids, None)
    assert first.token_ids == tuple(range(512))
    assert second.token_ids == tuple(range(512, 1024))
    # its logits 256 to 510 predict tokens 257 to 511
    assert first.first_scored == 257
    assert first.scored == 255


def test_a_begin_mark_replaces_each_windows_first_token() -> None:
    ids = [7, *range(100, 100 + 1023)]
    first, second = text_windows(ids, 7)
    assert first.token_ids == tuple(ids[:512])
    assert second.token_ids == (7, *ids[513:1024])


@pytest.mark.parametrize("tokens", [0, 1, 511])
def test_less_than_a_window_is_refused_with_the_figures(tokens: int) -> None:
    with pytest.raises(CorpusError, match=f"has {tokens} tokens, and a window takes 512"):
        text_windows([1] * tokens, None)
    assert len(text_windows([1] * 512, None)) == 1


@pytest.mark.parametrize("first_scored", [0, 3, -1])
def test_a_window_scores_something_it_can_predict(first_scored: int) -> None:
    with pytest.raises(ValueError, match="scored"):
        Window((1, 2, 3), first_scored)
