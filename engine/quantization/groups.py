"""Weights as 4-bit codes in groups of 32, each with its own scale and minimum, before any kernel's layout."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

GROUP_SIZE = 32
_LARGEST_FP16 = 65504.0
_SHRINKS = (1.0, 0.93, 0.86)
"""Shares of a group's range that its sixteen levels may span; what lies outside takes the outermost level."""
_SLICE_ROWS = 1024


@dataclass(frozen=True, slots=True)
class GroupCodes:
    """``weight = code · scale + minimum``."""

    codes: Tensor
    """uint8 ``[out, in]``, 0 to 15."""
    scale: Tensor
    """fp32 ``[out, in / 32]``."""
    minimum: Tensor
    """fp32 ``[out, in / 32]``."""

    def dequantize(self) -> Tensor:
        """The weights the codes stand for, fp32 ``[out, in]``."""
        groups = self.codes.view(*self.scale.shape, GROUP_SIZE).float()
        return (groups * self.scale[..., None] + self.minimum[..., None]).view(self.codes.shape)

    def to(self, device: torch.device) -> GroupCodes:
        """The same codes in another device's memory."""
        return GroupCodes(self.codes.to(device), self.scale.to(device), self.minimum.to(device))

    @classmethod
    def joined(cls, parts: list[GroupCodes]) -> GroupCodes:
        """Matrices that share an input, one above the other."""
        return cls(
            torch.cat([part.codes for part in parts]),
            torch.cat([part.scale for part in parts]),
            torch.cat([part.minimum for part in parts]),
        )


def fits(out_features: int, in_features: int, panel: int) -> bool:
    """Whether a matrix divides into whole groups and whole panels of outputs."""
    return out_features % panel == 0 and in_features % GROUP_SIZE == 0


def quantize_groups(weight: Tensor) -> GroupCodes:
    """Codes for ``weight [out, in]`` with the least squared error of a few candidate grids per group.

    A candidate's levels span a share of the group's range; its scale and minimum are then fitted to its codes
    by least squares. Weights that lie on a grid of sixteen levels find it again.
    """
    parts = [_quantize(rows.float()) for rows in weight.split(_SLICE_ROWS)]
    return GroupCodes.joined(parts)


def _quantize(rows: Tensor) -> GroupCodes:
    groups = rows.view(rows.shape[0], -1, GROUP_SIZE)
    low, high = (bound.float() for bound in torch.aminmax(groups, dim=-1, keepdim=True))
    best: tuple[Tensor, Tensor, Tensor] | None = None
    least = torch.full_like(low, torch.inf)
    for shrink in _SHRINKS:
        cut = (high - low) * (1 - shrink) / 2
        scale = ((high - low) * shrink / 15).clamp_min(1e-8)
        codes = _codes(groups, scale, low + cut)
        fitted_scale, fitted_minimum = _fit(groups, codes)
        for scale_, minimum in ((scale, low + cut), (fitted_scale, fitted_minimum)):
            scale_, minimum = _as_fp16(scale_), _as_fp16(minimum)
            codes_ = _codes(groups, scale_, minimum)
            error = (codes_ * scale_ + minimum - groups).square_().sum(-1, keepdim=True)
            if best is None:
                best = (codes_, scale_, minimum)
            else:
                better = error < least
                best = (
                    torch.where(better, codes_, best[0]),
                    torch.where(better, scale_, best[1]),
                    torch.where(better, minimum, best[2]),
                )
            least = torch.minimum(least, error)
    assert best is not None
    codes, scale, minimum = best
    return GroupCodes(codes.to(torch.uint8).view(rows.shape), scale.squeeze(-1), minimum.squeeze(-1))


def _codes(groups: Tensor, scale: Tensor, minimum: Tensor) -> Tensor:
    return ((groups - minimum) / scale).round_().clamp_(0, 15)


def _fit(groups: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
    """Least squares of ``groups ≈ codes · scale + minimum``, group by group."""
    mean_code, mean_weight = codes.mean(-1, keepdim=True), groups.mean(-1, keepdim=True)
    spread = codes - mean_code
    scale = (spread * (groups - mean_weight)).sum(-1, keepdim=True) / spread.square().sum(-1, keepdim=True).clamp_min(
        1e-8
    )
    scale = scale.clamp_min(1e-8)
    return scale, mean_weight - scale * mean_code


def _as_fp16(values: Tensor) -> Tensor:
    """Rounded to what the kernels keep; never to zero, which could not be divided by."""
    rounded = values.clamp(-_LARGEST_FP16, _LARGEST_FP16).half().float()
    return torch.where(rounded == 0, torch.full_like(rounded, 6e-8), rounded)
