"""The Speculation lab against γ: measured beside what the formula predicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from app import units
from app.runs.verdict import ranged_gain
from app.session.configuration import Form
from app.speculation.drafters import AUTO, drafter_label, drafter_of
from app.speculation.figures import Summary, fault_of
from app.speculation.lab import GAMMAS, lab_prompts
from app.views.gears.drafter import offered_drafters
from app.views.race.noise import machine_noise
from app.views.reports.disturbance import ICON
from app.views.reports.speculation_charts import speedup_curves
from app.views.shared import charts
from app.views.shared.faults import show_faults
from app.views.speculation.measuring import Amount, choose_amount, figures_of, known_figures, measure

_FEW = (2, 4, 8)
"""The draft lengths of the quick size."""


def show_gamma(form: Form, installed: Sequence[str]) -> None:
    """One prompt, one drafter, and both curves."""
    model, precision = form.model, form.precision
    known = known_figures(model, precision)
    offered = [key for key in offered_drafters(model, precision, installed) if key != AUTO]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        prompt = st.selectbox(
            "Prompt",
            lab_prompts(),
            format_func=lambda prompt: f"{prompt.category}: {prompt.title}",
            key="speculation-gamma-prompt",
        )
        drafter = st.selectbox(
            "Drafter",
            offered,
            format_func=drafter_label,
            key=f"speculation-gamma-drafter-{model}-{precision}-{len(offered)}",
        )
    speculations = [replace(drafter_of(drafter), gamma=gamma) for gamma in GAMMAS]
    sizes = {"Quick": Amount([each for each in speculations if each.gamma in _FEW], [prompt])}
    sizes["Full"] = Amount(speculations, [prompt])
    amount = choose_amount("gamma", model, precision, sizes, known, first="Full", draft_lengths=True)
    measure("gamma", model, precision, amount.speculations, [prompt], known)
    found = {
        gamma: figures[0]
        for gamma, each in zip(GAMMAS, speculations, strict=True)
        if (figures := figures_of(known, model, precision, each, [prompt]))
    }
    if not found:
        st.info(f"Nothing was measured for this prompt yet. γ is fixed at {', '.join(map(str, GAMMAS))} in turn.")
        return
    faults = {gamma: fault for gamma, figures in found.items() if (fault := fault_of(figures))}
    show_faults([f"γ {gamma}: {fault}" for gamma, fault in faults.items()])
    curves: dict[str, list[float | None]] = {
        "measured": [None if gamma in faults else figures.speedup for gamma, figures in found.items()],
        "predicted": [figures.predicted for figures in found.values()],
    }
    charts.show(speedup_curves(list(found), curves), key="speculation-gamma-chart")
    if held_up := [f"γ {gamma}" for gamma, figures in found.items() if figures.disturbed]:
        st.caption(f"{ICON} Disturbed: {', '.join(held_up)}. Measure again for a speed-up to rely on.")
    sound = [gamma for gamma in found if gamma not in faults]
    if not sound:
        return
    best = max(sound, key=lambda gamma: found[gamma].speedup)
    paired = Summary.of([found[best]]).paired(machine_noise())
    if paired is None:
        return
    alpha = units.percent(found[best].alpha)
    st.caption(
        f"Fastest at γ {best}: {ranged_gain(paired, 'pairs')}, where α is {alpha}. Predicted: "
        "(1 − α^(γ+1)) / (1 − α) / (γ·c + v), with α, c and v of the same runs. It takes for granted that γ tokens "
        "are drafted at every step; n-grams often have fewer, or none."
    )
