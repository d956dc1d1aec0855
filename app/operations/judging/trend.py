"""Scores over time with intervals, by configuration and tier, a day at a time as the reader counts days."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, tzinfo

from app.store import JudgeId, ScoreSums

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Stratum:
    """Whose scores they are."""

    judge: JudgeId
    config_hash: str
    model: str
    tier: str


@dataclass(frozen=True, slots=True)
class Mean:
    """Of scores."""

    mean: float
    low: float | None
    """Of Student's interval; ``None`` for a single score."""
    high: float | None
    count: int

    @classmethod
    def of(cls, sums: Iterable[ScoreSums]) -> Mean:
        """Of some sums together, at least one. A score lies between 0 and 1, and so does its interval."""
        given = list(sums)
        count = sum(each.count for each in given)
        mean = sum(each.total for each in given) / count
        if count < 2:
            return cls(mean, None, None, count)
        from scipy.special import stdtrit

        variance = max(0.0, sum(each.squares for each in given) - count * mean**2) / (count - 1)
        half = float(stdtrit(count - 1, (1 + LEVEL) / 2)) * math.sqrt(variance / count)
        return cls(mean, max(0.0, mean - half), min(1.0, mean + half), count)


def overall(sums: Iterable[ScoreSums]) -> dict[Stratum, Mean]:
    """Over all the time, by stratum, the one with most scores first."""
    found = defaultdict(list)
    for each in sums:
        found[_stratum(each)].append(each)
    means = {stratum: Mean.of(parts) for stratum, parts in found.items()}
    return dict(sorted(means.items(), key=lambda item: -item[1].count))


def by_day(sums: Iterable[ScoreSums], zone: tzinfo) -> dict[Stratum, dict[date, Mean]]:
    """By stratum and day of the reader's, days without a score left out."""
    found: defaultdict[Stratum, defaultdict[date, list[ScoreSums]]] = defaultdict(lambda: defaultdict(list))
    for each in sums:
        found[_stratum(each)][each.begins.astimezone(zone).date()].append(each)
    return {stratum: {day: Mean.of(parts) for day, parts in sorted(days.items())} for stratum, days in found.items()}


def _stratum(sums: ScoreSums) -> Stratum:
    return Stratum(sums.judge, sums.config_hash, sums.model, sums.tier)
