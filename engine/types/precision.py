"""How weights are held."""

from __future__ import annotations

from enum import StrEnum


class Precision(StrEnum):
    """How the weights are held while they are multiplied."""

    BF16 = "bf16"
    INT8 = "int8"
    """8-bit integers, one scale for each output; activations in 8 bits too, each token in groups of 32, on
    CUDA with one scale."""
    INT4 = "int4"
    """4-bit integers in groups of 32 with a scale and a minimum each; the head in 8 bits, on CUDA in 16."""
    NF4 = "nf4"
    """4-bit normal-float (QLoRA, arXiv:2305.14314) as bitsandbytes quantizes it."""
    LLM_INT8 = "llm.int8"
    """LLM.int8() (arXiv:2208.07339): 8-bit integers, input columns with outliers multiplied in 16 bits; CUDA only."""


CPU_PRECISIONS = tuple(precision for precision in Precision if precision is not Precision.LLM_INT8)
"""What a model can be held in on the CPU. On CUDA it is every precision."""
