"""Whole configurations beside each other, on the prompts that all of them answered."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import streamlit as st

from app import units
from app.experiments.comparing.compared import Compared, Share, compare, compared_texts
from app.experiments.comparing.configurations import WholeConfiguration
from app.experiments.comparing.shared import Quantity, Shared, shared_prompts
from app.experiments.verdicts.verdict import PromptPairs, speed_verdict
from app.literal import literal
from app.session import compare as session
from app.session.compare import Order, Settings
from app.session.identity import known_person
from app.store import GoneError, RunStore
from app.views.compare.comparison import LETTERS, show_differences
from app.views.compare.configurations.picker import Picked, pick_configurations
from app.views.compare.configurations.words import Figure
from app.views.reports.disturbance import ICON
from app.views.shared import charts
from app.views.shared.chosen import choose_named


@dataclass(frozen=True)
class Beside:
    """What is compared, the baseline first."""

    letters: tuple[str, ...]
    names: tuple[str, ...]
    configurations: tuple[WholeConfiguration, ...]
    shared: Shared
    figures: tuple[Compared, ...]

    @cached_property
    def titles(self) -> tuple[str, ...]:
        """What each is called: "A · smollm2-135m · int4"."""
        return tuple(f"{letter} · {name}" for letter, name in zip(self.letters, self.names, strict=True))


def compare_configurations(store: RunStore) -> None:
    """All of it: the choice, what differs in words, figures, settings."""
    picked = pick_configurations(store)
    if len(picked.configurations) < 2:
        _say_what_to_do(picked)
        return
    beside = _read(store, picked, picked.which, _pin(picked), known_person())
    if not beside.shared.prompts:
        _say_that_none_is_shared(beside)
        return
    _say_how_many(beside)
    _show_differences_in_words(beside)
    _show_figures(beside)
    _show_settings(beside)


def _say_what_to_do(picked: Picked) -> None:
    if picked.configurations:
        st.info("Choose at least one more configuration to compare this one with.")
        return
    st.info(
        "Choose two to four configurations: they are compared on the prompts that all of them answered. An experiment "
        "asks all of its configurations the same."
    )
    st.page_link("pages/experiments.py", label="Open experiments", icon=":material/science:")


def _pin(picked: Picked) -> tuple[int, ...]:
    """The places of the configurations, the baseline's first."""
    ids = [each.id for each in picked.configurations]
    titles = dict(zip(ids, map(" · ".join, zip(LETTERS, picked.names, strict=False)), strict=True))
    session.PINNED.prepare(ids)
    pinned = st.segmented_control(
        "Baseline",
        ids,
        format_func=lambda id: literal(titles[id]),
        key=session.PINNED.key,
        required=True,
        help="The others are compared with it.",
        persist_state="session",
    )
    session.PINNED.into_address()
    return tuple(sorted(range(len(ids)), key=lambda place: ids[place] != pinned))


@st.cache_resource(show_spinner=False, max_entries=8)
def _read(_store: RunStore, _picked: Picked, which: Hashable, places: tuple[int, ...], person: str | None) -> Beside:
    """What is compared, as a person may see it; read once for the same runs."""
    configurations = tuple(_picked.configurations[place] for place in places)
    scores, templates = _store.experiments.scores(_picked.of_chosen), _templates(_store, _picked.experiment)
    shared = shared_prompts(_store.answered(_picked.of_chosen), configurations, scores, templates)
    return Beside(
        letters=tuple(LETTERS[place] for place in places),
        names=tuple(_picked.names[place] for place in places),
        configurations=configurations,
        shared=shared,
        figures=compare(shared, _store.experiments.answers(compared_texts(shared))),
    )


def _templates(store: RunStore, experiment: str | None) -> dict[str, str] | None:
    """Of an experiment's prompts, where they are of templates."""
    if experiment is None:
        return None
    try:
        found = {task.id: task.template for task in store.experiments.prompts(experiment) if task.template}
    except GoneError:  # its runs are still there
        return None
    return found or None


def _say_that_none_is_shared(beside: Beside) -> None:
    answered = ", ".join(
        f"{letter} {units.counted(count, 'prompt')}"
        for letter, count in zip(beside.letters, beside.shared.answered, strict=True)
    )
    pairs = [
        f"{beside.letters[one]} and {beside.letters[other]} share {count:,}"
        for (one, other), count in beside.shared.both.items()
        if count
    ]
    some = f" Only {', '.join(pairs)}: choose fewer." if pairs else ""
    st.info(
        f"No prompt was answered by all of them, with answers as long at most ({answered}).{some} An experiment asks "
        "all of its configurations the same prompts.",
        icon=":material/join_inner:",
    )
    st.page_link("pages/experiments.py", label="Make an experiment of them", icon=":material/science:")


def _say_how_many(beside: Beside) -> None:
    shared = beside.shared
    answered = ", ".join(
        f"{letter} answered {count:,}" for letter, count in zip(beside.letters, shared.answered, strict=True)
    )
    st.markdown(f"On the **{units.counted(shared.prompts, 'prompt')}** that all of them answered ({answered}).")
    for letter, failed, disturbed in zip(beside.letters, shared.failed, shared.disturbed, strict=True):
        if failed.any():
            st.caption(
                f":material/error: {letter} failed on {units.counted(int(failed.sum()), 'prompt')} of them: counted as "
                "wrong, and not timed."
            )
        if disturbed.any():
            st.caption(f"{ICON} {letter}: the times of {units.counted(int(disturbed.sum()), 'prompt')} are disturbed.")


def _show_differences_in_words(beside: Beside) -> None:
    """How each differs from the baseline in time and in quality, a sentence each."""
    quality = next((Figure(each) for each in beside.figures if each.figure is Share.QUALITY), None)
    e2e = beside.shared.figures[Quantity.E2E]
    groups = beside.shared.groups or tuple(map(str, range(beside.shared.prompts)))
    for place in range(1, len(beside.names)):
        paired = PromptPairs(
            prompt_ids=tuple(map(str, range(beside.shared.prompts))),
            groups=groups,
            categories=groups,
            baseline=np.where(e2e[0] > 0, e2e[0], np.nan),
            candidate=np.where(e2e[place] > 0, e2e[place], np.nan),
        )
        told = [speed_verdict(paired, name=beside.letters[place], baseline_name=beside.letters[0]).text]
        if quality:
            told.append(f"Quality {quality.against(place)}, {quality.written(0)} → {quality.written(place)}.")
        st.markdown(f"**{literal(' '.join(told))}**")


def _show_figures(beside: Beside) -> None:
    st.subheader("Figures", anchor=False)
    order = choose_named("Order", list(Order), session.ORDER, first=Order.CHANGED)
    found = beside.figures
    if order == Order.CHANGED:
        found = tuple(sorted(found, key=lambda each: each.change, reverse=True))
    figures = [Figure(each) for each in found]
    with st.grid(2, min_column_width=420):
        for figure in figures:
            bars = [figure.bar(letter, place) for place, letter in enumerate(beside.letters)]
            drawn = charts.horizontal_bars(bars, title=figure.title, unit=figure.unit)
            charts.show(drawn, key=f"bars-{figure.compared.figure}")
    table = {"Figure": [figure.label for figure in figures]}
    table |= {title: [figure.written(place) for figure in figures] for place, title in enumerate(beside.titles)}
    for place, letter in list(enumerate(beside.letters))[1:]:
        table[f"{letter} against {beside.letters[0]}"] = [figure.against(place) for figure in figures]
    table["Prompts"] = [units.count(figure.compared.prompts) for figure in figures]
    st.dataframe(table, hide_index=True, alt="Figures of the configurations")
    st.caption(
        "Medians over prompts, of shares means. Differences are of the same prompts: of times and amounts geometric "
        "means of ratios, with 95 % intervals. Times are of runs that had the engine alone. Each figure is of the "
        "prompts of which all have it."
    )


def _show_settings(beside: Beside) -> None:
    st.subheader("What differs", anchor=False)
    settings = choose_named("Settings", list(Settings), session.SETTINGS)
    trees = [each.config.to_dict() for each in beside.configurations]
    show_differences(beside.titles, trees, what="configuration", alike=settings == Settings.ALL)
