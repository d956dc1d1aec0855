"""How weights are held."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionInfo:
    """What a precision is. Its matrices and kernels, and so its bytes, are in :mod:`engine.quantization`."""

    help: str
    """For the reader, on one line."""
    lossy: bool = True
    """Whether its answers may differ from the 16-bit model's."""
    needs_cuda: bool = False
    copy_drafts: bool = False
    """Whether a copy of a model in it may draft for the model itself."""


class Precision(StrEnum):
    """How the weights are held while they are multiplied."""

    BF16 = "bf16"
    INT8 = "int8"
    INT4 = "int4"
    NF4 = "nf4"
    LLM_INT8 = "llm.int8"
    UNKNOWN = "unknown"
    """A server's model: how it is held there is not told. Nothing on this machine is held so."""

    @property
    def info(self) -> PrecisionInfo:
        """What it is."""
        match self:
            case Precision.BF16:
                return PrecisionInfo(
                    help="16 bits: no saving. For the catalogue's models, the published 5- to 6-bit file written out.",
                    lossy=False,
                )
            case Precision.INT8:
                return PrecisionInfo(
                    help="8-bit integers with a scale for each output; activations in 8 bits too.",
                )
            case Precision.INT4:
                return PrecisionInfo(
                    help="4-bit integers in groups of 32, each with its scale and minimum; on the CPU the head in 8 "
                    "bits.",
                    copy_drafts=True,
                )
            case Precision.NF4:
                return PrecisionInfo(
                    help="4-bit normal-float, as bitsandbytes quantizes. Costs the smallest model more quality than "
                    "int4.",
                    copy_drafts=True,
                )
            case Precision.LLM_INT8:
                return PrecisionInfo(
                    help="LLM.int8() as bitsandbytes multiplies: 8-bit integers, columns with outliers in 16 bits. "
                    "CUDA only.",
                    needs_cuda=True,
                )
            case Precision.UNKNOWN:
                return PrecisionInfo(help="Whatever the server holds the weights in.", lossy=False)
            case _:
                assert_never(self)


PRECISIONS = tuple(precision for precision in Precision if precision is not Precision.UNKNOWN)
"""What a model of this machine can be held in, on one device or another."""
CPU_PRECISIONS = tuple(precision for precision in PRECISIONS if not precision.info.needs_cuda)
"""What a model can be held in on the CPU. On CUDA it is every precision."""
COPY_PRECISIONS = tuple(precision for precision in Precision if precision.info.copy_drafts)
"""What a model may be held in to draft for itself."""


def precisions_on(device: str) -> tuple[Precision, ...]:
    """What a model can be held in on a device: ``"cpu"``, or any name of a GPU."""
    return CPU_PRECISIONS if device == "cpu" else PRECISIONS
