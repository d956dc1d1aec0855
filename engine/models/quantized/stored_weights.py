"""A checkpoint's tensors, read from its safetensors one by one: dequantized where another tool quantized them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import safe_open
from torch import Tensor

from engine.errors import WeightsIntegrityError
from engine.models.format.packed import is_packed, unpacked
from engine.models.format.quantization import Method, Quantization
from engine.models.format.weight_files import StoredTensor
from engine.models.quantized.integers import IntegerCodes, awq_codes, gptq_codes
from engine.models.quantized.normal_floats import dequantize_nf4
from engine.quantization import GroupCodes


class StoredWeights:
    """Tensors by name. As a context manager, it closes the files."""

    def __init__(
        self,
        name: str,
        files: Sequence[Path],
        shapes: Mapping[str, tuple[int, ...]],
        quantization: Quantization | None = None,
    ) -> None:
        """
        Args:
            name: what the user calls the model.
            files: the checkpoint's safetensors.
            shapes: that the configuration promises, by name.
            quantization: how matrices are held; ``None`` in full precision.

        Raises:
            SafetensorError: a file cannot be read.
            WeightsIntegrityError, UnsupportedModelError: what stands for a weight is not as promised.
        """
        self._shapes = shapes
        self._quantization = quantization
        self._readers = [safe_open(file, framework="pt") for file in files]
        self._where: dict[str, Any] = {name: reader for reader in self._readers for name in reader.keys()}  # noqa: SIM118 (not a dict)
        self._packed: set[str] = set()
        if quantization:
            # looked at again, of the very files that are open: they may have been replaced since they were checked
            headers = {tensor: _header(reader, tensor) for tensor, reader in self._where.items()}
            unpacked(name, quantization, shapes, headers)
            matrices = [tensor for tensor, shape in shapes.items() if len(shape) == 2]
            self._packed = {tensor for tensor in matrices if is_packed(quantization, tensor, headers)}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._where = {}
        for reader in self._readers:
            reader.__exit__(*error)

    def read(self, name: str) -> Tensor:
        """A tensor in bf16.

        Raises:
            UnsupportedModelError: it is quantized in another way than its configuration says.
            WeightsIntegrityError: it is missing, of another shape than promised, or holds what is no finite number.
        """
        tensor = self._dequantized(name) if name in self._packed else self._in_full(name)
        if not bool(torch.isfinite(tensor).all()):
            raise WeightsIntegrityError(
                f"{name} of this model holds a value that is not a finite number: the checkpoint is damaged."
            )
        return tensor

    def find(self, name: str, shape: Sequence[int]) -> GroupCodes | None:
        """Codes of a weight as int4 takes them over; ``None`` if it is held otherwise.

        Raises:
            WeightsIntegrityError: as :meth:`read`.
        """
        if name not in self._packed or not self._quantization or self._quantization.method is Method.NF4:
            return None
        return self._integers(name, self._quantization).in_groups()

    def _in_full(self, name: str) -> Tensor:
        tensor = self._tensor(name)
        if tuple(tensor.shape) != self._shapes[name]:  # the file was replaced since its header was checked
            raise WeightsIntegrityError(
                f"{name} has the shape {list(tensor.shape)}, and config.json promises {list(self._shapes[name])}."
            )
        return tensor.to(torch.bfloat16)

    def _dequantized(self, name: str) -> Tensor:
        assert self._quantization
        if self._quantization.method is Method.NF4:
            return dequantize_nf4(name, self._shapes[name], self._tensor)
        self._check_empty_bias(f"{name.removesuffix('.weight')}.bias")
        return self._integers(name, self._quantization).dequantize()

    def _integers(self, name: str, quantization: Quantization) -> IntegerCodes:
        module = name.removesuffix(".weight")
        words, zeros, scales = (self._tensor(f"{module}.{part}") for part in ("qweight", "qzeros", "scales"))
        if quantization.method is Method.AWQ:
            return awq_codes(words, zeros, scales)
        g_idx = self._tensor(f"{module}.g_idx") if f"{module}.g_idx" in self._where else None
        return gptq_codes(name, words, zeros, scales, g_idx, quantization.zero_offset, quantization.group_size)

    def _check_empty_bias(self, bias: str) -> None:
        """Refuse a bias that the model has no place for, unless it adds nothing."""
        if bias in self._where and bias not in self._shapes and bool(self._tensor(bias).any()):
            raise WeightsIntegrityError(f"{bias} is not zero, and the model has no bias there: it would be ignored.")

    def _tensor(self, name: str) -> Tensor:
        if name not in self._where:
            raise WeightsIntegrityError(f"The checkpoint has no tensor {name}. Copy or download the model again.")
        tensor: Tensor = self._where[name].get_tensor(name)
        return tensor


def _header(reader: Any, name: str) -> StoredTensor:
    described = reader.get_slice(name)
    return StoredTensor(Path(), described.get_dtype(), tuple(described.get_shape()), 0, 0)
