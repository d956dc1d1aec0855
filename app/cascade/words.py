"""What a cascade does, and did, in words."""

from __future__ import annotations

import math
import re
from typing import assert_never

from app import units
from app.cascade.cascades import threshold_text
from engine.types import (
    CacheReport,
    CascadeReport,
    Escalated,
    GuardState,
    MissCause,
    RouterKind,
    RunConfig,
    RunMetrics,
    SpeculationReport,
)

FEWEST_RUNS = 5
"""Of one configuration, before a habit is told of."""
_NUMBER = re.compile(r"(?<![\w.])[-−]?\d+(?:[.,:]\d+)*")
_LIST_MARK = re.compile(r"^[^\S\n]*\d+[.)]\s", re.MULTILINE)


def router_words(router: RouterKind) -> tuple[str, str]:
    """A router's name, and what it does."""
    match router:
        case RouterKind.ESCALATE:
            return "Escalate", "The smaller model answers, which is judged by its token probabilities."
        case RouterKind.ROUTE:
            return "Route", "The prompt is judged before anything is written, by the first token's entropy."
        case RouterKind.HYBRID:
            return "Hybrid", "The prompt is judged where that is sure, else the answer."
        case RouterKind.RANDOM:
            return "Random", "By lot: what every router must beat."
        case RouterKind.ALWAYS_SMALL:
            return "Always small", "The smallest model answers everything."
        case RouterKind.ALWAYS_LARGE:
            return "Always large", "The model above answers everything."
        case RouterKind.ORACLE:
            return "Oracle", "Knows which answers are right: what no router can beat."
        case _:
            assert_never(router)


def threshold_meaning(router: RouterKind, threshold: float, after_tokens: int | None) -> str:
    """What a threshold does where the router has no profile.

    The score of an answer is 1 − exp(mean log-probability): t is reached where the geometric mean of the tokens'
    probabilities is 1 − t or less. A prompt's is 1 − exp(−entropy of the first token), a draw's is uniform.
    """
    match router:
        case RouterKind.ESCALATE:
            which = f"first {units.counted(after_tokens, 'token')}" if after_tokens else "tokens"
            return f"Goes on where the mean probability of its {which} is {units.percent(1 - threshold)} or less."
        case RouterKind.ROUTE if threshold >= 1:
            return "No prompt goes on."
        case RouterKind.ROUTE:
            entropy = units.nats(-math.log1p(-threshold))
            return f"Goes on where the entropy of its first token is {entropy} or more."
        case RouterKind.RANDOM:
            return f"{units.percent(1 - threshold)} of prompts go on, drawn by lot."
        case RouterKind.ALWAYS_SMALL:
            return "Answers everything."
        case RouterKind.ALWAYS_LARGE:
            return "Is passed over."
        case RouterKind.HYBRID | RouterKind.ORACLE:
            return "Goes by recorded answers."
        case _:
            assert_never(router)


def escalation(event: Escalated, router: RouterKind) -> str:
    """That a larger model is being asked, and why."""
    if event.passed_over:
        return f"Straight to {event.to_tier}: trying {event.from_tier} has not paid lately."
    score = ""
    if event.score is not None:
        known = not math.isnan(event.score)
        compared = f"score {event.score:.2f} ≥ {threshold_text(event.threshold)}"
        score = f" ({compared})" if known else " (no score could be told)"
    match router:
        case RouterKind.ESCALATE | RouterKind.HYBRID:
            why = f"{event.from_tier} was not sure{score}"
        case RouterKind.ROUTE:
            why = f"The prompt looks too hard for {event.from_tier}{score}"
        case RouterKind.RANDOM:
            why = f"The lot passes over {event.from_tier}{score}"
        case RouterKind.ALWAYS_SMALL | RouterKind.ALWAYS_LARGE | RouterKind.ORACLE:
            why = f"{event.from_tier} is passed over"
        case _:
            assert_never(router)
    lost = f"{units.counted(event.discarded_tokens, 'token')} thrown away, " if event.discarded_tokens else ""
    return f"{why}: {lost}asking {event.to_tier}."


def cascade_notices(
    report: CascadeReport,
    speculation: SpeculationReport | None,
    metrics: RunMetrics | None,
    cache: CacheReport | None,
    config: RunConfig,
    *,
    later_turn: bool,
) -> list[str]:
    """Where the gear, or another beside it, did nothing in a run; a sentence each.

    Args:
        report: how the cascade went.
        speculation: how that gear went, where it took part.
        metrics: what the run measured.
        cache: how its prompt met the prefix cache, where it did.
        config: what it was asked with.
        later_turn: whether answers came before it in the conversation.
    """
    notices = [f"Could not take part: {reason}" for reason in report.unavailable]
    cascade, largest = config.optimization.cascade, str(config.ladder[-1])
    if cascade is None:
        return notices
    notices += guard_notices(report)
    if report.router is RouterKind.ALWAYS_LARGE:
        notices.append("This router always asks the largest model: the smaller ones only take memory.")
    elif report.router is RouterKind.ALWAYS_SMALL:
        notices.append("This router never asks a larger model: they only take memory.")
    elif cascade.profile is None and min(cascade.thresholds) == 0:
        notices.append("A threshold of 0 sends everything on: what the smaller model writes is always thrown away.")
    if config.optimization.speculation and speculation is None:
        notices.append(
            f"Speculation did nothing: its drafter was chosen for {largest}, and {report.tier} answered."
            if report.tier != largest
            else "Speculation did nothing: no drafter could take part."
        )
    if later_turn and metrics and cache and cache.cause in (MissCause.CONFIGURATION, MissCause.NOTHING):
        computed = metrics.prompt_tokens - metrics.cached_tokens
        if computed > metrics.prompt_tokens / 2:
            notices.append(
                f"KV caching did little: nothing was kept of this conversation in {report.tier}, which read "
                f"{computed:,} of {units.counted(metrics.prompt_tokens, 'token')} anew."
                + ("" if cascade.keep_tier else " Keeping the tier avoids that.")
            )
    return notices


def guard_notices(report: CascadeReport) -> list[str]:
    """Where guards stood aside; a sentence or two each."""
    found = []
    for state in report.guards:
        if not state.stepped_aside:
            continue
        next_tier = _next_tier(report, state.tier)
        did = f"Tried {state.tier} once more" if state.probing else f"Went straight to {next_tier}"
        found.append(f"{did}: {guard_reason(state, next_tier)}")
        if not state.probing and state.probe_every:
            found.append(f"One in {state.probe_every:,} still tries {state.tier}.")
    return found


def guard_reason(state: GuardState, next_tier: str) -> str:
    """Whether a tier pays by what its guard has seen: "of the last 12 prompts 20 % stayed with …"."""
    if state.recent_share is None or state.needed_share is None:
        return "too few prompts were tried to tell whether the cascade pays."
    if state.needed_share >= 1:
        return f"{state.tier} takes as long as {next_tier} alone, or longer."
    return (
        f"of the last {units.counted(state.recent, 'prompt')} {units.percent(state.recent_share)} stayed with "
        f"{state.tier}, and {units.percent(state.needed_share)} must for the cascade to pay."
    )


def guard_words(state: GuardState) -> str:
    """Where a guard stands, in a few words: "smollm2-135m int4: one in 16 tried; 20 % of the last 12 stayed, 45 %
    must"."""
    does = f"one in {state.probe_every:,} tried" if state.stepped_aside and state.probe_every else "tried"
    if state.recent_share is None or state.needed_share is None:
        return f"{state.tier}: {does}"
    must = "never enough" if state.needed_share >= 1 else f"{units.percent(state.needed_share)} must"
    return f"{state.tier}: {does}; {units.percent(state.recent_share)} of the last {state.recent:,} stayed, {must}"


def _next_tier(report: CascadeReport, tier: str) -> str:
    """Who was asked after a tier, those passed over left out."""
    asked = [attempt.tier for attempt in report.attempts if not attempt.passed_over or attempt.tier == tier]
    place = asked.index(tier) + 1
    return asked[place] if place < len(asked) else "the larger model"


def alone_text(seconds: float, *, derived: bool) -> str:
    """What the largest model alone takes: "~3.2 s, derived"."""
    return f"~{units.seconds(seconds)}, derived" if derived else units.seconds(seconds)


def saved_text(seconds: float) -> str:
    """Time against the largest model alone: "2.1 s saved", or lost."""
    return f"{units.seconds(abs(seconds))} {'saved' if seconds >= 0 else 'lost'}"


def habit(went_on: int, runs: int) -> str | None:
    """What the last runs of one configuration have in common; ``None`` where they are mixed or few."""
    if runs < FEWEST_RUNS or 0 < went_on < runs:
        return None
    if went_on:
        return (
            f"All of the last {runs} runs with this configuration went on to a larger model: the smaller one only "
            "cost time. A higher threshold keeps more of its answers."
        )
    return (
        f"None of the last {runs} runs with this configuration went on to a larger model. A lower threshold asks it "
        "more often."
    )


def contradiction(first: str, other: str) -> str | None:
    """How two answers to one prompt contradict each other, as far as words tell; ``None`` if they seem not to."""
    verdicts = [_yes_or_no(text) for text in (first, other)]
    if None not in verdicts and verdicts[0] != verdicts[1]:
        return f"They contradict each other: one says {verdicts[0]}, the other {verdicts[1]}."
    last = [_last_number(text) for text in (first, other)]
    if None not in last and last[0] != last[1]:
        return f"They may contradict each other: one ends on {last[0]}, the other on {last[1]}."
    return None


def _yes_or_no(text: str) -> str | None:
    found = re.match(r"\W*(yes|no)\b", text, re.IGNORECASE)
    return found[1].lower() if found else None


def _last_number(text: str) -> str | None:
    found = _NUMBER.findall(_LIST_MARK.sub("", text))
    return found[-1].replace(",", "").replace("−", "-") if found else None
