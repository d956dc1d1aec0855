"""What each gear changes, from none to all on: a waterfall for each figure, and who gets in whose way."""

from __future__ import annotations

import streamlit as st

from app import units
from app.experiments.results.arrays import Bools, Results
from app.experiments.verdicts.gears import alarms_of, gear_waterfalls, interactions_of, shown
from app.literal import literal
from app.views.experiments.charts import waterfall_chart
from app.views.experiments.reckoning import stated_day
from app.views.shared import charts


def show_gears(results: Results, among: Bools) -> None:
    """All figures that were measured with every set of gears."""
    day = stated_day()
    found = gear_waterfalls(results, among, day.per_hour)
    if not found:
        st.info("No prompt has been answered with every set of gears yet.")
        return
    for text in alarms_of(found):
        st.warning(literal(text), icon=":material/warning:")
    with st.grid(2, min_column_width=400):
        for each in found:
            charts.show(waterfall_chart(each, shown(each.figure, day.currency)), key=f"experiments-gears-{each.figure}")
    st.caption(
        "What a gear changes is its Shapley value: the mean of what it changes over all orders in which the gears can "
        f"be turned on. Intervals are 95 %, {units.counted(min(each.prompts for each in found), 'prompt')} at least. "
        f"Cost is derived: {literal(day.currency)}{day.per_hour:g} an hour × E2E with the engine alone."
    )
    if said := interactions_of(found):
        st.subheader("Interactions", anchor=False)
        st.markdown("\n".join(f"- {literal(text)}" for text in said))
