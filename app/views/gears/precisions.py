"""The precisions a model can be held in: which there are, and what each is, for the reader."""

from __future__ import annotations

from app import resources
from engine.types import Precision, precisions_on


def offered_precisions() -> tuple[Precision, ...]:
    """What a model can be held in where the engine runs, 16 bits first. A GPU is known from the first request on."""
    return precisions_on(resources.get_engine().status().device)


def precision_help() -> str:
    """What each of them is, as a list in Markdown."""
    return "\n".join(f"- **{precision}**: {precision.info.help}" for precision in offered_precisions())
