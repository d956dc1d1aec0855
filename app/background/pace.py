"""How long work still takes, by the pace of its latest steps."""

from __future__ import annotations

from dataclasses import dataclass, replace

_LATEST = 16
"""Steps that the pace is of."""
_FEWEST = 4
"""Steps that must be done before anything is said."""
_SHORTEST_S = 0.5
"""Steps shorter than this count together: progress that is told very often would else look back a moment only."""


@dataclass(frozen=True, slots=True)
class Pace:
    """What is known of the pace of some work, of which moments and shares (0 to 1) are told as they pass."""

    share: float
    """Done when the step under way began."""
    began: float
    """When it began, in seconds of any clock; likewise below."""
    told: float
    """When something was last told."""
    loading: bool = False
    """Whether that was that something is being loaded. Loading takes its own time, and is in no step."""
    loading_s: float = 0.0
    """Of the step under way."""
    steps: tuple[tuple[float, float], ...] = ()
    """The latest, the oldest first: the share that each did, and the seconds it took."""

    @classmethod
    def begin(cls, share: float, now: float, *, loading: bool = False) -> Pace:
        """Of work that goes on from a share that was done before."""
        return cls(share, now, now, loading)

    def then(self, share: float, now: float, *, loading: bool = False) -> Pace:
        """What is known once a share is done."""
        loading_s = self.loading_s + (now - self.told if self.loading else 0.0)
        took_s = now - self.began - loading_s
        if share <= self.share or took_s < _SHORTEST_S:
            return replace(self, told=now, loading=loading, loading_s=loading_s)
        steps = (*self.steps, (share - self.share, took_s))[-_LATEST:]
        return Pace(share, now, now, loading, steps=steps)

    def remaining_s(self, now: float) -> float | None:
        """Seconds until all is done, later loading left out; ``None`` while too few steps are done to tell.

        The slowest of the latest steps counts as the second slowest (a winsorized mean): one that stumbled, or loaded
        something without saying so, does not speak for the others.
        """
        if len(self.steps) < _FEWEST:
            return None
        by_pace = sorted(self.steps, key=lambda step: step[1] / step[0])
        (slowest, _), (second, second_s) = by_pace[-1], by_pace[-2]
        seconds = sum(step_s for _, step_s in by_pace[:-1]) + slowest * second_s / second
        done = sum(share for share, _ in by_pace)
        loading_s = self.loading_s + (now - self.told if self.loading else 0.0)
        usual_s = seconds / len(self.steps)
        under_way_s = min(now - self.began - loading_s, usual_s)
        return max(0.0, seconds / done * (1 - self.share) - under_way_s)
