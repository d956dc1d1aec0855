"""AWQ's and GPTQ's codes of 4 bits, eight in a word of 32: ``weight = (code − zero) · scale``.

AWQ (AutoAWQ's "gemm") packs outputs, the even ones of eight first; GPTQ packs inputs, in their order, and its zero
points by outputs. GPTQ says for each input to which group it belongs, so with act-order a group's inputs may lie
anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.errors import WeightsIntegrityError
from engine.models.format.packed import PER_WORD
from engine.quantization import GROUP_SIZE, GroupCodes

_AWQ_PLACES = [0, 4, 1, 5, 2, 6, 3, 7]
"""In which 4 bits of a word each of eight outputs lies."""
_SLICE_ROWS = 256
_MOST_LOST = 2.0**-10
"""Share of a scale or minimum that rounding to 16 bits may change where codes are taken over."""


@dataclass(frozen=True, slots=True)
class IntegerCodes:
    """A matrix as AWQ or GPTQ hold it, unpacked."""

    codes: Tensor
    """uint8 ``[out, in]``, 0 to 15."""
    scale: Tensor
    """fp32 ``[out, groups]``."""
    zero: Tensor
    """fp32 ``[out, groups]``, 0 to 16."""
    group_of: Tensor
    """int64 ``[in]``: each input's group."""

    def dequantize(self) -> Tensor:
        """The weights that the codes stand for, rounded once, to bf16 ``[out, in]``."""
        weight = torch.empty(self.codes.shape, dtype=torch.bfloat16)
        for begin in range(0, len(weight), _SLICE_ROWS):
            rows = slice(begin, begin + _SLICE_ROWS)
            scale, zero = (part[rows][:, self.group_of] for part in (self.scale, self.zero))
            weight[rows] = (self.codes[rows].float() - zero) * scale
        return weight

    def in_groups(self) -> GroupCodes | None:
        """The same codes as int4 holds them; ``None`` where its groups of 32 would have inputs of several, or a
        scale is none in 16 bits."""
        in_features = len(self.group_of)
        if in_features % GROUP_SIZE:
            return None
        groups = self.group_of.view(-1, GROUP_SIZE)
        if not bool((groups == groups[:, :1]).all()):
            return None
        scale = self.scale[:, groups[:, 0]].contiguous()
        minimum = -self.zero[:, groups[:, 0]] * scale
        if not all(_keeps_its_value(part) for part in (scale, minimum)):
            return None
        return GroupCodes(self.codes, scale, minimum)


def awq_codes(qweight: Tensor, qzeros: Tensor, scales: Tensor) -> IntegerCodes:
    """Unpack a matrix of AWQ.

    Args:
        qweight: int32 ``[in, out / 8]``.
        qzeros: int32 ``[groups, out / 8]``.
        scales: ``[groups, out]``.
    """
    in_features, groups = len(qweight), len(scales)
    codes, zero = (_nibbles(words)[..., _AWQ_PLACES].flatten(1).T.contiguous() for words in (qweight, qzeros))
    group_of = torch.arange(in_features) // (in_features // groups)
    return IntegerCodes(codes, scales.T.float(), zero.float(), group_of)


def gptq_codes(
    name: str,
    qweight: Tensor,
    qzeros: Tensor,
    scales: Tensor,
    g_idx: Tensor | None,
    zero_offset: int,
    group_size: int | None,
) -> IntegerCodes:
    """Unpack a matrix of GPTQ.

    Args:
        name: of the weight, for the error.
        qweight: int32 ``[in / 8, out]``.
        qzeros: int32 ``[groups, out / 8]``.
        scales: ``[groups, out]``.
        g_idx: int32 ``[in]``: each input's group; ``None`` where groups lie side by side.
        zero_offset: added to the zero points.
        group_size: inputs of a group; ``None`` for all.

    Raises:
        WeightsIntegrityError: an input is of a group that there is not.
    """
    out_features, in_features, groups = qweight.shape[1], PER_WORD * len(qweight), len(scales)
    codes = _nibbles(qweight).permute(1, 0, 2).reshape(out_features, in_features)
    zero = _nibbles(qzeros).flatten(1).T.float() + zero_offset
    group_of = torch.arange(in_features) // (group_size or in_features) if g_idx is None else g_idx.long()
    if not bool(((group_of >= 0) & (group_of < groups)).all()):
        raise WeightsIntegrityError(
            f"{name}: g_idx names a group that there is not; there are {groups:,}. Copy or download the model again."
        )
    return IntegerCodes(codes, scales.T.float(), zero, group_of)


def _nibbles(words: Tensor) -> Tensor:
    """int32 ``[...]`` -> uint8 ``[..., 8]``, the lowest 4 bits first."""
    pairs = words.contiguous().view(torch.uint8).view(*words.shape, PER_WORD // 2)
    return torch.stack([pairs & 15, pairs >> 4], dim=-1).flatten(-2)


def _keeps_its_value(values: Tensor) -> bool:
    """Whether fp16 holds numbers nearly as they are: neither too large nor too small for it."""
    return bool(((values.half().float() - values).abs() <= _MOST_LOST * values.abs()).all())
