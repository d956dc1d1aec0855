"""The Router lab's slider: what a threshold gives and costs, at once, and who changes sides."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from app import resources, units
from app.costs.pricing import cost, load_prices, prices_path
from app.literal import literal
from app.router.choosing.routellm import read_share, threshold_for
from app.router.choosing.study import Study
from app.router.choosing.verdict import promise_mark, spent
from app.router.lab import RouterLab, moved, nearest
from app.runs.invariants import share_faults
from app.session import playground
from app.session.labs import router as lab_session
from app.views.router.choosing.times import in_costs, show_derived
from app.views.router.data.answers import right_or_wrong, select_and_read
from app.views.router.words import (
    INTERVAL,
    cost_of,
    flipped,
    in_words,
    metric,
    reporting_prompts,
    scaled,
    signed_percent,
)
from app.views.runs.naming import one_line
from app.views.shared.errors import errors_shown, show_error
from app.views.shared.faults import show_faults
from engine.cascade import ThresholdFigures
from engine.errors import InvalidRequestError

_NEAREST = 12
_ROUTELLM, _REFUSED = "router-routellm", "router-routellm-refused"
_PER = 1000


def show_threshold(lab: RouterLab, study: Study) -> None:
    """The slider and all that depends on it."""
    lab_session.prepare_threshold(study)
    _offer_routellm(study)
    study = in_costs(lab, study)
    show_derived(study)
    _show(lab, study)


def _offer_routellm(study: Study) -> None:
    """Take the strong-call share that RouteLLM was calibrated for."""
    with st.popover("From RouteLLM", icon=":material/move_down:"):
        st.text_area(
            "What calibrate_threshold printed, or the share",
            key=_ROUTELLM,
            height=80,
            placeholder="For 20.0% strong model calls, calibrated threshold for mf: 0.188",
            help="The strong-call share is carried over. The threshold is not: it counts in the scores of RouteLLM's "
            "own router.",
        )
        st.button(
            "Set the threshold", key=f"{_ROUTELLM}-set", icon=":material/check:", on_click=_use_share, args=(study,)
        )
        if refused := st.session_state.pop(_REFUSED, None):
            show_error(refused)


def _use_share(study: Study) -> None:
    try:
        share = read_share(st.session_state.get(_ROUTELLM) or "")
    except InvalidRequestError as error:
        st.session_state[_REFUSED] = str(error)
    else:
        lab_session.set_threshold(study, threshold_for(study, share))


@st.fragment
def _show(lab: RouterLab, study: Study) -> None:
    with errors_shown():
        threshold = st.slider(
            "Threshold",
            0.0,
            lab_session.HIGHEST,
            step=0.001,
            format="%.3f",
            key=lab_session.threshold_key(study),
            help="A prompt whose score is this or more goes to the large model. Each router has its own scale.",
            persist_state="session",
        )
        figures = lab.held_out(study, threshold)
        st.markdown(in_words(study, threshold, figures.share.value, study.data.unknown))
        if mark := promise_mark(lab_session.promise(study)):
            st.caption(f":material/hourglass_empty: {mark.capitalize()}")
        large = float(lab.reporting(study).data.strong_cost.mean())
        _show_figures(figures, lab.figures(study, threshold), study, large)
        before = lab_session.threshold_before(study)
        _show_moved(study, before, threshold)
        lab_session.threshold_seen(study)


def _show_figures(figures: ThresholdFigures, of_all: ThresholdFigures, study: Study, large: float) -> None:
    """Of the prompts that report; on hover, of all."""
    st.caption(f":material/fact_check: {reporting_prompts(study)}. On hover: on all {len(study.data):,}.")
    shares = {"The strong-call share": figures.share, "The score": figures.quality, "The risk": figures.missed}
    show_faults(share_faults({name: figure.value for name, figure in shares.items()}))
    written, times = cost_of(study), study.costs is None or study.costs.in_seconds
    with st.container(horizontal=True):
        metric(
            "Sent to the large model",
            figures.share,
            units.percent,
            help=f"Strong-call share. {INTERVAL}",
            of_all=of_all.share,
        )
        metric(
            "Quality kept",
            figures.quality_kept,
            lambda value: f"{value:.2f}×",
            help=f"Mean score of the answers kept ({units.percent(figures.quality.value, 1)}) / the large model's "
            f"({units.percent(figures.strong.value, 1)}). The small model alone: "
            f"{units.percent(figures.weak.value, 1)}.",
            missing="the large model scores 0",
            of_all=of_all.quality_kept,
        )
        metric(
            f"{spent(study).capitalize()} saved",
            flipped(figures.cost_share),
            signed_percent,
            help=f"Of the large model's own: {literal(written(figures.cost.value))} a prompt instead of "
            f"{literal(written(large))}. Below 0, the cascade takes more than the large "
            "model alone. The small model's tries that were thrown away are counted.",
            missing="the large model takes no time",
            of_all=flipped(of_all.cost_share),
        )
        if times:
            _show_times(figures, of_all, large)
        metric(
            "PGR",
            figures.pgr,
            units.percent,
            help="Performance gap recovered: (quality − small) / (large − small). "
            + (figures.pgr_reason or "0 % is the small model alone, 100 % the large one."),
            of_all=of_all.pgr,
        )
        metric(
            "Missed",
            figures.missed,
            units.percent,
            help="The risk: prompts that kept a small answer where the large one scores higher, of all prompts. "
            "Exact binomial interval.",
            of_all=of_all.missed,
        )
    if figures.pgr_reason:
        st.caption(f":material/info: PGR is undefined. {literal(figures.pgr_reason)}")


def _show_times(figures: ThresholdFigures, of_all: ThresholdFigures, large_s: float) -> None:
    """What follows from seconds: money for the machine, and the wait for the first token."""
    prices = load_prices(prices_path(resources.get_settings().data_dir))
    per_hour = playground.price_per_hour(prices.machines[0].per_hour)
    per_second = cost(per_hour, _PER)

    def money(amount: float) -> str:
        return units.money(amount, prices.currency)

    metric(
        f"Cost of {_PER:,} prompts",
        scaled(figures.cost, per_second),
        money,
        help=f"Derived: {literal(prices.currency)}{per_hour:g} per hour × E2E. The large model alone: "
        f"{literal(money(large_s * per_second))}. The price is the Playground's.",
        of_all=scaled(of_all.cost, per_second),
    )
    metric(
        "Time to first token",
        figures.ttft_s,
        units.seconds,
        help="Mean TTFT of the answer that is kept: after a try that was thrown away, the large model's comes on top.",
        of_all=of_all.ttft_s,
    )


def _show_moved(study: Study, before: float, now: float) -> None:
    if before != now:
        rows, title = moved(study, before, now), f"Changed sides between {before:.3f} and {now:.3f}"
    else:
        rows, title = nearest(study, now, _NEAREST), "Next to change sides"
    st.subheader(title, anchor=False)
    if not rows:
        st.caption("No prompt. Move the threshold further.")
        return
    _show_prompts(study, rows, now)


def _show_prompts(study: Study, rows: Sequence[int], threshold: float) -> None:
    up = study.data.up(threshold)
    column = st.column_config
    select_and_read(
        {
            "Prompt": [one_line(study.prompts[row].prompt) for row in rows],
            "Category": [study.prompts[row].category for row in rows],
            "Score": [float(study.data.router_score[row]) for row in rows],
            "Answered by": ["large" if up[row] else "small" for row in rows],
            "Small": [right_or_wrong(float(study.data.weak_score[row])) for row in rows],
            "Large": [right_or_wrong(float(study.data.strong_score[row])) for row in rows],
        },
        [study.prompts[row] for row in rows],
        key="router-threshold-prompts",
        tiers=(study.weak, study.strong),
        placeholder=units.MISSING,
        column_config={
            "Prompt": column.TextColumn(pinned=True, width="large"),
            "Score": column.NumberColumn(format="%.3f", help="At or above the threshold, the large model answers."),
            "Small": column.TextColumn(help=f"What {literal(study.weak)} got."),
            "Large": column.TextColumn(help=f"What {literal(study.strong)} got."),
        },
        alt="Prompts by score",
    )
