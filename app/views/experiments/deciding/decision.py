"""The decision sheet: one question, one answer, and what it rests on."""

from __future__ import annotations

import streamlit as st

from app import units
from app.experiments.results.arrays import Bools, Measure, Results
from app.experiments.results.divergence import Kld
from app.experiments.results.figures import Figures, figures_of
from app.experiments.verdicts.decision import TOO_FEW, Answer, Decision, decide
from app.literal import literal
from app.session import experiments as session
from app.store import RunStore
from app.views.experiments.charts import quality_intervals, times_chart
from app.views.experiments.deciding.actions import show_actions
from app.views.experiments.deciding.day import show_day
from app.views.experiments.deciding.flips import show_flips
from app.views.reports.disturbance import ICON
from app.views.shared import charts


def show_decision(store: RunStore, results: Results, among: Bools) -> None:
    """Of the candidate that is chosen."""
    baseline = results.design.baseline
    candidates = {name: place for place, name in enumerate(results.names) if place != baseline}
    if not candidates:
        st.info("This experiment has one configuration: there is nothing to hold against it.")
        return
    session.CANDIDATE.prepare(list(candidates), list(candidates)[-1])
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.selectbox(
            "Candidate",
            list(candidates),
            key=session.CANDIDATE.key,
            help=f"Held against {literal(results.names[baseline])}.",
            persist_state="session",
        )
        margin = _choose_margin(results)
    session.CANDIDATE.into_address()
    decision = decide(results, candidates[name], margin=margin / 100, among=among)
    if decision is None:
        st.info("No prompt was answered by both yet.")
        return
    _show_answer(decision)
    actions = st.container(horizontal=True)
    figures = figures_of(results, decision.measure, among)
    before, after = figures[baseline], figures[candidates[name]]
    _show_figures(decision, before, after)
    if disturbed := max(before.disturbed, after.disturbed):
        st.caption(
            f"{ICON} The times of {units.counted(disturbed, 'prompt')} are of disturbed runs alone: others took the "
            "processor, also when it was timed again."
        )
    _show_charts(decision, before, after)
    day = show_day(before, after)
    with actions:
        show_actions(store, results, candidates[name], margin_points=margin, day=day, among=among)
    show_flips(store, results, decision, candidates[name])


def _choose_margin(results: Results) -> float:
    st.session_state.setdefault(session.MARGIN, results.design.margin_points)
    return float(
        st.number_input(
            "Margin, points",
            min_value=0.1,
            max_value=99.0,
            step=0.5,
            key=session.MARGIN,
            help="By so many percentage points quality may fall and still counts as kept.",
            persist_state="session",
        )
    )


def _show_answer(decision: Decision) -> None:
    text = f"**{decision.answer}.** " + " ".join(map(literal, decision.because))
    match decision.answer:
        case Answer.YES:
            st.success(text, icon=":material/verified:")
        case Answer.NO:
            st.error(text, icon=":material/block:")
        case Answer.DOUBTED:
            st.warning(text, icon=":material/balance:")
        case _:
            st.info(text, icon=":material/hourglass_empty:")
    said = [*decision.turn]
    if 0 < decision.prompts < TOO_FEW:
        said.append(f"{units.counted(decision.prompts, 'prompt')} are few: bounds are exact, and wide.")
    if decision.likeness and isinstance(decision.kld, str):
        st.caption(literal(decision.kld_text))
    if said:
        st.caption("What would change it: " + " ".join(map(literal, said)))


def _show_figures(decision: Decision, before: Figures, after: Figures) -> None:
    quality = decision.scored
    with st.grid(min_column_width=190, gap="medium"):
        if quality:
            label = "Quality" if decision.measure is Measure.CHECKER else "Quality, as judged"
            interval = units.points_between(quality.interval.low, quality.interval.high)
            _metric(
                label,
                units.percent(quality.candidate, 1),
                interval,
                "Mean score, and the difference to the "
                f"baseline's {units.percent(quality.baseline, 1)} with its 95 % interval.",
            )
            flips = f"{len(quality.lost)} lost, {len(quality.gained)} gained"
            _metric(
                "Flip rate",
                units.percent(quality.flip_rate, 1),
                flips,
                "Answers that changed between right and wrong, in either direction.",
            )
        elif decision.likeness:
            _metric(
                "Same text",
                units.percent(decision.likeness.same_text),
                f"word F1 {units.percent(decision.likeness.word_f1)}",
                "Likeness to the baseline's answers.",
            )
        if isinstance(decision.kld, Kld):
            _metric(
                "KLD from 16 bits",
                units.divergence(decision.kld.mean),
                f"per token{f', 95 % {decision.kld.range}' if decision.kld.range else ''}",
                "Along the baseline's answers: how alike the two models are, not how good. As in the Quantization lab.",
            )
        for label, now, was in (
            ("E2E p50", after.e2e.p50, before.e2e.p50),
            ("E2E p95", after.e2e.p95, before.e2e.p95),
            ("TTFT p50", after.ttft.p50, before.ttft.p50),
        ):
            if now is not None:
                _metric(label, units.seconds(now), f"baseline {units.seconds(was)}", "Timed with the engine alone.")
        if after.weights_bytes:
            _metric(
                "Weights",
                units.memory(after.weights_bytes),
                f"baseline {units.memory(before.weights_bytes)}",
                "In memory.",
            )
        if before.failed or after.failed:
            _metric(
                "Failed",
                units.count(after.failed),
                f"baseline {units.count(before.failed)}",
                "Prompts that got no answer; they count as wrong.",
            )


def _metric(label: str, value: str, detail: str, help: str) -> None:
    st.metric(label, value, detail, delta_color="off", delta_arrow="off", help=help)


def _show_charts(decision: Decision, before: Figures, after: Figures) -> None:
    with st.grid(2, min_column_width=380):
        if decision.scored:
            charts.show(quality_intervals(decision.scored), key="experiments-quality")
        if after.e2e.p50 is not None:
            charts.show(times_chart(before, after), key="experiments-times")
