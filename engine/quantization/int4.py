"""4-bit integers in groups of 32, each with a scale and a minimum: our own kernel, torch's, or torch's for CUDA."""

from __future__ import annotations

from functools import cache
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.native.kernels import Kind
from engine.quantization.bf16 import Bf16Linear, NativeBf16Linear
from engine.quantization.groups import GROUP_SIZE, GroupCodes, fits, quantize_groups
from engine.quantization.int8 import Int8Linear, NativeInt8Linear
from engine.quantization.linear import optional_bias
from engine.quantization.native import PANEL, NativeLinear, by_panel, nibbles
from engine.quantization.scheme import Scheme, Schemes

MIN_ROWS_DEQUANTIZED = 96
"""From this many rows on, unpacking to bf16 and one GEMM beat the 4-bit kernel (measured)."""


class Int4Linear:
    """torch's weight-only int4 kernel for CPU: ``w = (code − 8) · scale + zero``."""

    def __init__(self, packed: Tensor, scales_zeros: Tensor, bias: Tensor | None) -> None:
        self.packed = packed
        self.scales_zeros = scales_zeros
        self.bias = bias
        block = _packed_block()
        self._block = block if block and scales_zeros.shape[1] % block == 0 else None

    @classmethod
    def fits(cls, out_features: int, in_features: int) -> bool:
        return fits(out_features, in_features, 16)

    @classmethod
    def pack(cls, weight: Tensor, bias: Tensor | None, codes: GroupCodes | None = None) -> Self:
        codes = codes or quantize_groups(weight)
        packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes.codes.to(torch.int32), 1)
        # the kernel adds its zero at code 8, so zero is the level in the middle of the grid
        zero = codes.minimum + 8 * codes.scale
        scales_zeros = torch.stack([codes.scale, zero], dim=-1).to(torch.bfloat16).transpose(0, 1).contiguous()
        return cls(packed, scales_zeros, None if bias is None else bias.to(torch.bfloat16))

    @classmethod
    def from_state(cls, state: dict[str, Tensor]) -> Self:
        return cls(state["packed"], state["scales_zeros"], state.get("bias"))

    def state(self) -> dict[str, Tensor]:
        return {"packed": self.packed, "scales_zeros": self.scales_zeros, **optional_bias(self.bias)}

    def __call__(self, x: Tensor) -> Tensor:
        if self._block and x.shape[0] >= MIN_ROWS_DEQUANTIZED:
            y = x @ self.dequantize_transposed()
        else:
            y = torch.ops.aten._weight_int4pack_mm_for_cpu(x.contiguous(), self.packed, GROUP_SIZE, self.scales_zeros)
        return y if self.bias is None else y + self.bias

    def dequantize_transposed(self) -> Tensor:
        """The weights the codes stand for, bf16 ``[in, out]``.

        Raises:
            ValueError: out does not divide by the packed block.
        """
        if self._block is None:
            raise ValueError("only whole blocks of rows can be unpacked")
        groups, out_features, _ = self.scales_zeros.shape
        in_features = groups * GROUP_SIZE
        codes = _unpack(self.packed, out_features, in_features, self._block).view(groups, GROUP_SIZE, out_features)
        # made dense first: broadcasting from every other element is several times slower
        scale, zero = self.scales_zeros[..., 0].contiguous(), self.scales_zeros[..., 1].contiguous()
        # one rounding at the end, as in the kernel, which does this in fp32
        weight = torch.addcmul(zero[:, None], codes.to(torch.bfloat16).sub_(8), scale[:, None])
        return weight.view(in_features, out_features)

    @classmethod
    def estimate_bytes(cls, out_features: int, in_features: int) -> int:
        return out_features * in_features // 2 + 4 * out_features * (in_features // GROUP_SIZE)


def _unpack(packed: Tensor, out_features: int, in_features: int, block: int) -> Tensor:
    """Codes as uint8 ``[in, out]`` from blocks of rows whose first half sits in the low nibbles."""
    blocks = packed.view(out_features // block, in_features, block // 2)
    codes = torch.empty((in_features, out_features // block, 2, block // 2), dtype=torch.uint8)
    torch.bitwise_and(blocks, 15, out=codes[:, :, 0].transpose(0, 1))
    torch.bitwise_right_shift(blocks, 4, out=codes[:, :, 1].transpose(0, 1))
    return codes.view(in_features, out_features)


@cache
def _packed_block() -> int | None:
    """Rows that the kernel packs together, which depends on the processor: 64 with AVX-512, else 32.

    Found by packing a matrix and looking which reading gives it back; ``None`` if neither does, and
    then prefill stays on the 4-bit kernel.
    """
    codes = torch.arange(128 * GROUP_SIZE, dtype=torch.int32).view(128, GROUP_SIZE).mul_(7).remainder_(16)
    packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes, 1)
    for block in (64, 32):
        if torch.equal(_unpack(packed, 128, GROUP_SIZE, block).T, codes.to(torch.uint8)):
            return block
    return None


class NativeInt4Linear(NativeLinear):
    """Groups of 32 codes with a scale and a minimum each, in fp16."""

    kind = Kind.INT4
    group_bytes = 160

    @classmethod
    def pack(cls, weight: Tensor, bias: Tensor | None, codes: GroupCodes | None = None) -> Self:
        codes = codes or quantize_groups(weight)
        scales = [by_panel(part) for part in (codes.scale, codes.minimum)]
        return cls(torch.cat([nibbles(codes.codes), *scales], dim=-1), None, bias)

    def codes(self) -> GroupCodes:
        """The codes as they were packed."""
        nibbles = self.data[..., :128].reshape(*self.data.shape[:2], 4, PANEL, 4)
        halves = torch.stack([nibbles & 15, nibbles >> 4], dim=2)  # [panel, group, half, register, output, byte]
        codes = halves.permute(0, 4, 1, 2, 3, 5).reshape(self.out_features, self.in_features)
        scale, minimum = (
            self.data[..., at : at + 16].contiguous().view(torch.half).transpose(1, 2).reshape(self.out_features, -1)
            for at in (128, 144)
        )
        return GroupCodes(codes, scale.float(), minimum.float())


class PlainInt4Linear:
    """``w = (code − 8) · scale + zero`` in groups of 32, dequantized for every product."""

    def __init__(self, packed: Tensor, scales_zeros: Tensor, bias: Tensor | None) -> None:
        """
        Args:
            packed: uint8 ``[out, in / 2]``, the first of two codes in the high half.
            scales_zeros: bf16 ``[in / 32, out, 2]``.
            bias: bf16 ``[out]``.
        """
        self.packed = packed
        self.scales_zeros = scales_zeros
        self.bias = bias

    @classmethod
    def fits(cls, out_features: int, in_features: int) -> bool:
        return fits(out_features, in_features, 8)

    @classmethod
    def pack(cls, weight: Tensor, bias: Tensor | None, codes: GroupCodes | None = None) -> Self:
        codes = codes or quantize_groups(weight)
        zero = codes.minimum + 8 * codes.scale
        scales_zeros = torch.stack([codes.scale, zero], dim=-1).to(torch.bfloat16).transpose(0, 1).contiguous()
        nibbles = codes.codes[:, ::2] << 4 | codes.codes[:, 1::2]
        return cls(cls._arranged(nibbles), scales_zeros, None if bias is None else bias.to(torch.bfloat16))

    @classmethod
    def from_state(cls, state: dict[str, Tensor]) -> Self:
        return cls(state["packed"], state["scales_zeros"], state.get("bias"))

    def state(self) -> dict[str, Tensor]:
        return {"packed": self.packed, "scales_zeros": self.scales_zeros, **optional_bias(self.bias)}

    @staticmethod
    def _arranged(nibbles: Tensor) -> Tensor:
        """uint8 ``[out, in / 2]`` in the kernel's layout, which here is none."""
        return nibbles

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self.dequantize(), self.bias)

    def dequantize(self) -> Tensor:
        """The weights the codes stand for, bf16 ``[out, in]``."""
        codes = torch.stack([self.packed >> 4, self.packed & 15], dim=-1).view(len(self.packed), -1, GROUP_SIZE)
        scale, zero = self.scales_zeros.transpose(0, 1)[..., None].unbind(-2)
        return torch.addcmul(zero, codes.to(torch.bfloat16) - 8, scale).reshape(len(self.packed), -1)

    @classmethod
    def estimate_bytes(cls, out_features: int, in_features: int) -> int:
        return out_features * in_features // 2 + 4 * out_features * (in_features // GROUP_SIZE)


class TinyGemmInt4Linear(PlainInt4Linear):
    """The same weights through torch's int4 kernel for CUDA, which reads a layout of its own."""

    @staticmethod
    def _arranged(nibbles: Tensor) -> Tensor:
        in_features = 2 * nibbles.shape[1]
        inner_tiles = next(tiles for tiles in (8, 4, 2) if in_features % (16 * tiles) == 0)
        packed: Tensor = torch.ops.aten._convert_weight_to_int4pack(nibbles.contiguous(), inner_tiles)
        return packed

    def __call__(self, x: Tensor) -> Tensor:
        y: Tensor = torch.ops.aten._weight_int4pack_mm(x.contiguous(), self.packed, GROUP_SIZE, self.scales_zeros)
        return y if self.bias is None else y + self.bias

    def dequantize(self) -> Tensor:
        """What the kernel multiplies by, found by multiplying the identity: slow, for tests."""
        in_features = GROUP_SIZE * len(self.scales_zeros)
        eye = torch.eye(in_features, dtype=torch.bfloat16, device=self.packed.device)
        columns: Tensor = torch.ops.aten._weight_int4pack_mm(eye, self.packed, GROUP_SIZE, self.scales_zeros)
        return columns.T


@cache
def tinygemm_works(device: torch.device) -> bool:
    """Whether torch's int4 kernel multiplies here, and by the weights it was given: tried in each of its layouts."""
    generator = torch.Generator().manual_seed(0)
    for in_features in (96, 192, 256):
        weight = torch.randn(64, in_features, generator=generator).to(device, torch.bfloat16)
        x = torch.randn(3, in_features, generator=generator).to(device, torch.bfloat16)
        wanted = PlainInt4Linear.pack(weight, None)(x).float()
        try:
            got = TinyGemmInt4Linear.pack(weight, None)(x).float()
        except (RuntimeError, NotImplementedError):  # a GPU before Ampere, or another torch
            return False
        if not (got - wanted).norm() < 0.02 * wanted.norm():
            return False
    return True


def _cuda(device: torch.device) -> Scheme:
    if tinygemm_works(device):
        return Scheme(TinyGemmInt4Linear, Bf16Linear, Bf16Linear, "torch int4pack", keeps_codes=True)
    return Scheme(PlainInt4Linear, Bf16Linear, Bf16Linear, "int4 dequantized, torch bf16", keeps_codes=True)


SCHEMES = Schemes(
    own=lambda: Scheme(NativeInt4Linear, NativeInt8Linear, NativeBf16Linear, "gearbox", native=True, keeps_codes=True),
    cpu=lambda: Scheme(Int4Linear, Int8Linear, Bf16Linear, "torch int4pack", keeps_codes=True),
    cuda=_cuda,
)
