"""What each gear changes, from none to all on: a waterfall for each figure, and who gets in whose way."""

from __future__ import annotations

import numpy as np
import streamlit as st

from app import units
from app.experiments.planning.factorial import measured_sets
from app.experiments.results.arrays import Bools, Floats, Measure, Results
from app.experiments.verdicts.waterfall import Waterfall, WaterfallFigure, waterfall
from app.literal import literal
from app.views.experiments.charts import waterfall_chart
from app.views.shared import charts

_MIB = 2**20
_SHOWN = {
    WaterfallFigure.E2E: ("E2E, mean", "s", 1.0),
    WaterfallFigure.TTFT: ("TTFT, mean", "ms", 1000.0),
    WaterfallFigure.MEMORY: ("Memory: weights and KV", "MiB", 1 / _MIB),
    WaterfallFigure.QUALITY: ("Quality", "% right", 100.0),
}


def show_gears(results: Results, among: Bools) -> None:
    """All figures that were measured with every set of gears."""
    sets = measured_sets(results.design.configurations)
    groups = np.array(results.groups)[among]
    found = []
    for figure, values in _measured(results).items():
        measured = {gears: values[place][among] for gears, place in sets.items()}
        known = np.all([np.isfinite(each) for each in measured.values()], axis=0)
        if figure is WaterfallFigure.QUALITY:
            known &= results.answered_by(*sets.values())[among]
            measured = {gears: each[known] for gears, each in measured.items()}
        if known.any():
            found.append(waterfall(measured, figure, groups[known] if figure is WaterfallFigure.QUALITY else groups))
    if not found:
        st.info("No prompt has been answered with every set of gears yet.")
        return
    _show_alarms(found)
    with st.grid(2, min_column_width=400):
        for each in found:
            title, unit, scale = _SHOWN[each.figure]
            charts.show(waterfall_chart(each, title, unit, scale), key=f"experiments-gears-{each.figure}")
    st.caption(
        "What a gear changes is its Shapley value: the mean of what it changes over all orders in which the gears can "
        f"be turned on. Intervals are 95 %, {units.counted(min(each.prompts for each in found), 'prompt')} at least."
    )
    if said := [literal(each.text) for one in found for each in one.interactions]:
        st.subheader("Interactions", anchor=False)
        st.markdown("\n".join(f"- {text}" for text in said))


def _measured(results: Results) -> dict[WaterfallFigure, Floats]:
    """Of each figure ``[configurations, prompts]``."""
    figures = {
        WaterfallFigure.E2E: results.e2e_s,
        WaterfallFigure.TTFT: results.ttft_s,
        WaterfallFigure.MEMORY: results.weights_bytes + results.kv_bytes,
    }
    scores = results.scores(Measure.CHECKER)
    return figures | ({} if np.isnan(scores).all() else {WaterfallFigure.QUALITY: scores})


def _show_alarms(found: list[Waterfall]) -> None:
    for each in found:
        for alarm in each.alarms:
            st.warning(literal(alarm.text), icon=":material/warning:")
