"""The precisions a model can be held in: which there are, and what each is, for the reader."""

from __future__ import annotations

from app import resources
from engine.types import CPU_PRECISIONS, Precision

_DESCRIPTIONS = {
    "bf16": "16 bits: no saving. For the catalogue's models, the published 5- to 6-bit file written out.",
    "int8": "8-bit integers with a scale for each output; activations in 8 bits too.",
    "int4": "4-bit integers in groups of 32, each with its scale and minimum; on the CPU the head in 8 bits.",
    "nf4": "4-bit normal-float, as bitsandbytes quantizes. Costs the smallest model more quality than int4.",
    "llm.int8": "LLM.int8() as bitsandbytes multiplies: 8-bit integers, columns with outliers in 16 bits. CUDA only.",
}


def offered_precisions() -> tuple[Precision, ...]:
    """What a model can be held in where the engine runs, 16 bits first. A GPU is known from the first request on."""
    return CPU_PRECISIONS if resources.get_engine().status().device == "cpu" else tuple(Precision)


def precision_help() -> str:
    """What each of them is, as a list in Markdown."""
    return "\n".join(f"- **{precision}**: {_DESCRIPTIONS[precision]}" for precision in offered_precisions())
