"""The way from prompts to a threshold in use: its steps, and how far somebody is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from app import units
from app.router.recorded.data_sets import DataSet
from app.store import KeptProfile


class Step(StrEnum):
    """One step of the way; the value stands in the page's address."""

    BRING = "bring"
    RECORD = "record"
    CHOOSE = "choose"
    USE = "use"
    WATCH = "watch"

    @property
    def label(self) -> str:
        """For the user."""
        return "Bring prompts" if self is Step.BRING else self.value.capitalize()


@dataclass(frozen=True, slots=True)
class Way:
    """How far somebody is with one data set."""

    states: Mapping[Step, str]
    """Each step in a few words."""
    done: frozenset[Step]

    @classmethod
    def of(cls, data: DataSet | None, profiles: Sequence[KeptProfile]) -> Way:
        """From the data set that is looked at, and what is kept of routers."""
        made = [kept for kept in profiles if data and made_from(kept, data)]
        in_use = [kept for kept in profiles if kept.active]
        used_here = [kept for kept in made if kept.active]
        scored = _scored_tiers(data)
        states = {
            Step.BRING: units.counted(data.size, "prompt") if data else "No prompts yet",
            Step.RECORD: units.counted(len(scored), "tier") if scored else "Nothing recorded",
            Step.CHOOSE: units.counted(len(made), "profile") if made else "No profile of these prompts",
            Step.USE: _named(used_here) if used_here else "Not in use",
            Step.WATCH: f"{units.counted(len(in_use), 'profile')} in use" if in_use else "Nothing in use",
        }
        done = {
            Step.BRING: data is not None,
            Step.RECORD: len(scored) > 1,
            Step.CHOOSE: bool(made),
            Step.USE: bool(used_here),
        }
        return cls(states, frozenset(step for step, is_done in done.items() if is_done))

    @property
    def next(self) -> Step:
        """The first step that is not done; the last where all are."""
        return next(step for step in Step if step not in self.done)


def made_from(kept: KeptProfile, data: DataSet) -> bool:
    """Whether a profile was made from a data set, also where scores were marked or tiers added since."""
    return data.id == kept.data_set or kept.profile.data_sha256 == data.sha256


def following(step: Step) -> Step | None:
    """The step after this one; ``None`` after the last."""
    steps = list(Step)
    place = steps.index(step) + 1
    return steps[place] if place < len(steps) else None


def _scored_tiers(data: DataSet | None) -> list[str]:
    """Tiers with an answer that was scored."""
    return [tier for tier in data.tiers if data.scores(tier)] if data else []


def _named(profiles: Sequence[KeptProfile]) -> str:
    first, *others = profiles
    more = f" and {len(others):,} more" if others else ""
    return f"“{first.profile.name}” {first.version}{more}"
