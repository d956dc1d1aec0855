"""What no measurement can say: figures of runs held against each other.

Each check gives sentences for the user; where it gives one, the figures are a fault of the measurement, not a result.
Only runs of which figures were measured can be checked.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Self

from app import units
from app.runs.race import LaneRun
from app.store import Latency, Reports, RunRecord, Timeline, Totals
from engine.types import CacheMode, PrefillDone, RunConfig, RunMetrics, is_remote

SPEEDUP_SLACK = 1.15
"""A plain and a drafted run are measured one after the other, on a machine that is not equally fast each time."""
_CLOCK_S = 1e-3
"""Clocks are read one after the other, and what is stored is rounded."""
_AFTER_S = 0.25
"""E2E ends with the last token; what is put in order after it is part of some times."""
_AFTER_SHARE = 0.05
_ROUNDING = 1e-3
"""Of shares and log-probabilities, which are stored rounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The figures of one run, wherever it is read from."""

    config: RunConfig
    metrics: RunMetrics
    reports: Reports = field(default_factory=Reports)
    timeline: Timeline | None = None
    """``None`` where it was not read."""
    prefill: PrefillDone | None = None
    """What the run told while it was followed; ``None`` for one that is read from the store."""

    @classmethod
    def of_record(cls, run: RunRecord, timeline: Timeline | None = None) -> Self | None:
        """A stored run; ``None`` if nothing was measured."""
        if run.metrics is None:
            return None
        config = RunConfig.from_dict(run.config)
        return cls(config=config, metrics=run.metrics, reports=Reports.of(run), timeline=timeline)

    @classmethod
    def of_lane(cls, lane: LaneRun) -> Self | None:
        """A run that was followed; ``None`` if nothing was measured."""
        if lane.metrics is None:
            return None
        return cls(
            config=lane.request.config,
            metrics=lane.metrics,
            reports=lane.reports,
            timeline=lane.timeline or Timeline(),
            prefill=lane.prefill,
        )

    @property
    def passes(self) -> int | None:
        """Passes of the model after the first token, plain steps and verifications together; the least possible where
        it was not reported. ``None`` for an answer of one token, or none."""
        if self.metrics.completion_tokens < 2:
            return None
        if speculation := self.reports.speculation:
            return len(speculation.rounds) + speculation.plain_steps
        return least_passes(self.metrics.completion_tokens, self.metrics.accepted_tokens)

    @property
    def tokens_per_pass(self) -> float | None:
        """Mean tokens of all passes after the first token; plain decoding gives 1."""
        return (self.metrics.completion_tokens - 1) / self.passes if self.passes else None

    @property
    def _decoding(self) -> tuple[object, ...]:
        """All that a pass of the model that answered costs by, besides its rows."""
        gears, cascade = self.config.optimization, self.reports.cascade
        writer = cascade.tier if cascade else str(self.config.ladder[-1])
        return (writer, self.config.backend, gears.kv_dtype, gears.window, gears.cache_mode is CacheMode.OFF)

    @property
    def is_remote(self) -> bool:
        """Whether a server answered: it counts tokens, and what came of them are pieces of text."""
        return is_remote(self.reports.cascade.tier if self.reports.cascade else self.config.model)

    def is_plain_partner_of(self, other: Measured) -> bool:
        """Whether it decodes as the other does, but token by token; nobody knows how a server does."""
        return not self.is_remote and self._decoding == other._decoding and self.metrics.accepted_tokens == 0


def run_faults(run: Measured) -> tuple[str, ...]:
    """What the figures of a run contradict; a sentence each, none where they are sound."""
    found = [*_unreal(run.metrics)]
    if not found:  # what is not a number at all is compared with nothing
        found = [*_times(run), *_counts(run), *_shares(run), *_drafts(run), *_tiers(run), *_tokens(run)]
    return tuple(found)


def pair_fault(first: Measured, other: Measured) -> str | None:
    """Why two runs cannot be compared: the figures of one contradict each other, or it is faster than its drafts allow
    where the other decodes alike without them."""
    if run_faults(first) or run_faults(other):
        return "They are not compared: the figures of at least one contradict each other."
    for plain, drafted in ((first, other), (other, first)):
        before, after, most = plain.metrics.tpot_s, drafted.metrics.tpot_s, drafted.tokens_per_pass
        if drafted.metrics.drafted_tokens and plain.is_plain_partner_of(drafted) and before and after and most:
            return speedup_fault(before / after, most)
    return None


def least_passes(tokens: int, accepted: int) -> int | None:
    """Passes after the first token at least: each gives one token of the model's own, save a last one whose drafts end
    the answer. ``None`` for an answer of one token, or none."""
    return max(1, tokens - 1 - accepted) if tokens > 1 else None


def speedup_fault(speedup: float, tokens_per_pass: float) -> str | None:
    """A pass over drafted tokens takes no less time than one over a single token: nothing speeds decoding up by more
    than the tokens that a pass gives.

    Args:
        speedup: plain TPOT / drafted TPOT.
        tokens_per_pass: of the drafted run, mean over all passes, plain steps included.
    """
    if speedup <= SPEEDUP_SLACK * tokens_per_pass:
        return None
    return (
        f"The plain run took {units.ratio(speedup)} the time a token of the drafted one, whose passes gave "
        f"{units.tokens(tokens_per_pass)} each: no more than that can be gained. One of the two was disturbed."
    )


def bandwidth_note(share: float, bytes_per_token: float, cache_bytes: int | None) -> str | None:
    """Why decoding seems to read more than memory gives; ``None`` where it does not.

    Args:
        share: bytes read per token × tokens per second / measured bandwidth of memory.
        bytes_per_token: weights, and KV where it counts.
        cache_bytes: size of the last-level cache; ``None`` where it is not known.
    """
    if share <= 1:
        return None
    if cache_bytes and bytes_per_token <= cache_bytes:
        return (
            f"{units.percent(share)} of memory's bandwidth: {units.memory(bytes_per_token)} a token fit the last-level "
            f"cache of {units.memory(cache_bytes)}, which is read faster."
        )
    return f"Measurement fault: {units.percent(share)} of memory's bandwidth cannot be. One of the two was disturbed."


def totals_faults(totals: Totals, latency: Latency) -> tuple[str, ...]:
    """What figures over many runs contradict."""
    found = []
    if totals.accepted_tokens > totals.drafted_tokens:
        found.append(_more_accepted(totals.accepted_tokens, totals.drafted_tokens))
    if totals.cached_tokens > totals.prompt_tokens:
        found.append(_more_reused(totals.cached_tokens, totals.prompt_tokens))
    for name, known in (("TTFT", latency.ttft_s), ("TPOT", latency.tpot_s), ("E2E", latency.e2e_s)):
        ranked = [value for value in (known.p50, known.p90, known.p99) if value is not None]
        if any(less > more for less, more in pairwise(ranked)):
            found.append(f"The percentiles of {name} do not rise: {', '.join(map(units.seconds, ranked))}.")
    return tuple(found)


def share_faults(shares: Mapping[str, float | None]) -> tuple[str, ...]:
    """Shares of a whole that are none, by what they are called; ``None`` and NaN stand for unknown ones."""
    return tuple(
        f"{name} is {value * 100:.4g} %, which no share can be."
        for name, value in shares.items()
        if value is not None and not math.isnan(value) and not -_ROUNDING <= value <= 1 + _ROUNDING
    )


# --- of one run ---------------------------------------------------------------------------------------


def _unreal(metrics: RunMetrics) -> Iterator[str]:
    for each in fields(metrics):
        value = getattr(metrics, each.name)
        if value is not None and not (math.isfinite(value) and value >= 0):
            yield f"{each.name} is {value:g}."


def _times(run: Measured) -> Iterator[str]:
    m, cascade = run.metrics, run.reports.cascade
    earlier_s = sum(attempt.seconds for attempt in cascade.attempts[:-1]) if cascade else 0.0
    before_first_s = m.queue_s + earlier_s + m.prefill_s
    whole_s, name = (m.e2e_s, "E2E") if m.ttft_s is None else (m.ttft_s, "TTFT")
    if whole_s < before_first_s - _CLOCK_S:
        parts = "queueing, smaller tiers and prefill" if earlier_s else "queueing and prefill"
        yield f"{name} {units.seconds(whole_s)} is less than {parts} together, {units.seconds(before_first_s)}."
    if m.ttft_s is not None and m.ttft_s > m.e2e_s + _CLOCK_S:
        yield f"TTFT {units.seconds(m.ttft_s)} is more than E2E, {units.seconds(m.e2e_s)}."
    if m.ttft_s is not None and m.tpot_s is not None and m.completion_tokens > 1:
        tpot_s = (m.e2e_s - m.ttft_s) / (m.completion_tokens - 1)
        if not math.isclose(m.tpot_s, tpot_s, rel_tol=_ROUNDING, abs_tol=1e-5):
            yield f"TPOT {units.seconds(m.tpot_s)} is not (E2E − TTFT) / (tokens − 1), {units.seconds(tpot_s)}."
    if m.itl_p50_s is not None and m.itl_p99_s is not None and m.itl_p50_s > m.itl_p99_s:
        yield f"Half of the gaps take {units.seconds(m.itl_p50_s)} or more, 99 % of them {units.seconds(m.itl_p99_s)}."


def _counts(run: Measured) -> Iterator[str]:
    m, most, prefill = run.metrics, run.config.sampling.max_tokens, run.prefill
    if m.cached_tokens > m.prompt_tokens:
        yield _more_reused(m.cached_tokens, m.prompt_tokens)
    read = prefill.cached_tokens + prefill.computed_tokens if prefill and not run.is_remote else m.prompt_tokens
    if prefill and m.ttft_s is not None and read != m.prompt_tokens:
        yield (
            f"{prefill.cached_tokens:,} reused and {prefill.computed_tokens:,} computed tokens are not the prompt's "
            f"{m.prompt_tokens:,}."
        )
    # runs kept before a smaller tier's drafts were counted have those in the cascade's report alone
    drafted = m.drafted_tokens or (run.reports.cascade.salvaged_tokens if run.reports.cascade else 0)
    if m.accepted_tokens > drafted:
        yield _more_accepted(m.accepted_tokens, drafted)
    if m.accepted_tokens > max(0, m.completion_tokens - 1):
        yield f"{m.accepted_tokens:,} drafted tokens were accepted, in an answer of {m.completion_tokens:,}."
    if m.verification_steps > m.drafted_tokens:
        yield f"{m.verification_steps:,} passes verified {m.drafted_tokens:,} drafted tokens."
    if m.completion_tokens > most:
        yield f"The answer has {m.completion_tokens:,} tokens, and at most {most:,} were asked for."


def _shares(run: Measured) -> Iterator[str]:
    cascade, speculation = run.reports.cascade, run.reports.speculation
    yield from share_faults({"Repetition": run.metrics.repetition})
    for attempt in cascade.attempts if cascade else ():
        yield from share_faults({f"The score of {attempt.tier}": attempt.answer_score})
        yield from share_faults({f"The prompt's score for {attempt.tier}": attempt.prompt_score})
    for note in speculation.notes if speculation else ():
        yield from share_faults({f"The acceptance expected of {note.drafter}": note.acceptance})


def _drafts(run: Measured) -> Iterator[str]:
    m, report = run.metrics, run.reports.speculation
    if report is None:
        return
    drafted, accepted = (sum(len(each.token_ids) for each in report.rounds), sum(r.accepted for r in report.rounds))
    if any(each.accepted > len(each.token_ids) for each in report.rounds):
        yield "A draft has more accepted tokens than tokens."
    counted = (m.drafted_tokens, m.accepted_tokens, m.verification_steps)
    if counted != (drafted, accepted, len(report.rounds)):
        yield (
            f"{drafted:,} drafted and {accepted:,} accepted tokens in {len(report.rounds):,} drafts are reported, "
            f"and {m.drafted_tokens:,}, {m.accepted_tokens:,} and {m.verification_steps:,} counted."
        )
    passes, tokens = run.passes, m.completion_tokens - 1
    if passes is not None and not tokens - accepted <= passes <= tokens:
        yield f"{passes:,} passes cannot have given {tokens:,} tokens of which {accepted:,} were drafted."
    parts_s = report.drafting_s + report.verification_s + report.plain_s + report.choosing_s
    if parts_s > _at_most(m.e2e_s):
        yield (
            f"Drafting, verification, plain steps and choosing tokens took {units.seconds(parts_s)} together, more "
            f"than E2E, {units.seconds(m.e2e_s)}."
        )


def _tiers(run: Measured) -> Iterator[str]:
    m, cascade = run.metrics, run.reports.cascade
    if cascade is None:
        return
    tiers_s = sum(attempt.seconds for attempt in cascade.attempts)
    if m.queue_s + tiers_s > _at_most(m.e2e_s):
        yield (
            f"Queueing and the tiers took {units.seconds(m.queue_s + tiers_s)} together, more than E2E, "
            f"{units.seconds(m.e2e_s)}."
        )
    discarded = sum(attempt.tokens for attempt in cascade.attempts if not attempt.kept)
    if not discarded == cascade.discarded_tokens == m.discarded_tokens:
        yield (
            f"{discarded:,} tokens of smaller tiers were not kept, and {m.discarded_tokens:,} are counted as thrown "
            "away."
        )
    if cascade.salvaged_tokens > min(discarded, m.completion_tokens):
        yield f"{cascade.salvaged_tokens:,} tokens were taken over of {discarded:,} thrown away."


def _tokens(run: Measured) -> Iterator[str]:
    m, timeline = run.metrics, run.timeline
    if timeline is None:
        return
    if len(timeline) != m.completion_tokens and not run.is_remote:
        yield f"{len(timeline):,} tokens were kept, and {m.completion_tokens:,} counted."
        return
    if not timeline:
        return
    if any(later < sooner - _CLOCK_S for sooner, later in pairwise(timeline.t_s)):
        yield "The tokens' times go back."
    for name, whole_s, t_s in (("TTFT", m.ttft_s or 0.0, timeline.t_s[0]), ("E2E", m.e2e_s, timeline.t_s[-1])):
        if abs(whole_s - t_s) > _CLOCK_S:
            which = "first" if name == "TTFT" else "last"
            yield f"The {which} token came at {units.seconds(t_s)}, and {name} is {units.seconds(whole_s)}."
    if timeline.source.count("draft") != m.accepted_tokens and not run.is_remote:
        yield f"{timeline.source.count('draft'):,} tokens were drafted, and {m.accepted_tokens:,} are counted."
    if any(logprob > _ROUNDING for logprob in timeline.logprob):
        yield "A token's probability is above 100 %."


def _at_most(e2e_s: float) -> float:
    return e2e_s * (1 + _AFTER_SHARE) + _AFTER_S


def _more_reused(cached: int, prompt: int) -> str:
    return f"{cached:,} tokens were reused, of {prompt:,} of the prompt."


def _more_accepted(accepted: int, drafted: int) -> str:
    return f"{units.counted(accepted, 'token')} of {drafted:,} drafted were accepted."
