"""4-bit integers in groups of 32 through torch's kernel, where there are none of our own."""

from __future__ import annotations

from functools import cache
from typing import Self

import torch
from torch import Tensor

from engine.quantization.groups import GROUP_SIZE, GroupCodes, fits, quantize_groups
from engine.quantization.linear import optional_bias

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
