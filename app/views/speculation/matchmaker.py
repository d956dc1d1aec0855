"""The Speculation lab's matchmaker: which drafter suits a model, and whether it is worth it."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from app import resources, units
from app.literal import literal
from app.prompts.choosing import some_of_each
from app.runs.prompts import SamplePrompt
from app.runs.verdict import gain, ranged_gain
from app.session import playground
from app.session.configuration import Form
from app.speculation.drafters import drafter_name
from app.speculation.figures import Summary
from app.speculation.lab import lab_prompts
from app.views.gears.drafter import offered_drafters
from app.views.race.noise import machine_noise
from app.views.shared.faults import show_faults
from app.views.speculation.measuring import (
    Amount,
    Known,
    choose_amount,
    disturbed_column,
    figures_of,
    known_figures,
    measure,
)
from engine.types import DrafterChoice, Precision


def show_matchmaker(form: Form, installed: Sequence[str]) -> None:
    """Every drafter with why or why not, what to expect of it, and what was measured."""
    model, precision = form.model, form.precision
    offered_drafters(model, precision, installed)  # asks the engine, and draws again once it has told
    choices = resources.get_drafter_choices().of(model, precision)
    if choices is None:
        return
    if not choices:
        st.error("The engine could not say who can draft for this model.", icon=":material/error:")
        return
    known = known_figures(model, precision)
    table = st.container()
    possible = [choice.speculation for choice in choices if choice.speculation]
    one = some_of_each(lab_prompts(), 1)
    of_each = {"Quick": one[::2], "Standard": one, "Full": lab_prompts()}
    sizes = {size: Amount(possible, its) for size, its in of_each.items()}
    prompts = choose_amount("matchmaker", model, precision, sizes, known, first="Standard").prompts
    measured = {choice.name: _measured(choice, model, precision, prompts, known) for choice in choices}
    with table:
        _show_table(choices, measured, of=len(prompts))
        show_faults([f"{name}: {fault}" for name, each in measured.items() if each for fault in each.faults])
    measure("matchmaker", model, precision, possible, prompts, known)
    _offer_best(choices, measured, model, precision)


def _measured(
    choice: DrafterChoice, model: str, precision: Precision, prompts: Sequence[SamplePrompt], known: Known
) -> Summary | None:
    if choice.speculation is None:
        return None
    figures = figures_of(known, model, precision, choice.speculation, prompts)
    return Summary.of(figures) if figures else None


def _show_table(choices: Sequence[DrafterChoice], measured: dict[str, Summary | None], *, of: int) -> None:
    column = st.column_config
    found, noise = [measured[choice.name] for choice in choices], machine_noise()
    st.dataframe(
        {
            "Drafter": [_name(choice) for choice in choices],
            "Measured speed-up": [
                gain(paired) if each and (paired := each.paired(noise)) else units.MISSING for each in found
            ],
            "Prompts": [f"{each.prompts} of {of}" if each else units.MISSING for each in found],
            **disturbed_column(found),
            "Acceptance rate": [units.percent(each.acceptance_rate if each else None) for each in found],
            "Expected speed-up": [
                f"{units.ratio(choice.expected_speedup)} at γ {choice.expected_gamma}"
                if choice.expected_speedup
                else units.MISSING
                for choice in choices
            ],
            "Relative cost": [_cost(choice) for choice in choices],
            "Suits": [choice.why_not or "yes" for choice in choices],
        },
        hide_index=True,
        column_config={
            "Relative cost": column.TextColumn(help="Of a drafted token, against one of the model's own: c."),
            "Expected speed-up": column.TextColumn(
                help="By the formula, from a first guess of the acceptance. N-grams depend on the text alone."
            ),
            "Measured speed-up": column.TextColumn(
                help="Median over the prompts of the size chosen below. Tied unless all agree, and more clearly than "
                "by what runs differ by themselves."
            ),
        },
        alt="Drafters",
    )


def _cost(choice: DrafterChoice) -> str:
    if choice.relative_cost is None:
        return units.MISSING
    if choice.relative_cost == 0:
        return "next to nothing"
    return f"{units.percent(choice.relative_cost)}, {'measured' if choice.cost_is_measured else 'estimated'}"


def _name(choice: DrafterChoice) -> str:
    return drafter_name(choice.speculation) if choice.speculation else choice.name


def _offer_best(
    choices: Sequence[DrafterChoice], measured: dict[str, Summary | None], model: str, precision: Precision
) -> None:
    speeds = {c.name: s.speedup for c in choices if (s := measured[c.name]) and s.speedup is not None}
    if not speeds:
        return
    best = next(choice for choice in choices if choice.name == max(speeds, key=speeds.__getitem__))
    if best.speculation is None:
        return
    fastest = measured[best.name]
    if fastest and (paired := fastest.paired(machine_noise())) and paired.call != "faster":
        st.info(
            f"None of them is faster than plain decoding on these prompts. The nearest is {literal(_name(best))}: "
            f"{ranged_gain(paired, 'prompts')}.",
            icon=":material/pause_circle:",
        )
    if st.button(f"Use {literal(_name(best))} in the Playground", icon=":material/play_circle:", key="speculation-use"):
        playground.use_drafter(model, precision, best.speculation)
        # the section's place in the URL keeps this page from switching to another by itself
        st.success(
            f"Lane B is set to {literal(model)} in {precision}, drafts: {literal(_name(best))}.",
            icon=":material/check:",
        )
        st.page_link("pages/playground.py", label="Open the Playground", icon=":material/play_circle:")
