"""16 bits: the weights as they are."""

from __future__ import annotations

from functools import cache
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.native.compilation import processor_features
from engine.native.kernels import Kind, address_of, library
from engine.quantization.groups import GroupCodes
from engine.quantization.linear import optional_bias
from engine.quantization.native import NativeLinear
from engine.quantization.scheme import Scheme, Schemes

_SLICE_ROWS = 8192


@cache
def fast_bf16_gemm() -> bool:
    """Whether the processor multiplies bf16 matrices in hardware; torch's way without it is ten times slower
    than fp32."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


class Bf16Linear:
    """A bf16 matrix through torch's own GEMM. Also an embedding."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.weight = weight.contiguous()
        self.bias = bias

    @classmethod
    def fits(cls, out_features: int, in_features: int) -> bool:
        return True

    @classmethod
    def pack(cls, weight: Tensor, bias: Tensor | None, codes: GroupCodes | None = None) -> Self:
        return cls(weight.to(torch.bfloat16), None if bias is None else bias.to(torch.bfloat16))

    @classmethod
    def from_state(cls, state: dict[str, Tensor]) -> Self:
        return cls(state["weight"], state.get("bias"))

    def state(self) -> dict[str, Tensor]:
        return {"weight": self.weight, **optional_bias(self.bias)}

    def __call__(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu":
            return F.linear(x, self.weight, self.bias)
        if not fast_bf16_gemm():
            return self._product_in_fp32(x)
        if x.shape[0] > 1:
            return F.linear(x, self.weight, self.bias)
        # one row: torch's matrix-vector kernel streams the weights half again as fast as its GEMM
        y = torch.mv(self.weight, x[0]) if self.bias is None else torch.addmv(self.bias, self.weight, x[0])
        return y[None]

    def _product_in_fp32(self, x: Tensor) -> Tensor:
        """The same sums in fp32, rounded once at their end, over slices whose fp32 copy stays small."""
        x32 = x.float()
        parts = [F.linear(x32, rows.float()) for rows in self.weight.split(_SLICE_ROWS)]
        y = torch.cat(parts, dim=-1)
        return (y if self.bias is None else y + self.bias).to(torch.bfloat16)

    def rows(self, ids: Tensor) -> Tensor:
        return F.embedding(ids, self.weight)

    @classmethod
    def estimate_bytes(cls, out_features: int, in_features: int) -> int:
        return 2 * out_features * in_features


class NativeBf16Linear(NativeLinear):
    """Takes the place of a quantized matrix whose shape has no whole groups or panels, or lies over torch's own. Also
    an embedding."""

    kind = Kind.BF16
    group_bytes = 0

    def _shape(self) -> tuple[int, int]:
        return self.data.shape[0], self.data.shape[1]

    def _data_address(self) -> int:
        return address_of(self.data, torch.bfloat16, self.data.shape)

    @classmethod
    def fits(cls, out_features: int, in_features: int) -> bool:
        return True

    @classmethod
    def pack(cls, weight: Tensor, bias: Tensor | None, codes: GroupCodes | None = None) -> Self:
        return cls(weight.to(torch.bfloat16), None, bias)

    @classmethod
    def over(cls, state: dict[str, Tensor]) -> Self:
        """On the tensors of a :class:`Bf16Linear`'s state, which are not copied."""
        return cls(state["weight"], None, state.get("bias"))

    def rows(self, ids: Tensor) -> Tensor:
        return self.data[ids]

    @classmethod
    def estimate_bytes(cls, out_features: int, in_features: int) -> int:
        return 2 * out_features * in_features


PAIR_PANEL = 16
"""Outputs side by side in :class:`Bf16PanelLinear`."""


class Bf16PanelLinear(NativeLinear):
    """A bf16 matrix in panels of pairs of inputs: any number of rows, each as if it were alone. Also an embedding.

    ``engine/native/pairs.h`` has the layout and the order of the additions. Activations are rounded to bf16.
    """

    kind = Kind.BF16_PANELS
    group_bytes = 4 * PAIR_PANEL
    """Bytes of a pair of inputs of a panel."""

    def __init__(self, data: Tensor, features: tuple[int, int], bias: Tensor | None) -> None:
        """
        Args:
            data: uint8 ``[out / 16, in / 2, 64]``, both rounded up, with zeros behind the features.
            features: out and in.
            bias: ``[out]``.

        Raises:
            ValueError: a tensor has another type, shape or place.
        """
        if data.shape[:2] != _panels_and_pairs(*features):
            raise ValueError(f"panels of shape {list(data.shape)} for {features[0]} outputs by {features[1]} inputs")
        self._features = features
        super().__init__(data, None, bias)

    def _shape(self) -> tuple[int, int]:
        return self._features

    @classmethod
    def fits(cls, out_features: int, in_features: int) -> bool:
        return True

    @classmethod
    def pack(cls, weight: Tensor, bias: Tensor | None, codes: GroupCodes | None = None) -> Self:
        lib = library()
        if lib is None:
            raise RuntimeError("a matrix in the kernels' own layout without the kernels")
        return cls(lib.pack_pairs(weight.to(torch.bfloat16).contiguous()), (weight.shape[0], weight.shape[1]), bias)

    @classmethod
    def from_state(cls, state: dict[str, Tensor]) -> Self:
        out_features, in_features = state["shape"].tolist()
        return cls(state["data"], (out_features, in_features), state.get("bias"))

    def state(self) -> dict[str, Tensor]:
        return super().state() | {"shape": torch.tensor(self._features)}

    def rows(self, ids: Tensor) -> Tensor:
        pairs = self.data.view(torch.int32)[ids // PAIR_PANEL, :, ids % PAIR_PANEL]
        return pairs.contiguous().view(torch.bfloat16)[:, : self.in_features]

    @classmethod
    def estimate_bytes(cls, out_features: int, in_features: int) -> int:
        panels, pairs = _panels_and_pairs(out_features, in_features)
        return panels * pairs * cls.group_bytes


def _panels_and_pairs(out_features: int, in_features: int) -> tuple[int, int]:
    return -(-out_features // PAIR_PANEL), -(-in_features // 2)


def _own() -> Scheme:
    lib = library()
    if lib is None or "amx_bf16" in processor_features():
        # its tiles add in another order, in which we have no kernels, and torch's read prompts much faster with them
        kernel = f"gearbox, {_torch_kernel()}"
        return Scheme(Bf16Linear, Bf16Linear, Bf16Linear, kernel, few_rows=NativeBf16Linear.over, packs=False)
    kernel = f"gearbox, {lib.pair_path.name}"
    return Scheme(Bf16PanelLinear, Bf16PanelLinear, Bf16PanelLinear, kernel, native=True, packs=False)


def _torch_kernel() -> str:
    return "torch bf16" if fast_bf16_gemm() else "bf16 weights, products in fp32"


SCHEMES = Schemes(
    own=_own,
    cpu=lambda: Scheme(Bf16Linear, Bf16Linear, Bf16Linear, _torch_kernel(), packs=False),
    cuda=lambda device: Scheme(Bf16Linear, Bf16Linear, Bf16Linear, "torch bf16", packs=False),
)
