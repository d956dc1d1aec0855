"""What a kept profile promised, with intervals."""

from __future__ import annotations

from collections.abc import Mapping

from app.store import KeptProfile
from engine.cascade import Figure
from engine.cascade.judging.figures import count_of


def promised_figures(kept: KeptProfile) -> Mapping[str, Figure]:
    """A profile's figures on the prompts that reported, by their names in a profile.

    Of a profile that was kept without its evidence only shares are told, from half of the prompts it was made from.
    """
    if kept.evidence is not None:
        return kept.evidence.figures
    reported = max(1, kept.profile.prompts // 2)
    return {
        name: count_of(round(value * reported), reported)
        for name in ("share", "quality", "missed")
        if (value := kept.profile.figures.get(name)) is not None
    }
