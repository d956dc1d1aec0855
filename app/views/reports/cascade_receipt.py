"""What a cascade did with a prompt: tiers, scores and costs, how sure the smaller one was, what another would say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import streamlit as st

from app import resources, units
from app.cascade.cascades import alone_config, threshold_text
from app.cascade.other_tier import ask_plain, known_answer, others
from app.cascade.words import alone_text, cascade_notices, contradiction, guard_reason, habit, saved_text
from app.literal import literal
from app.session.runs import other_answers
from app.store import WITHOUT_LABS, RunFilter, RunRecord, RunStatus, RunStore
from app.views.shared.background_job import BackgroundJob
from app.views.shared.promise import show_unshown
from app.views.shared.segments import Category, Hue, Line, Scale, Segment, show_segments
from app.views.shared.text_diff import diff_words, shared_words, show_diff, show_plain
from engine.types import (
    CacheReport,
    CascadeReport,
    GuardState,
    Message,
    RouterKind,
    RunConfig,
    RunMetrics,
    SpeculationReport,
    Tier,
    TierAttempt,
)

CLOSE_CALL = 1.0
"""Logits between the two likeliest tokens: within it the second is at least 1/e as likely as the first."""
_SURE = 6.0
"""Logits from which a token is drawn as certain: the second is 400 times less likely."""
DOUBTFUL = Category(f"less than {CLOSE_CALL:g} logit", Hue.ORANGE, Line.DOTTED, 0.5)
_HABIT_OF = 20


def answered_by(report: CascadeReport) -> None:
    """The tier that answered, as a badge."""
    above = len(report.attempts) > 1
    st.badge(
        f"Answered by {literal(report.tier)}",
        icon=":material/stairs:",
        color="orange" if above else "green",
        help="A larger model was asked." if above else "No larger model was needed.",
    )


def show_cascade_notices(
    report: CascadeReport,
    speculation: SpeculationReport | None,
    metrics: RunMetrics | None,
    cache: CacheReport | None,
    config: RunConfig,
    messages: Sequence[Message],
) -> None:
    """Say so where a gear did nothing."""
    later_turn = any(message.role == "assistant" for message in messages)
    if notices := cascade_notices(report, speculation, metrics, cache, config, later_turn=later_turn):
        st.info(literal(" ".join(notices)), icon=":material/pause_circle:")


def show_habit(store: RunStore, config: RunConfig, report: CascadeReport) -> None:
    """Say so where the router has been deciding the same of every prompt; a guard tells that better."""
    if report.guards or report.router not in (RouterKind.ESCALATE, RouterKind.HYBRID):
        return
    same = RunFilter(config_hashes=(config.hash,), statuses=(RunStatus.FINISHED,), sources=WITHOUT_LABS)
    measured = [run.metrics for run in store.page(same, limit=_HABIT_OF).rows if run.metrics]
    if notice := habit(sum(metrics.discarded_tokens > 0 for metrics in measured), len(measured)):
        st.info(notice, icon=":material/stairs:")


def show_receipt(run: RunRecord, report: CascadeReport, store: RunStore) -> None:
    """All of it."""
    config = RunConfig.from_dict(run.config)
    show_unshown(config)
    _show_tiers(report)
    _show_costs(report)
    show_habit(store, config, report)
    for place, attempt in enumerate(report.attempts):
        if attempt.threshold is not None and attempt.tokens:
            show_segments(
                margin_segments(attempt),
                key=f"margins-{run.id}-{place}",
                label=f"What {attempt.tier} wrote, by margin",
                title=f"{attempt.tier}: margin",
                scale=Scale(f"{_SURE:g} logits or more", "0", Hue.ORANGE),
                categories=(DOUBTFUL,),
            )
    for tier in others(report, config):
        _show_other(run, report, config, tier)


def margin_segments(attempt: TierAttempt) -> list[Segment]:
    """A tier's answer, token by token: the closer the second choice was, the stronger the tint."""
    return [
        Segment(
            text,
            strength=None if math.isnan(margin) else 1 - min(max(margin, 0.0), _SURE) / _SURE,
            category=DOUBTFUL if margin < CLOSE_CALL else None,
            tooltip=(
                f"{text!r} · token {place + 1}",
                f"Probability {units.probability(logprob)}",
                "Margin not known" if math.isnan(margin) else f"Margin {margin:.2f} logits over the next likeliest",
            ),
        )
        for place, (text, logprob, margin) in enumerate(
            zip(attempt.token_texts, attempt.logprobs, attempt.margins, strict=True)
        )
    ]


def _show_tiers(report: CascadeReport) -> None:
    attempts = report.attempts
    st.dataframe(
        {
            "Tier": [attempt.tier for attempt in attempts],
            "Answer": [_fate(attempt) for attempt in attempts],
            "Score": [_score(attempt) for attempt in attempts],
            "Time": [units.MISSING if each.passed_over else units.seconds(each.seconds) for each in attempts],
        },
        hide_index=True,
        column_config={
            "Score": st.column_config.TextColumn(
                help="How much the next tier is needed, 0 to 1, against the threshold from which it is asked."
            ),
            "Time": st.column_config.TextColumn(help="Queueing and loading left out."),
        },
        alt="The tiers of the cascade, the smallest first",
    )


def _show_costs(report: CascadeReport) -> None:
    tried = [attempt for attempt in report.attempts if not attempt.kept and not attempt.passed_over]
    with st.container(horizontal=True, gap="medium"):
        if tried:
            st.metric(
                "Tried in vain",
                units.seconds(sum(attempt.seconds for attempt in tried)),
                help="What smaller models took before the larger one was asked. Part of TTFT and E2E.",
                width="content",
            )
            st.metric(
                "Thrown away",
                units.counted(report.discarded_tokens, "token"),
                help="What smaller models wrote.",
                width="content",
            )
            st.metric(
                "Salvaged",
                units.counted(report.salvaged_tokens, "token"),
                help="Of those, tokens that the larger model accepted as drafts. It takes models with one tokenizer.",
                width="content",
            )
        st.metric("Routing", units.seconds(report.routing_s), help="Time spent on judging.", width="content")
        _show_counterfactual(report)
        for state in report.guards:
            _show_guard(state)


def _show_counterfactual(report: CascadeReport) -> None:
    """What the largest tier alone would have taken, and what that makes of the cascade."""
    if report.large_alone_s is None or report.saved_s is None:
        return
    _small_metric(
        "Large model alone",
        alone_text(report.large_alone_s, derived=report.derived),
        saved_text(report.saved_s),
        "Derived from what reading and writing a token takes it on this machine, for an answer of this length."
        if report.derived
        else "Measured: its own answer, without what smaller models took before it. Where it took over their tokens "
        "as drafts, what that spared it is added, derived.",
    )


def _show_guard(state: GuardState) -> None:
    """What the guard of a tier knew when the prompt came."""
    if state.recent_share is None or state.needed_share is None:
        return
    _small_metric(
        f"Stayed with {literal(state.tier)}",
        units.percent(state.recent_share),
        f"{units.percent(state.needed_share)} must",
        f"Before this prompt: {literal(guard_reason(state, 'the larger model'))} All prompts asked with these settings "
        "since the app started count, those of longest ago no more.",
    )


def _small_metric(label: str, value: str, detail: str, help_text: str) -> None:
    st.metric(label, value, detail, delta_color="off", delta_arrow="off", help=help_text, width="content")


def _show_other(run: RunRecord, report: CascadeReport, config: RunConfig, tier: Tier) -> None:
    """What a tier that did not answer wrote or would write, beside the answer."""
    answers = other_answers(resources.get_jobs())
    key = f"{tier} on run {run.id}"
    said = known_answer(report, config, tier)
    said = answers.value(key) if said is None else said
    if said is not None:
        _show_both(run, report.tier, str(tier), said)
        return
    job = BackgroundJob(key, "Ask again to begin anew.")
    if job.start_button(
        f"Ask {literal(str(tier))} too",
        key=f"ask-{key}",
        icon=":material/compare:",
        main=False,
        help="What this tier would have answered, alone. It is asked in the background, and not kept among the runs.",
    ):
        request = run.asked_again(alone_config(config, str(tier)))
        answers.start(key, partial(ask_plain, resources.get_engine(), request))
        st.rerun()
    job.follow()


def _show_both(run: RunRecord, answered: str, other: str, said: str) -> None:
    parts = diff_words(run.text, said)
    if note := contradiction(run.text, said):
        st.warning(literal(note), icon=":material/compare_arrows:")
    if said == run.text:
        st.caption(f"{literal(other)} says the very same.")
        return
    with st.grid(2, min_column_width=300):
        show_plain(run.text, key=f"kept-{run.id}-{other}", label=f"Answer of {answered}", title=f"{answered}, kept")
        shared = units.percent(shared_words(parts))
        show_diff(
            parts,
            key=f"other-{run.id}-{other}",
            label=f"Answer of {other}",
            title=f"{other}, {shared} of words in common",
        )


def _fate(attempt: TierAttempt) -> str:
    if attempt.passed_over:
        return "not tried"
    if not attempt.tokens and not attempt.kept:
        return "passed over"
    return f"{units.counted(attempt.tokens, 'token')} {'kept' if attempt.kept else 'thrown away'}"


def _score(attempt: TierAttempt) -> str:
    """The score that decided against its threshold, and the prompt's before it where both were judged."""
    prompt, answer = attempt.prompt_score, attempt.answer_score
    decided = prompt if answer is None else answer
    if decided is None or attempt.threshold is None:
        return units.MISSING
    before = f"prompt {prompt:.2f}, answer " if prompt is not None and answer is not None else ""
    if math.isnan(decided):
        return f"{before}not known"
    sign = "≥" if decided >= attempt.threshold else "<"
    return f"{before}{decided:.2f} {sign} {threshold_text(attempt.threshold)}"
