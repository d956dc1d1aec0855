"""Which files hold a checkpoint's weights, and what their headers say. No weight is read.

The format: https://huggingface.co/docs/safetensors. A file begins with the length of its header (8 bytes, little
endian) and the header, JSON that gives each tensor's type, shape and place in the rest of the file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import UnsupportedModelError, WeightsIntegrityError
from engine.untrusted import parse_json, read_json_file

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"

FULL_PRECISION = {"BF16": 2, "F16": 2, "F32": 4}
"""Types of weights, and what an element takes."""
_PACKED = {"I32": 4, "U8": 1}
"""Types that codes of quantized weights are packed in."""
_LONGEST_HEADER = 100_000_000
"""Bytes; the limit of the safetensors library."""
_LONGEST_INDEX = 64 * 2**20
_COPY_AGAIN = "Copy or download the model again."


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor as a header describes it."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    begin: int
    """Its first byte in the file."""
    end: int

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


def weight_files(name: str, folder: Path) -> list[Path]:
    """The files that transformers would read: ``model.safetensors``, else the shards that the index names.

    Raises:
        UnsupportedModelError: there are no weights in safetensors.
        WeightsIntegrityError: a shard is missing, or the index is damaged.
    """
    single, index = folder / SINGLE_FILE, folder / INDEX_FILE
    if single.is_file():
        return [single]
    if index.is_file():
        files = [folder / shard for shard in sorted(set(_read_index(index).values()))]
        missing = [path.name for path in files if not path.is_file()]
        if missing:
            raise WeightsIntegrityError(
                f"{name} is incomplete: {_listed(missing)} of its {len(files):,} weights files "
                f"{'is' if len(missing) == 1 else 'are'} missing. Copy or download the rest."
            )
        return files
    others = sorted(path.name for path in folder.glob("*.safetensors"))
    if not others and (gguf := sorted(path.name for path in folder.glob("*.gguf"))):
        raise UnsupportedModelError(
            f"{name} has no weights in safetensors, and {_listed(gguf)} beside its config.json. Add that file as a "
            "model of its own, on the Models page or with: gearbox models add FILE.gguf"
        )
    if not others:
        raise UnsupportedModelError(f"{name} has no weights in safetensors, the one format that is read here.")
    raise WeightsIntegrityError(
        f"{name} has neither {SINGLE_FILE} nor {INDEX_FILE}, which says what {_listed(others)} "
        f"{'is' if len(others) == 1 else 'are'}. Give a single weights file that name, or copy the index too."
    )


def read_tensors(name: str, folder: Path, *, packed: bool = False) -> dict[str, StoredTensor]:
    """All tensors of a checkpoint by name, from the headers of its files.

    Args:
        name: what the user calls the model.
        folder: holds the files.
        packed: whether quantized weights may be among them.

    Raises:
        UnsupportedModelError: there are no weights in safetensors, or not in full precision.
        WeightsIntegrityError: a file is missing, damaged, truncated, or contradicts another.
    """
    try:
        return _read_tensors(name, folder, FULL_PRECISION | (_PACKED if packed else {}))
    except OSError as error:
        raise WeightsIntegrityError(f"{name}: its weights cannot be read: {error.strerror}. {_COPY_AGAIN}") from error


def _read_tensors(name: str, folder: Path, dtypes: Mapping[str, int]) -> dict[str, StoredTensor]:
    tensors: dict[str, StoredTensor] = {}
    files = weight_files(name, folder)
    for path in files:
        for tensor_name, tensor in _read_header(path, dtypes).items():
            if tensor_name in tensors:
                raise WeightsIntegrityError(
                    f"{tensor_name} stands both in {tensors[tensor_name].file.name} and in {path.name}. {_COPY_AGAIN}"
                )
            tensors[tensor_name] = tensor
    if files != [folder / SINGLE_FILE]:
        _check_index(folder / INDEX_FILE, tensors)
    return tensors


def _check_index(index: Path, tensors: Mapping[str, StoredTensor]) -> None:
    """Whether each shard holds what the index says, and nothing else."""
    named = _read_index(index)
    for tensor_name, shard in named.items():
        if tensor_name not in tensors or tensors[tensor_name].file.name != shard:
            raise WeightsIntegrityError(
                f"{index.name} says that {tensor_name} is in {shard}, where it is not. {_COPY_AGAIN}"
            )
    if unnamed := sorted(set(tensors) - set(named)):
        raise WeightsIntegrityError(
            f"{index.name} does not name {_listed(unnamed)}, which its files hold. {_COPY_AGAIN}"
        )


def _read_index(index: Path) -> dict[str, str]:
    """The shard of each tensor."""
    try:
        tree = read_json_file(index, _LONGEST_INDEX)
        named = tree.get("weight_map") if isinstance(tree, dict) else None
        if isinstance(tree, dict) and not isinstance(tree.get("metadata"), dict):
            raise ValueError("it has no metadata")
        if not isinstance(named, dict) or not named:
            raise ValueError("it has no weight_map")
        for shard in named.values():
            if not (isinstance(shard, str) and shard.endswith(".safetensors") and Path(shard).name == shard):
                raise ValueError(f"{shard!r:.80} is no name of a safetensors file beside it")
    except ValueError as error:
        raise WeightsIntegrityError(f"{index} is damaged ({error}). {_COPY_AGAIN}") from error
    return named


def _read_header(path: Path, dtypes: Mapping[str, int]) -> dict[str, StoredTensor]:
    """The tensors of a file, once it is sure that they fill it without gaps, as the format demands."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            if size < 8 or length > min(size - 8, _LONGEST_HEADER):
                raise ValueError("its header is longer than the file")
            header = parse_json(file.read(length))
            if not isinstance(header, dict):
                raise ValueError("its header is no JSON object")
            header.pop("__metadata__", None)
            tensors = {tensor: _stored(path, tensor, entry, 8 + length, dtypes) for tensor, entry in header.items()}
        except ValueError as error:
            raise WeightsIntegrityError(
                f"{path} is damaged: it does not begin as a safetensors file should ({error}). {_COPY_AGAIN}"
            ) from error
    expected = 8 + length
    for tensor_name, tensor in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        if tensor.begin != expected:
            raise WeightsIntegrityError(
                f"{path} is damaged: {tensor_name} does not begin where the tensor before it ends. {_COPY_AGAIN}"
            )
        expected = tensor.end
    if size != expected:
        raise WeightsIntegrityError(
            f"{path} was {'truncated' if size < expected else 'overwritten'}: it has {size:,} bytes and should have "
            f"{expected:,}. {_COPY_AGAIN}"
        )
    return tensors


def _stored(path: Path, name: str, entry: Any, data_at: int, dtypes: Mapping[str, int]) -> StoredTensor:
    """A header's entry, checked in itself.

    Raises:
        ValueError: it makes no sense.
        UnsupportedModelError: it is of a type that is not read.
    """
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [begin, end]}:
            if not all(type(count) is int and 0 <= count < 2**48 for count in (*shape, begin, end)):
                raise ValueError(f"{name} has an impossible shape or place")
        case _:
            raise ValueError(f"{name} is described by {entry!r:.80}")
    if dtype not in dtypes:
        raise UnsupportedModelError(
            f"{path.name} holds {name} as {dtype}, and weights are read as {', '.join(FULL_PRECISION)}. If the model "
            "is quantized already, its config.json must say how (quantization_config); or choose its full-precision "
            "checkpoint."
        )
    tensor = StoredTensor(path, dtype, tuple(shape), data_at + begin, data_at + end)
    if tensor.elements * dtypes[dtype] != end - begin:
        raise ValueError(f"{name} of shape {list(shape)} in {dtype} does not take {end - begin:,} bytes")
    return tensor


def _listed(names: list[str], most: int = 3) -> str:
    """The first few names."""
    rest = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
