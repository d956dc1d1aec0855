"""What a kept profile promised, with intervals."""

from __future__ import annotations

from collections.abc import Mapping

from app.store import KeptProfile
from engine.cascade import Figure
from engine.cascade.figures import count_of


def promised_figures(kept: KeptProfile) -> Mapping[str, Figure]:
    """Shares on the prompts that reported, by their names in a profile: half of those it was made from."""
    reported = max(1, kept.profile.prompts // 2)
    return {
        name: count_of(round(value * reported), reported)
        for name in ("share", "quality", "missed")
        if (value := kept.profile.figures.get(name)) is not None
    }
