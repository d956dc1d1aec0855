"""Whose next-token distributions are held against the baseline's: the same model with weights or KV in fewer bits."""

from __future__ import annotations

from dataclasses import replace

from app.experiments.planning.design import Design
from app.store import CellKey, Pass
from engine.types import KVDtype, Precision


def no_kld(design: Design, place: int) -> str | None:
    """Why a configuration's KLD from 16 bits cannot be measured, in a sentence; ``None`` where it can be.

    It is measured along the baseline's answers, with one model that reads them: that of the baseline, in 16 bits.
    """
    baseline, other = (design.configurations[each] for each in (design.baseline, place))
    for each in (baseline, other):
        if any(tier.is_remote for tier in each.config.ladder):
            return f"“{each.name}” has a server answer, whose distributions are not told whole."
    if Pass.QUALITY not in design.passes:
        return "It is measured along the answers of the quality pass, which was left out."
    reference, gears = baseline.config.optimization, other.config.optimization
    if reference.cascade is not None:
        return f"“{baseline.name}” is a cascade: its answers are not one model's."
    if (reference.precision, reference.kv_dtype, reference.window) != (Precision.BF16, KVDtype.BF16, None):
        return f"“{baseline.name}” is not in 16 bits."
    if place == design.baseline:
        return f"“{baseline.name}” is what the others are held against."
    if gears.cascade is not None:
        return f"“{other.name}” is a cascade: its answers are not one model's."
    if other.config.model != baseline.config.model:
        return f"“{other.name}” is another model than “{baseline.name}”."
    if gears.window is not None:
        return f"“{other.name}” forgets what leaves its window, and an answer that is there is read at once."
    if (gears.precision, gears.kv_dtype) == (Precision.BF16, KVDtype.BF16):
        return f"“{other.name}” has the weights and the KV of “{baseline.name}”: its distributions are the same."
    return None


def compared_cells(design: Design) -> dict[CellKey, tuple[CellKey, ...]]:
    """By each of the baseline's answers the cells whose KLD is measured along it; nothing where no configuration's can
    be."""
    places = [place for place in range(len(design.configurations)) if no_kld(design, place) is None]
    if not places:
        return {}
    return {
        key: tuple(replace(key, configuration=place) for place in places if key.repeat < design.answered(place))
        for key in design.quality_cells(design.baseline)
    }
