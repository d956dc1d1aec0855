"""The Speculation lab by category: what drafters do for copying, for code, for prose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import streamlit as st

from app import units
from app.literal import literal
from app.prompts.choosing import some_of_each
from app.session.configuration import Form
from app.speculation.drafters import NGRAM, drafter_label, drafter_of
from app.speculation.figures import Summary
from app.speculation.lab import lab_prompts
from app.views.gears.drafter import offered_drafters
from app.views.race.noise import machine_noise
from app.views.reports.speculation_charts import grouped_bars
from app.views.shared import charts
from app.views.shared.faults import show_faults
from app.views.speculation.measuring import Amount, choose_amount, disturbed_column, figures_of, known_figures, measure


def show_categories(form: Form, installed: Sequence[str]) -> None:
    """What to measure, how far it is, and what came out."""
    model, precision = form.model, form.precision
    prompts = lab_prompts()
    known = known_figures(model, precision)
    offered = offered_drafters(model, precision, installed)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.multiselect(
            "Drafters",
            offered,
            default=[NGRAM],
            key=f"speculation-drafters-{model}-{precision}-{len(offered)}",
            format_func=drafter_label,
            help=f"{len(prompts)} prompts, some of whose answers copy much of the prompt.",
        )
    gears = [drafter_of(key) for key in chosen]
    of_each = {"Quick": some_of_each(prompts, 1), "Standard": some_of_each(prompts, 2), "Full": prompts}
    sizes = {size: Amount(gears, its) for size, its in of_each.items()}
    amount = choose_amount("categories", model, precision, sizes, known, first="Full")
    measure("categories", model, precision, gears, amount.prompts, known)
    categories = list(dict.fromkeys(prompt.category for prompt in prompts))
    summaries: dict[tuple[str, str], Summary] = {}
    for key in offered:
        for category in categories:
            of_category = [prompt for prompt in prompts if prompt.category == category]
            if figures := figures_of(known, model, precision, drafter_of(key), of_category):
                summaries[category, key] = Summary.of(figures)
    if not summaries:
        st.info(f"Nothing was measured for {literal(model)} in {precision} yet.")
        return
    show_faults([f"{drafter_label(key)}: {fault}" for (_, key), s in summaries.items() for fault in s.faults])
    drafters = [key for key in offered if any(measured == key for _, measured in summaries)]
    series = {
        drafter_label(key): [s.speedup if (s := summaries.get((category, key))) else None for category in categories]
        for key in drafters
    }
    charts.show(
        grouped_bars(categories, series, title="Speed-up by category", unit="× plain decoding"),
        key="speculation-by-category",
    )
    _show_table(summaries, Counter(prompt.category for prompt in prompts))


def _show_table(summaries: dict[tuple[str, str], Summary], prompts: Mapping[str, int]) -> None:
    column = st.column_config
    rows, noise = list(summaries.values()), machine_noise()
    paired = [row.paired(noise) for row in rows]
    st.dataframe(
        {
            "Category": [category for category, _ in summaries],
            "Drafter": [drafter_label(key) for _, key in summaries],
            "Against plain": [found.call if found else units.MISSING for found in paired],
            "Speed-up": [units.ratio(found.ratio, found.spread) if found else units.MISSING for found in paired],
            "Slowest": [units.ratio(found.low, found.spread) if found else units.MISSING for found in paired],
            "Acceptance rate": [units.percent(row.acceptance_rate) for row in rows],
            "Acceptance length": [units.tokens(row.acceptance_length) for row in rows],
            "Identical": [f"{row.identical}/{row.tokens} tokens" for row in rows],
            "Prompts": [f"{row.prompts} of {prompts[category]}" for (category, _), row in summaries.items()],
            **disturbed_column(rows),
        },
        hide_index=True,
        height="content",
        column_config={
            "Category": column.TextColumn(width="medium"),
            "Against plain": column.TextColumn(
                help="Tied unless all prompts agree, and more clearly than by what runs differ by themselves."
            ),
            "Speed-up": column.TextColumn(help="Median over the prompts of plain TPOT / drafted TPOT."),
            "Slowest": column.TextColumn(help="The prompt that gained least."),
            "Acceptance rate": column.TextColumn(help="Accepted / drafted tokens."),
            "Acceptance length": column.TextColumn(help="1 + accepted tokens / verification steps."),
            "Identical": column.TextColumn(help="Tokens that the plain answer has too, from the first on."),
        },
        alt="Drafters by category",
    )
