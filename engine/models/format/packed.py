"""Which tensors of a quantized checkpoint stand for a weight, held against what its configuration promises.

Only headers are looked at here. What the tensors hold (groups that exist, the settings that bitsandbytes writes as a
tensor) is checked when they are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engine.errors import UnsupportedModelError, WeightsIntegrityError
from engine.models.format.gate import EMBEDDING
from engine.models.format.quantization import Method, Quantization
from engine.models.format.weight_files import FULL_PRECISION, StoredTensor

PER_WORD = 8
"""Codes of 4 bits in a word of 32."""
BLOCK_SIZES = (32, 64, 128, 256, 512, 1024, 2048, 4096)
"""Weights of one scale that bitsandbytes knows."""
LEVELS = 16
NESTED_LEVELS = 256
NF4_STATE = "weight.quant_state.bitsandbytes__nf4"
"""A tensor of bytes that are JSON."""
LARGEST_STATE = 4096
"""Bytes of that JSON."""

_COPY_AGAIN = "Copy or download the model again."
_FLOATS = tuple(FULL_PRECISION)


@dataclass(frozen=True, slots=True)
class Part:
    """One of the tensors that a weight is held in."""

    dtypes: tuple[str, ...]
    shape: tuple[int, ...]


def unpacked(
    name: str, quantization: Quantization, promised: Mapping[str, tuple[int, ...]], tensors: Mapping[str, StoredTensor]
) -> dict[str, StoredTensor]:
    """A checkpoint's tensors as they are once dequantized: one in full precision for those that stand for a weight.

    Args:
        name: what the user calls the model.
        quantization: how it is held.
        promised: shapes of all tensors of the model in full precision, by name.
        tensors: what the files hold.

    Raises:
        UnsupportedModelError: a tensor is neither a part of a quantized weight nor in full precision.
        WeightsIntegrityError: a weight is held in part, in another shape or type, or none is quantized.
    """
    left = dict(tensors)
    whole: dict[str, StoredTensor] = {}
    for weight, shape in promised.items():
        if len(shape) == 2 and weight != EMBEDDING and is_packed(quantization, weight, left):
            parts = _parts(name, quantization, weight, shape, left)
            first = left[next(iter(parts))]
            whole[weight] = StoredTensor(first.file, f"4-bit {quantization.method}", shape, first.begin, first.end)
            for part in parts:
                del left[part]
            bias = f"{_module(weight)}.bias"
            # AutoGPTQ once gave every matrix a bias; whether it is zeros is checked when it is read
            if quantization.method is Method.GPTQ and bias not in promised and _is_vector(left.get(bias), shape[0]):
                del left[bias]
    if not whole:
        raise WeightsIntegrityError(
            f"{name}: config.json says that it is quantized with {quantization.method}, and none of its weights is. "
            f"{_COPY_AGAIN}"
        )
    for tensor, stored in left.items():
        if stored.dtype not in FULL_PRECISION:
            raise UnsupportedModelError(
                f"{name}: {tensor} is held as {stored.dtype}, which belongs to no weight that is quantized with "
                f"{quantization.method}."
            )
    return left | whole


def is_packed(quantization: Quantization, weight: str, tensors: Mapping[str, StoredTensor]) -> bool:
    """Whether a weight is held quantized, or in part: some matrices are left in full precision."""
    module = _module(weight)
    if quantization.method is Method.NF4:
        is_bytes = weight in tensors and tensors[weight].dtype == "U8"
        return is_bytes or f"{weight}.absmax" in tensors or f"{module}.{NF4_STATE}" in tensors
    return any(f"{module}.{part}" in tensors for part in ("qweight", "qzeros", "scales"))


def _is_vector(tensor: StoredTensor | None, length: int) -> bool:
    return tensor is not None and tensor.shape == (length,)


def _module(weight: str) -> str:
    return weight.removesuffix(".weight")


def _parts(
    name: str,
    quantization: Quantization,
    weight: str,
    shape: tuple[int, ...],
    tensors: Mapping[str, StoredTensor],
) -> list[str]:
    """Names of the tensors of a weight, the codes first, once each is as it has to be."""
    rows, in_features = shape
    module = _module(weight)
    match quantization.method:
        case Method.AWQ:
            wanted = _awq_parts(name, weight, rows, in_features, quantization.group_size or in_features)
        case Method.GPTQ:
            wanted = _gptq_parts(name, weight, rows, in_features, quantization.group_size or in_features)
            if not quantization.act_order and f"{module}.g_idx" not in tensors:
                del wanted["g_idx"]  # groups lie side by side then
        case Method.NF4:
            wanted = _nf4_parts(name, weight, rows * in_features, tensors)
    for suffix, part in wanted.items():
        found = tensors.get(f"{module}.{suffix}")
        if found is None:
            raise WeightsIntegrityError(
                f"{name}: {module}.{suffix} is missing, without which {weight} cannot be dequantized. {_COPY_AGAIN}"
            )
        if found.shape != part.shape or found.dtype not in part.dtypes:
            raise WeightsIntegrityError(
                f"{name}: {module}.{suffix} has the shape {list(found.shape)} in {found.dtype}, and config.json "
                f"promises {list(part.shape)} in {' or '.join(part.dtypes)}. {_COPY_AGAIN}"
            )
    return [f"{module}.{suffix}" for suffix in wanted]


def _awq_parts(name: str, weight: str, rows: int, in_features: int, group: int) -> dict[str, Part]:
    _check_divides(name, weight, rows, in_features, group)
    groups, words = in_features // group, rows // PER_WORD
    return {
        "qweight": Part(("I32",), (in_features, words)),
        "qzeros": Part(("I32",), (groups, words)),
        "scales": Part(_FLOATS, (groups, rows)),
    }


def _gptq_parts(name: str, weight: str, rows: int, in_features: int, group: int) -> dict[str, Part]:
    _check_divides(name, weight, rows, in_features, PER_WORD)
    groups = -(-in_features // group)
    return {
        "qweight": Part(("I32",), (in_features // PER_WORD, rows)),
        "qzeros": Part(("I32",), (groups, rows // PER_WORD)),
        "scales": Part(_FLOATS, (groups, rows)),
        "g_idx": Part(("I32",), (in_features,)),
    }


def _check_divides(name: str, weight: str, rows: int, in_features: int, inputs: int) -> None:
    if rows % PER_WORD or in_features % inputs:
        raise UnsupportedModelError(
            f"{name}: {weight} of shape [{rows}, {in_features}] does not divide into words of {PER_WORD} codes and "
            f"groups of {inputs} inputs."
        )


def _nf4_parts(name: str, weight: str, elements: int, tensors: Mapping[str, StoredTensor]) -> dict[str, Part]:
    absmax = tensors.get(f"{weight}.absmax")
    state = tensors.get(f"{_module(weight)}.{NF4_STATE}")
    counts = {-(-elements // size) for size in BLOCK_SIZES}
    blocks = absmax.elements if absmax and absmax.elements in counts else min(counts)
    state_bytes = min(state.elements, LARGEST_STATE) if state else 0
    wanted = {
        "weight": Part(("U8",), (-(-elements // 2), 1)),
        "weight.absmax": Part(("F32",), (blocks,)),
        "weight.quant_map": Part(("F32",), (LEVELS,)),
        NF4_STATE: Part(("U8",), (state_bytes,)),
    }
    if absmax and absmax.dtype == "U8":
        nested = tensors.get(f"{weight}.nested_absmax")
        outer = {-(-blocks // size) for size in BLOCK_SIZES}
        wanted["weight.absmax"] = Part(("U8",), (blocks,))
        wanted["weight.nested_absmax"] = Part(
            ("F32",), (nested.elements if nested and nested.elements in outer else min(outer),)
        )
        wanted["weight.nested_quant_map"] = Part(("F32",), (NESTED_LEVELS,))
    return wanted
