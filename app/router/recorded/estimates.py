"""How long a recording will take, from what the same tiers took before on this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Any, Literal, Self

from app.router.recorded.timing import to_time
from app.runs.together import AT_ONCE
from app.store import RecordedAnswer, RouterStore, RunFilter, RunStatus, RunStore
from engine import Task
from engine.cascade import TierAnswer
from engine.types import Backend, Tier

_LOOKED_AT = 60
"""Answers or runs of a tier."""
_CHARACTERS_A_TOKEN = 4
_TEMPLATE_TOKENS = 24
"""That a chat template adds to a prompt."""
_FEWEST_TOGETHER = 16
"""Answers that tell how much sooner they come together."""
_SHARE_UNKNOWN = 0.6
"""Of the tokens allowed that an answer takes, where no recording tells."""
SIZES: Mapping[str, int | None] = {"Quick": 30, "Standard": 150, "Full": None}
"""Prompts of a recording, by what it is called; ``None`` is all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast a tier is on this machine."""

    prefill_s: float
    """For each token of a prompt."""
    step_s: float
    """For each token of an answer after the first."""
    share: float
    """Tokens of an answer, of those allowed, 0 to 1."""
    source: Literal["recordings", "runs"]
    sooner: float
    """How many times sooner answers come together than one after the other."""

    @classmethod
    def of(cls, answers: Sequence[tuple[TierAnswer, int | None]], sooner: float) -> Self | None:
        """From recorded answers, each with the tokens that it was allowed, as far as its length says anything of the
        answers to come; ``None`` where they tell nothing."""
        prompt_tokens = sum(answer.prompt_tokens for answer, _ in answers)
        steps = sum(max(0, answer.completion_tokens - 1) for answer, _ in answers)
        if not prompt_tokens or not steps:
            return None
        allowed = [(answer.completion_tokens, most) for answer, most in answers if most]
        written = sum(tokens for tokens, _ in allowed)
        return cls(
            prefill_s=sum(answer.first_token_s for answer, _ in answers) / prompt_tokens,
            step_s=sum(answer.e2e_s - answer.first_token_s for answer, _ in answers) / steps,
            share=min(1.0, written / sum(most for _, most in allowed)) if allowed else _SHARE_UNKNOWN,
            source="recordings",
            sooner=sooner,
        )

    def seconds_of(self, tasks: Sequence[Task]) -> float:
        """For prompts that are still to be answered, some alone and the rest together."""
        every, alone = (sum(map(self.seconds, some)) for some in (tasks, to_time(tasks)))
        return alone + (every - alone) / self.sooner

    def seconds(self, task: Task) -> float:
        """For one prompt alone: prefill · prompt tokens + step · answer tokens."""
        prompt_tokens = len(task.transcript) / _CHARACTERS_A_TOKEN + _TEMPLATE_TOKENS
        return self.prefill_s * prompt_tokens + self.step_s * self.share * task.max_tokens


@dataclass(frozen=True, slots=True)
class Estimate:
    """How long a recording will take."""

    seconds: float | None
    """Loading left out; ``None`` where no tier's pace is known."""
    unknown: tuple[str, ...]
    """Tiers that nothing was measured of here, and whose time comes on top."""


def recording_estimate(to_record: Mapping[str, Sequence[Task]], paces: Mapping[str, Pace]) -> Estimate:
    """The time of the prompts that each tier is still to answer.

    Args:
        to_record: by tier.
        paces: of the tiers, as far as they are known.
    """
    wanted = {tier: tasks for tier, tasks in to_record.items() if tasks}
    known = [paces[tier].seconds_of(tasks) for tier, tasks in wanted.items() if tier in paces]
    unknown = tuple(tier for tier in wanted if tier not in paces)
    return Estimate(sum(known) if known or not unknown else None, unknown)


def measured_paces(
    store: RouterStore,
    runs: RunStore,
    tiers: Sequence[str],
    here: Callable[[Mapping[str, Any]], bool],
    sooner: float,
    identity: str | None = None,
) -> dict[str, Pace]:
    """How fast tiers are on this machine: by the latest recordings, else by the latest runs that nothing disturbed.

    Args:
        store: of recordings.
        runs: of runs.
        tiers: as :attr:`engine.types.Tier.key` names them.
        here: whether an environment is this machine's.
        sooner: how many times sooner answers come together, where recordings do not tell.
        identity: of the set to record: how long answers are is told by answers to its own prompts alone.

    Raises:
        StoreError: the run database cannot be read.
    """
    found = {}
    for tier in tiers:
        pace = _recorded_pace(store, tier, here, sooner, identity)
        pace = pace or _pace_of_runs(runs, Tier.from_key(tier), here, sooner)
        if pace:
            found[tier] = pace
    return found


def _recorded_pace(
    store: RouterStore, tier: str, here: Callable[[Mapping[str, Any]], bool], sooner: float, identity: str | None
) -> Pace | None:
    latest = [each for each in store.latest_answers(tier, _LOOKED_AT) if here(each.environment)]
    allowed = {task.id: task.max_tokens for task in store.tasks(identity)} if identity else {}
    return Pace.of(
        [(each.answer, allowed.get(each.prompt_id) if each.set_sha256 == identity else None) for each in latest],
        _sooner(latest) or sooner,
    )


def _sooner(latest: Sequence[RecordedAnswer]) -> float | None:
    """How many times sooner answers came together, by the latest: what they take alone over what lay between one and
    the next, the longest left out, which may have been a pause; ``None`` where they are too few."""
    together = [each for each in latest if each.is_estimated and each.set_sha256 == latest[0].set_sha256]
    between = sorted((new.created_at - old.created_at).total_seconds() for new, old in pairwise(together))[:-1]
    if len(between) < _FEWEST_TOGETHER or not sum(between):
        return None
    return min(max(1.0, fmean(each.answer.e2e_s for each in together) / fmean(between)), AT_ONCE)


def _pace_of_runs(runs: RunStore, tier: Tier, here: Callable[[Mapping[str, Any]], bool], sooner: float) -> Pace | None:
    wanted = RunFilter(
        models=(tier.model,), precisions=(tier.precision,), backends=(Backend.LOCAL,), statuses=(RunStatus.FINISHED,)
    )
    rows = runs.page(wanted, limit=_LOOKED_AT).rows
    read, read_s, steps, steps_s = 0, 0.0, 0, 0.0
    for run in runs.get_many([row.id for row in rows]):
        metrics = run.metrics
        if metrics is None or run.cascade is not None or metrics.tpot_s is None or metrics.is_shared:
            continue
        if not here(run.environment):
            continue
        read += metrics.prompt_tokens - metrics.cached_tokens
        read_s += metrics.prefill_s
        steps += metrics.completion_tokens - 1
        steps_s += metrics.tpot_s * (metrics.completion_tokens - 1)
    if not read or not steps:
        return None
    return Pace(prefill_s=read_s / read, step_s=steps_s / steps, share=_SHARE_UNKNOWN, source="runs", sooner=sooner)
