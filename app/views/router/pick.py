"""The Router lab's picker: the user names a target, one half of the prompts chooses, the other half reports."""

from __future__ import annotations

import streamlit as st

from app import units
from app.literal import literal
from app.router.lab import RouterLab
from app.router.study import Study
from app.session import router as lab_session
from app.views.router.words import between, flipped, signed_percent
from engine.cascade import NEVER, Figure, KeepQuality, RiskAtMost, Selection, SpendAtMost, ThresholdFigures

_QUALITY, _COST, _RISK = "Keep quality", "Spend at most", "Certify a risk"
_TARGET, _SHARE, _BUDGET, _ALPHA, _CONFIDENCE = (
    "router-target",
    "router-target-quality",
    "router-target-cost",
    "router-target-risk",
    "router-target-confidence",
)


def show_picker(lab: RouterLab, study: Study) -> None:
    """The target, what it comes to, and the way to use it."""
    kind = st.segmented_control(
        "Target",
        (_QUALITY, _COST, _RISK),
        default=_QUALITY,
        required=True,
        key=_TARGET,
        help=f"- **{_QUALITY}**: at least this share of the large model's score, at least time.\n"
        f"- **{_COST}**: at most this share of the large model's time, at best quality.\n"
        f"- **{_RISK}**: with the confidence asked for, at most this share of all prompts keeps a small answer where "
        "the large one is better.",
        persist_state="session",
    )
    selection = lab.selection(study, _target(kind or _QUALITY))
    _say(selection)
    if study.learned_from == 0 and study.reason:
        st.caption("The router was not learned: its score needs no data.")
    _show_halves(selection)
    shown = "none goes up" if selection.threshold >= NEVER else f"{selection.threshold:.3f}"
    st.button(
        f"Use this threshold ({shown})",
        key="router-use",
        icon=":material/check:",
        type="primary" if selection.met else "secondary",
        on_click=lab_session.set_threshold,
        args=(study, selection.threshold),
        help="Sets the slider under Threshold. Save it under Profiles.",
    )


def _target(kind: str) -> KeepQuality | SpendAtMost | RiskAtMost:
    match kind:
        case "Spend at most":
            return SpendAtMost(_percent(_BUDGET, "Time, % of the large model's", 60, 5, 150))
        case "Certify a risk":
            with st.container(horizontal=True):
                alpha = _percent(_ALPHA, "Risk, % of all prompts", 10, 1, 50)
                confidence = _percent(_CONFIDENCE, "Confidence, %", 95, 50, 99)
            return RiskAtMost(alpha, round(1 - confidence, 6))
        case _:
            return KeepQuality(_percent(_SHARE, "Score, % of the large model's", 95, 50, 100))


def _percent(key: str, label: str, first: int, least: int, most: int) -> float:
    return int(st.number_input(label, least, most, first, key=key, step=1, width=220, persist_state="session")) / 100


def _say(selection: Selection) -> None:
    more = selection.more_prompts
    advice = f" About {units.count(more)} more prompts with both tiers' answers would do." if more else ""
    if not selection.met:
        word = "This cannot be certified" if isinstance(selection.target, RiskAtMost) else "This target cannot be met"
        st.warning(f"{word} on these prompts. {literal(selection.reason)}{advice}", icon=":material/warning:")
        return
    if selection.reason:
        st.warning(literal(selection.reason), icon=":material/warning:")
    certified = isinstance(selection.target, RiskAtMost)
    met = "Certified on one half" if certified else "Met on the half that chose"
    if selection.held:
        st.success(f"{met}, and held on the other half.", icon=":material/check_circle:")
    else:
        st.warning(
            f"{met}, but missed on the other half. Look at the interval: with few prompts, either may be chance.",
            icon=":material/warning:",
        )


def _show_halves(selection: Selection) -> None:
    def column(figures: ThresholdFigures) -> list[str]:
        return [
            units.count(figures.prompts),
            _both(figures.quality_kept, lambda value: f"{value:.2f}×"),
            _both(flipped(figures.cost_share), signed_percent),
            _both(figures.share, units.percent),
            _both(figures.missed, lambda value: units.percent(value, 1)),
            _both(figures.cost, units.seconds),
        ]

    st.dataframe(
        {
            "Figure": [
                "Prompts",
                "Quality kept (of the large model's score)",
                "Time saved (of the large model's)",
                "Sent to the large model",
                "Missed (of all prompts)",
                "Time per prompt",
            ],
            "The half that reports": column(selection.test),
            "The half that chose": column(selection.calibration),
        },
        hide_index=True,
        alt="What the picked threshold gives on either half",
    )
    st.caption(
        "In brackets the 95 % interval. The halves are drawn by category; figures of the half that chose flatter the "
        "threshold, those of the other half do not."
    )


def _both(figure: Figure | None, write: object) -> str:
    if figure is None or not callable(write):
        return units.MISSING
    return f"{write(figure.value)} ({between(figure.low, figure.high, write)})"
