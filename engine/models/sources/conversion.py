"""Turns a GGUF file into a standard Hugging Face folder, which transformers and vLLM open too.

Tensors are decoded piece by piece and written at once, so memory stays at a few megabytes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType

from engine.models.format.architecture import Architecture
from engine.models.format.gate import check_largest_id, check_tensors
from engine.models.format.manifest import FileRecord, Manifest, sha256_of
from engine.models.format.weight_files import StoredTensor
from engine.models.sources.gguf_config import config_of, hf_name, weights_of
from engine.models.sources.gguf_file import Bytes, GgufFile, GgufTensor, decode_bf16, piece_bytes
from engine.models.sources.gguf_tokenizer import stop_ids, write_tokenizer
from engine.models.sources.progress import Progress, silent

WEIGHTS_FILE = "model.safetensors"
_LONGEST_LICENCE = 100
"""Characters; a name, not its text."""
_PERMUTED = ("llama", "mistral")
"""Families whose files interleave the two halves of each head in q and k, for another way of rotating."""


def convert(
    source: Path, source_sha256: str, folder: Path, progress: Progress = silent, *, kept_as: str | None = None
) -> Manifest:
    """Write ``source`` (GGUF) into ``folder`` as config, bf16 safetensors, tokenizer and manifest.

    The manifest comes last: a folder without one is not a whole model.

    Args:
        source: the file.
        source_sha256: its hash.
        folder: empty, on any disk.
        progress: told how much is written.
        kept_as: the name under which the manifest says that the file is kept; by default its own.

    Raises:
        UnsupportedModelError: a family, tokenizer, encoding or tensor that is not known here.
        WeightsIntegrityError: ``source`` is damaged, or contradicts itself.
        OSError: the disk is full, or ``folder`` cannot be written.
    """
    gguf = GgufFile.open(source)
    config = checked_config(gguf)
    stops = checked_stop_ids(gguf, config)
    generation = {"eos_token_id": stops, "pad_token_id": config["pad_token_id"], "do_sample": False}
    _write_json(folder / "config.json", config)
    _write_json(folder / "generation_config.json", generation)
    write_tokenizer(gguf, folder)
    records = {path.name: FileRecord(path.stat().st_size, sha256_of(path)) for path in sorted(folder.iterdir())}
    records[WEIGHTS_FILE] = _write_weights(gguf, folder / WEIGHTS_FILE, progress)
    manifest = Manifest(
        source_file=kept_as or source.name,
        source_sha256=source_sha256,
        encodings=gguf.encodings,
        bits_per_weight=gguf.bits_per_weight,
        parameters=gguf.parameters,
        files=records,
        licence=licence_of(gguf),
    )
    manifest.write(folder)
    return manifest


def checked_config(gguf: GgufFile) -> dict[str, Any]:
    """The settings of the model, once it is sure that the file holds the tensors they promise. No weight is read.

    Raises:
        UnsupportedModelError: it does not run here.
        WeightsIntegrityError: the file contradicts itself.
    """
    config = config_of(gguf)
    found = {
        hf_name(tensor.name): StoredTensor(gguf.path, "BF16", tensor.shape, 0, 2 * tensor.elements)
        for tensor in weights_of(gguf)
    }
    check_tensors(gguf.path.name, Architecture.from_config(gguf.path.name, config), found)
    return config


def checked_stop_ids(gguf: GgufFile, config: Mapping[str, Any]) -> list[int]:
    """Ids that end an answer, once it is sure that the file's tokenizer is of a kind known here and suits its weights.

    Raises:
        UnsupportedModelError, WeightsIntegrityError: it is not, or does not.
    """
    stops = stop_ids(gguf)
    check_largest_id(gguf.path.name, len(gguf.metadata["tokenizer.ggml.tokens"]) - 1, config["vocab_size"])
    return stops


def licence_of(gguf: GgufFile) -> str | None:
    """The licence that a file names."""
    licence = gguf.metadata.get("general.license")
    return licence[:_LONGEST_LICENCE] if isinstance(licence, str) and licence else None


def _write_weights(gguf: GgufFile, path: Path, progress: Progress) -> FileRecord:
    """Stream every tensor into one safetensors file, and hash what is written."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    total = 0
    for tensor in weights_of(gguf):
        end = total + 2 * tensor.elements
        header[hf_name(tensor.name)] = {"dtype": "BF16", "shape": tensor.shape, "data_offsets": [total, end]}
        total = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)

    pieces = (piece for tensor in weights_of(gguf) for piece in _pieces(gguf, tensor))
    digest = hashlib.sha256()
    done = 0
    with path.open("wb") as file:

        def write(block: bytes) -> None:
            file.write(block)
            digest.update(block)

        write(len(text).to_bytes(8, "little"))
        write(text)
        for block in decode_bf16(pieces, threads=os.cpu_count() or 1):
            write(block)
            done += len(block)
            progress("Converting", done / total)
    return FileRecord(path.stat().st_size, digest.hexdigest())


def rows_as_trained(gguf: GgufFile, tensor: GgufTensor) -> Bytes:
    """All bytes of a tensor ``[rows, bytes of a row]``, its rows in the order of the original checkpoint.

    Raises:
        WeightsIntegrityError: the file became shorter.
    """
    parts = _heads(gguf, tensor) if _is_permuted(gguf, tensor) else iter([tensor.read()])
    return np.concatenate(list(parts), axis=None).reshape(tensor.shape[0], -1)


def _pieces(gguf: GgufFile, tensor: GgufTensor) -> Iterator[tuple[Bytes, GGMLQuantizationType]]:
    """The tensor's bytes in whole blocks, its rows in the order of the original checkpoint."""
    step = piece_bytes(tensor.encoding)
    if _is_permuted(gguf, tensor):
        for head in _heads(gguf, tensor):
            flat = head.reshape(-1)
            for begin in range(0, flat.size, step):
                yield flat[begin : begin + step], tensor.encoding
    else:
        for begin in range(0, tensor.entry.bytes, step):
            yield tensor.read(begin, min(step, tensor.entry.bytes - begin)), tensor.encoding


def _is_permuted(gguf: GgufFile, tensor: GgufTensor) -> bool:
    module = tensor.name.split(".")[-2]
    return gguf.metadata["general.architecture"] in _PERMUTED and module in ("attn_q", "attn_k")


def _heads(gguf: GgufFile, tensor: GgufTensor) -> Iterator[Bytes]:
    """The rows of a permuted tensor, head by head, put back. A row is a whole number of blocks, so this is done while
    they are still encoded."""
    family, module = gguf.metadata["general.architecture"], tensor.name.split(".")[-2]
    heads = gguf.metadata[f"{family}.attention.head_count"]
    if module == "attn_k":
        heads = gguf.metadata.get(f"{family}.attention.head_count_kv", heads)
    rows = tensor.shape[0] // heads
    row_bytes = tensor.entry.bytes // tensor.shape[0]
    for head in range(heads):
        raw = tensor.read(head * rows * row_bytes, rows * row_bytes)
        yield np.ascontiguousarray(raw.reshape(rows // 2, 2, row_bytes).swapaxes(0, 1))


def _write_json(path: Path, tree: dict[str, Any]) -> None:
    path.write_text(json.dumps(tree, indent=2) + "\n", "utf-8")
