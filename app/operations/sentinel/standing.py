"""How golden prompts stand: their last replay beside what is accepted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

from app import units
from app.experiments.statistics.ratios import GeometricRatio, geometric_ratio
from app.operations.sentinel.comparing import drifts, same_tokens
from app.operations.sentinel.fingerprint import changes
from app.store import Deviation, GoldenAnswer, GoldenPrompt, SentinelStore

FLIPS = frozenset({Deviation.FAILED, Deviation.SCORE, Deviation.TOKENS})
"""What makes an answer another one, or none."""


class State(StrEnum):
    """How one stands, the worst first."""

    FAILED = "no answer"
    FLIPPED = "flipped"
    DRIFTED = "drifted"
    KNOWN = "known"
    NEW = "not replayed yet"
    SAME = "as accepted"


@dataclass(frozen=True, slots=True)
class Standing:
    """One golden prompt."""

    golden: GoldenPrompt
    accepted: GoldenAnswer
    latest: GoldenAnswer | None
    """Of the last replay; ``None`` before the first."""

    @property
    def is_held_against(self) -> bool:
        """Whether the last replay was held against what is accepted now."""
        return self.latest is not None and self.latest.against_id == self.accepted.id

    @property
    def state(self) -> State:
        """How it stands. A replay that was accepted itself is the same as what is accepted."""
        latest = self.latest
        if latest is None or latest.id == self.accepted.id:
            return State.NEW if latest is None else State.SAME
        if not self.is_held_against:
            return State.NEW
        if not latest.deviations:
            return State.SAME
        if latest.known_at is not None:
            return State.KNOWN
        if Deviation.FAILED in latest.deviations:
            return State.FAILED
        return State.FLIPPED if FLIPS & set(latest.deviations) else State.DRIFTED

    @property
    def is_open(self) -> bool:
        """Whether somebody has to look at it."""
        return self.state in (State.FAILED, State.FLIPPED, State.DRIFTED)

    @property
    def words(self) -> tuple[str, ...]:
        """What was found, a clause each."""
        return tuple(self._word(each) for each in self.latest.deviations) if self.latest else ()

    @property
    def changes(self) -> tuple[str, ...]:
        """What is not as it was when the baseline was answered."""
        return changes(self.accepted.fingerprint, self.latest.fingerprint) if self.latest else ()

    def _word(self, deviation: Deviation) -> str:
        assert self.latest is not None
        before, now = self.accepted, self.latest
        match deviation:
            case Deviation.FAILED:
                return f"No answer: {now.failure}"
            case Deviation.SCORE:
                return "Was right, is wrong" if (before.score or 0) > (now.score or 0) else "Was wrong, is right"
            case Deviation.TOKENS:
                alike = same_tokens(before.token_ids, now.token_ids)
                if before.token_ids == now.token_ids:
                    return "The same tokens, spelled otherwise"
                return f"Other tokens from number {alike + 1:,} on, of {len(before.token_ids):,}"
            case Deviation.KLD:
                return f"KLD {units.divergence(before.kld)} → {units.divergence(now.kld)} a token"
            case Deviation.SLOWER | Deviation.FASTER:
                found = drifts(before, now).items()
                return f"{deviation.capitalize()}: " + ", ".join(
                    f"{name} × {drift.ratio:.2f} ({drift.low:.2f} to {drift.high:.2f})" for name, drift in found
                )


def overall(found: Iterable[Standing]) -> GeometricRatio | None:
    """How many times as long a token takes now, over all golden prompts whose times can be compared; ``None`` where
    there are none."""
    pairs = [
        (median(each.latest.tpot_s), median(each.accepted.tpot_s))
        for each in found
        if each.latest and each.is_held_against and "TPOT" in drifts(each.accepted, each.latest)
    ]
    return geometric_ratio([now for now, _ in pairs], [before for _, before in pairs]) if pairs else None


def standings(sentinel: SentinelStore) -> tuple[Standing, ...]:
    """Of all that the viewer may see, the worst first."""
    accepted, latest = sentinel.baselines(), sentinel.latest()
    found = [
        Standing(golden, accepted[golden.id], latest.get(golden.id))
        for golden in sentinel.all()
        if golden.id in accepted
    ]
    order = list(State)
    return tuple(sorted(found, key=lambda each: order.index(each.state)))
