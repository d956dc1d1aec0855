"""GGUF files that are broken or mean harm are refused in a sentence, within bounds of memory and time."""

from __future__ import annotations

import math
import struct
import tracemalloc
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from gguf import GGMLQuantizationType, GGUFValueType
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from engine.errors import GearboxError, UnsupportedModelError, WeightsIntegrityError
from engine.models.own.add import add
from engine.models.own.summary import look_at
from engine.models.sources.conversion import convert
from engine.models.sources.gguf_header import read_head
from tests.support.gguf_files import tiny_gguf, write_gguf_of

REFUSED = (UnsupportedModelError, WeightsIntegrityError)
U32, F32, TEXT, LIST = GGUFValueType.UINT32, GGUFValueType.FLOAT32, GGUFValueType.STRING, GGUFValueType.ARRAY


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def entry(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def tensor(name: str, shape: tuple[int, ...], kind: int = 0, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def head(*entries: bytes, tensors: tuple[bytes, ...] = (), counts: tuple[int, int] | None = None) -> bytes:
    tensor_count, entry_count = counts or (len(tensors), len(entries))
    return b"GGUF" + struct.pack("<IQQ", 3, tensor_count, entry_count) + b"".join((*entries, *tensors))


BROKEN = {
    "empty": (b"", "is not a GGUF file"),
    "of another kind": (b"PK\x03\x04" + bytes(100), "is not a GGUF file"),
    "of version 1": (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "of version 1"),
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
    "cut in its head": (b"GGUF\x03", "cut short"),
    "a billion tensors": (head(counts=(10**9, 0)) + bytes(1000), "claims 1,000,000,000 tensors"),
    "a billion keys": (head(counts=(0, 10**9)) + bytes(1000), "claims 1,000,000,000 keys"),
    "a text of 2 GB": (head(struct.pack("<Q", 2 * 2**30) + bytes(9), counts=(0, 1)), "would be 2,147,483,648 bytes"),
    "a text of 2**64": (head(struct.pack("<Q", 2**64 - 1) + bytes(9), counts=(0, 1)), "would be 18,446"),
    "a list of 10^12": (head(entry("k", LIST, struct.pack("<IQ", U32, 10**12))), "claims 1,000,000,000,000 numbers"),
    "texts without end": (head(entry("k", LIST, struct.pack("<IQ", TEXT, 10**7))), "claims 10,000,000 texts"),
    "a list of lists": (head(entry("k", LIST, struct.pack("<IQ", LIST, 1)) + bytes(99)), "a list of lists"),
    "an unknown kind": (head(entry("k", 77, bytes(8))), "unknown kind 77"),
    "no UTF-8": (head(entry("k", TEXT, text(b"\xff\xfe"))), "not UTF-8"),
    "a key twice": (head(entry("k", U32, bytes(4)), entry("k", U32, bytes(4))), "holds 'k' twice"),
    "alignment 0": (head(entry("general.alignment", U32, bytes(4))), "general.alignment is 0"),
    "alignment 2**31": (head(entry("general.alignment", U32, struct.pack("<I", 2**31))), "general.alignment"),
    "alignment a text": (head(entry("general.alignment", TEXT, text("32"))), "general.alignment"),
    "an unknown type": (head(tensors=(tensor("t", (4,), 999),)) + bytes(999), "not known here .type 999"),
    "a removed type": (head(tensors=(tensor("t", (4,), 4),)) + bytes(999), "not known here .type 4"),
    "no dimension": (head(tensors=(tensor("t", ()),)) + bytes(999), "0 dimensions"),
    "many dimensions": (head(tensors=(tensor("t", (1,) * 9),)) + bytes(999), "9 dimensions"),
    "a dimension of 0": (head(tensors=(tensor("t", (0, 4)),)) + bytes(999), "impossible shape"),
    "2**64 rows": (head(tensors=(tensor("t", (4, 2**64 - 1)),)) + bytes(999), "impossible shape"),
    "part of a block": (head(tensors=(tensor("t", (33,), 2),)) + bytes(999), "impossible shape"),
    "past the end": (head(tensors=(tensor("t", (4_000,)),)) + bytes(999), "runs past its end"),
    "an offset of 2**63": (head(tensors=(tensor("t", (4,), 0, 2**63),)) + bytes(999), "runs past its end"),
    "an odd offset": (head(tensors=(tensor("t", (4,), 0, 7),)) + bytes(999), "multiple of 32"),
    "a tensor twice": (head(tensors=(tensor("t", (4,)), tensor("t", (4,), 0, 32))) + bytes(999), "holds 't' twice"),
    "one over others": (head(tensors=(tensor("t", (64,)), tensor("u", (4,), 0, 32))) + bytes(999), "lies over 't'"),
}  # fmt: skip


@pytest.mark.parametrize("kind", list(BROKEN))
def test_a_broken_file_is_refused_and_says_why(kind: str, tmp_path: Path) -> None:
    content, why = BROKEN[kind]
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(REFUSED, match=rf"model\.gguf.*{why}"):
        look_at(path)


def test_little_is_read_and_kept_of_a_file_that_claims_much(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    with path.open("wb") as file:  # sparse: 40 GB that take no room
        file.write(head(entry("k", LIST, struct.pack("<IQ", TEXT, 2**17)), counts=(60_000, 16_000)))
        file.truncate(40 * 2**30)
    tracemalloc.start()
    with pytest.raises(REFUSED):
        look_at(path)
    assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
    tracemalloc.stop()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that can be added, beside its checkpoint."""
    path = tmp_path_factory.mktemp("whole") / "tiny.gguf"
    tiny_gguf(path, "llama", "Q8_0")
    return path


@pytest.mark.parametrize("kept", [0.0001, 0.02, 0.2, 0.5, 0.999])
def test_a_file_cut_short_is_refused(kept: float, whole: Path, tmp_path: Path) -> None:
    content = whole.read_bytes()
    (tmp_path / "model.gguf").write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(REFUSED, match=r"model\.gguf"):
        look_at(tmp_path / "model.gguf")


CONTRADICTIONS: dict[str, tuple[Any, str]] = {
    "llama.block_count": (3, r"model.layers.2.*is missing"),
    "llama.attention.head_count": (3, "no multiple"),
    "llama.attention.head_count_kv": (4, "k_proj.weight has the shape"),
    "llama.feed_forward_length": (96, "has the shape"),
    "llama.embedding_length": (32, "embedding_length"),
    "llama.context_length": (0, "whole number from 1 up"),
    "llama.attention.layer_norm_rms_epsilon": (math.nan, "must be a number above 0, and is nan"),
    "llama.rope.freq_base": (math.inf, "must be a number above 0"),
    "llama.rope.dimension_count": (8, "rope.dimension_count"),
    "llama.rope.scaling.type": ("longrope", "longrope"),
    "llama.expert_count": (8, "mixture of 8 experts"),
    "llama.vocab_size": (99, "vocab_size"),
    "general.architecture": ("gemma3", "family gemma3.*llama, mistral, qwen2, qwen3"),
    "tokenizer.ggml.pre": ("deepseek-v3", "deepseek-v3"),
    "tokenizer.ggml.model": ("bert", "bert"),
    "tokenizer.ggml.eos_token_id": (70_000, "70000"),
    "tokenizer.chat_template": (7, "chat template"),
    "tokenizer.ggml.token_type": ([1, 2], "a known type"),
    "tokenizer.ggml.tokens": ([1, 2], "no list of texts"),
    "tokenizer.ggml.merges": (["zzz yyy"], "no tokens"),
}


@pytest.mark.parametrize("key", list(CONTRADICTIONS))
def test_metadata_that_does_not_suit_the_weights_is_refused(key: str, whole: Path, tmp_path: Path) -> None:
    value, why = CONTRADICTIONS[key]
    replace_entry(whole, tmp_path / "model.gguf", key, value)
    with pytest.raises(REFUSED, match=why):
        add(tmp_path / "model.gguf", tmp_path / "models")
    assert not [path for path in (tmp_path / "models").glob("*") if path.suffix != ".lock"]


def replace_entry(source: Path, target: Path, key: str, value: Any) -> None:
    """A copy of a file with another value, or one more, in its metadata."""
    from gguf import GGUFReader, GGUFWriter

    from tests.support.gguf_files import add_entry

    reader = GGUFReader(source)
    fields = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    fields[key] = value
    writer = GGUFWriter(target, fields.pop("general.architecture"))
    for name, contents in fields.items():
        add_entry(writer, name, contents)
    for part in reader.tensors:
        writer.add_tensor(part.name, part.data, raw_dtype=part.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_more_tokens_than_the_embedding_has_rows_are_refused_before_anything_is_written(
    whole: Path, tmp_path: Path
) -> None:
    replace_entry(whole, tmp_path / "one.gguf", "tokenizer.ggml.tokens", [f"t{i}" for i in range(400)])
    replace_entry(tmp_path / "one.gguf", tmp_path / "model.gguf", "tokenizer.ggml.token_type", [1] * 400)
    with pytest.raises(WeightsIntegrityError, match="a token with the id 399, and its embedding ends at 383"):
        look_at(tmp_path / "model.gguf")


def test_an_encoding_that_is_not_read_is_named(tmp_path: Path) -> None:
    folder = tiny_gguf(tmp_path / "tiny.gguf", "llama", "Q8_0")
    write_gguf_of(folder, tmp_path / "other.gguf", GGMLQuantizationType.Q5_1.name)
    with pytest.raises(UnsupportedModelError, match=r"in Q5_1, and these encodings are read: F32, F16, .*Q4_0"):
        look_at(tmp_path / "other.gguf")


def test_weights_that_are_no_numbers_are_refused(whole: Path, tmp_path: Path) -> None:
    _, table = read_head(whole)
    content = bytearray(whole.read_bytes())
    place = next(part.begin for part in table if part.name == "blk.1.ffn_down.weight")
    content[place : place + 2] = b"\x00\x7e"  # a scale of NaN
    (tmp_path / "model.gguf").write_bytes(content)
    with pytest.raises(WeightsIntegrityError, match="not finite numbers"):
        add(tmp_path / "model.gguf", tmp_path / "models")
    assert [path.name for path in (tmp_path / "models").iterdir()] == [".adding.lock"]


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_bytes_are_changed_a_file_is_refused_or_read(whole: Path, data: st.DataObject) -> None:
    content = bytearray(whole.read_bytes())
    end = min(entry.begin for entry in read_head(whole)[1])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, end - 1))
        run = data.draw(st.binary(min_size=1, max_size=8))
        content[at : at + len(run)] = run
    refused_or_read(whole, bytes(content))


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=400))
@example(b"")
def test_any_head_is_refused_or_read(whole: Path, tail: bytes) -> None:
    refused_or_read(whole, b"GGUF" + struct.pack("<IQQ", 3, 2, 2) + tail)


def refused_or_read(beside: Path, content: bytes) -> None:
    """Nothing but an error that is meant for the user comes out."""
    path = beside.with_name("changed.gguf")
    path.write_bytes(content)
    with suppress(GearboxError), TemporaryDirectory() as folder:
        convert(look_at(path).path, "", Path(folder))
