"""What a kept profile promised, with intervals."""

from __future__ import annotations

from collections.abc import Mapping

from engine.cascade import Evidence, Figure, RouterProfile
from engine.cascade.reporting.figures import count_of


def promised_figures(profile: RouterProfile, evidence: Evidence | None) -> Mapping[str, Figure]:
    """A profile's figures on the prompts that reported, by their names in a profile.

    Of a profile that was kept without its evidence only shares are told, from half of the prompts it was made from.
    """
    if evidence is not None:
        return evidence.figures
    reported = max(1, profile.prompts // 2)
    return {
        name: count_of(round(value * reported), reported)
        for name in ("share", "quality", "missed")
        if (value := profile.figures.get(name)) is not None
    }
