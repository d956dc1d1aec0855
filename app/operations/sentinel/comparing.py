"""What an answer differs in from the accepted one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from math import comb
from statistics import median

from app.operations.sentinel.fingerprint import same_machine
from app.operations.sentinel.options import SentinelOptions
from app.store import Deviation, GoldenAnswer

FEWEST = 3
"""Times of each without which nothing is said: the interval of three and three has a level of 90 %."""
_DRIFTS = frozenset({Deviation.KLD, Deviation.SLOWER, Deviation.FASTER})
"""What there can be more or less of."""


@dataclass(frozen=True, slots=True)
class Drift:
    """How many times as long something takes now."""

    ratio: float
    """Of the medians, now / accepted: above 1 where it is slower."""
    low: float
    high: float
    level: float
    """How often such an interval holds the true ratio."""

    @classmethod
    def of(cls, accepted_s: Sequence[float], now_s: Sequence[float]) -> Drift | None:
        """Between two series of times. Its interval is the widest that the Mann-Whitney test inverts to (Hodges and
        Lehmann, Ann. Math. Stat. 34, 1963): it leaves out 1 only where no time of one series lies within the other.

        Returns:
            ``None`` where a series has fewer than :data:`FEWEST` times, or one that is 0.
        """
        if min(len(accepted_s), len(now_s)) < FEWEST or min(*accepted_s, *now_s) <= 0:
            return None
        level = 1 - 2 / comb(len(accepted_s) + len(now_s), len(now_s))
        ratio = median(now_s) / median(accepted_s)
        return cls(ratio, min(now_s) / max(accepted_s), max(now_s) / min(accepted_s), level)

    def beyond(self, limit: float) -> Deviation | None:
        """Whether all of its interval is beyond a share: that it is slower, or faster."""
        if self.low > 1 + limit:
            return Deviation.SLOWER
        return Deviation.FASTER if self.high < 1 / (1 + limit) else None


def drifts(accepted: GoldenAnswer, now: GoldenAnswer) -> dict[str, Drift]:
    """Of TTFT and TPOT, by their names; none where the two were timed on different machines."""
    if not same_machine(accepted.fingerprint, now.fingerprint):
        return {}
    pairs = {"TTFT": (accepted.ttft_s, now.ttft_s), "TPOT": (accepted.tpot_s, now.tpot_s)}
    found = {name: Drift.of(*times) for name, times in pairs.items()}
    return {name: drift for name, drift in found.items() if drift is not None}


def deviations(accepted: GoldenAnswer, now: GoldenAnswer, options: SentinelOptions) -> tuple[Deviation, ...]:
    """In what an answer differs from the accepted one; nothing where it does not."""
    if now.failure is not None:
        return (Deviation.FAILED,)
    found = []
    if accepted.score is not None and now.score is not None and accepted.score != now.score:
        found.append(Deviation.SCORE)
    if (now.token_ids, now.text) != (accepted.token_ids, accepted.text):
        found.append(Deviation.TOKENS)
    if accepted.kld is not None and now.kld is not None and now.kld - accepted.kld > options.kld_limit:
        found.append(Deviation.KLD)
    drifted = {drift.beyond(options.speed_limit) for drift in drifts(accepted, now).values()}
    return (*found, *(each for each in (Deviation.SLOWER, Deviation.FASTER) if each in drifted))


def same_tokens(accepted: Sequence[int], now: Sequence[int]) -> int:
    """With how many tokens both begin alike."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(accepted, now, strict=False)))


def filed_as(answer: GoldenAnswer, known: Iterable[GoldenAnswer], options: SentinelOptions) -> GoldenAnswer | None:
    """What a person filed as known against the same accepted answer, with the same tokens or the same failure, if it
    differs in all that this one does and this one has not drifted further; ``None`` if nothing was.

    Args:
        answer: of a replay.
        known: what is filed, of one golden prompt the oldest first.
        options: from where on a drift is one.
    """
    for each in _by_people(known):
        same = (each.golden_id, each.against_id) == (answer.golden_id, answer.against_id)
        same &= (each.token_ids, each.failure) == (answer.token_ids, answer.failure)
        if same and set(answer.deviations) <= set(each.deviations):
            further = _DRIFTS & set(deviations(each, answer, options)) & set(answer.deviations)
            if not further:
                return each
    return None


def _by_people(known: Iterable[GoldenAnswer]) -> Iterable[GoldenAnswer]:
    """Without those that were filed because they are like one before, and have its moment: held against those, a
    drift could grow little by little and never be seen."""
    first: dict[tuple[str, datetime | None], GoldenAnswer] = {}
    for each in known:
        first.setdefault((each.golden_id, each.known_at), each)
    return first.values()
