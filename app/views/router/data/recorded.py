"""What is recorded of each tier of a data set, who recorded it, when, on which machine, and what is odd about it."""

from __future__ import annotations

import numpy as np
import streamlit as st

from app import resources, units
from app.literal import literal
from app.router.operation.profiles import installed_weights
from app.router.recorded.data_sets import DataSet
from app.store import RecordedTier
from app.views.reports.disturbance import WORD as DISTURBED
from app.views.router.data.answers import MARKED, select_and_read, verdict
from app.views.runs.naming import one_line
from app.views.shared.clock import reader_zone
from engine.cascade.reporting.figures import score_of
from engine.types import Tier

_NAMED_CATEGORIES = 12
_SHORT_HASH = 8


def show_recorded(data: DataSet) -> None:
    """The tiers with their scores and times, where the answers are from, and the answers themselves."""
    _show_tiers(data)
    _say_what_is_odd(data)
    categories = sorted({prompt.category for prompt in data.prompts})
    named = ", ".join(categories[:_NAMED_CATEGORIES])
    more = len(categories) - _NAMED_CATEGORIES
    further = f" and {more:,} more" if more > 0 else ""
    marked = sum(each.how == "mark" for each in data.judged.values())
    judged = sum(each.how == "judge" for each in data.judged.values())
    judges = f" {units.counted(judged, 'answer')} judged by a model." if judged else ""
    marks = f" {MARKED} {units.counted(marked, 'score')} given by hand." if marked else ""
    st.caption(
        f"{units.counted(len(data.prompts), 'prompt')} in "
        f"{'one category' if len(categories) == 1 else f'{len(categories):,} categories'}: "
        f"{literal(named)}{further}.{marks}{judges} Data {data.sha256[:_SHORT_HASH]}."
    )
    if data.recorded:
        with st.expander("Who recorded it, when and on what", icon=":material/badge:"):
            _show_origins(data)
    if st.toggle("Read the answers", key="router-read", help="Every prompt with what each tier answered."):
        _show_answers(data)


def _show_tiers(data: DataSet) -> None:
    rows = []
    for tier in data.tiers:
        scores = data.scores(tier)
        mean = score_of(np.array(scores)) if scores else None
        seconds = data.seconds(tier)
        answered = data.answered(tier)
        rows.append(
            (
                tier,
                f"{answered:,} of {data.size:,}",
                units.percent(mean.value) if mean else units.MISSING,
                f"{units.percent(mean.low)} to {units.percent(mean.high)}" if mean else units.MISSING,
                units.count(len(scores)),
                units.seconds(seconds),
                units.seconds(seconds * answered),
                units.count(data.disturbed[tier]) if tier in data.disturbed else units.MISSING,
            )
        )
    names = ("Tier", "Answered", "Mean score", "95 % interval", "Checked", "Time per prompt", "Time in all", DISTURBED)
    column = st.column_config
    st.dataframe(
        {name: [row[place] for row in rows] for place, name in enumerate(names)},
        hide_index=True,
        column_config={
            "Tier": column.TextColumn(
                pinned=True,
                width="medium",
                help="Model and precision, the smallest first: by parameters, then by bits.",
            ),
            "95 % interval": column.TextColumn(help="Of the mean score."),
            "Checked": column.TextColumn(
                help="Answers with a score. Without a checker, an answer is scored by its likeness to the largest "
                "tier's: the F1 of their words."
            ),
            "Time per prompt": column.TextColumn(help="Mean E2E, loading and waiting left out."),
            "Time in all": column.TextColumn(help="One after the other, each with the engine alone."),
            DISTURBED: column.TextColumn(
                help="Answers whose times others on this machine held up, though they were asked twice, or are "
                "estimated from such times."
            ),
        },
        alt="What is recorded of each tier",
    )


def _say_what_is_odd(data: DataSet) -> None:
    if data.ordered_by_time:
        st.caption(
            f":material/info: The size of {literal(', '.join(data.ordered_by_time))} is not known: it stands by its "
            "mean time."
        )
    for tier, found in data.recorded.items():
        if len(found.machines) > 1:
            st.warning(
                f"{literal(tier)} was recorded on more than one machine or setting, so its times are mixed: "
                f"{literal('; '.join(found.machines))}. Record it again for times of one.",
                icon=":material/warning:",
            )
        if found.to_renew:
            st.caption(
                f":material/refresh: {literal(tier)}: {units.counted(found.to_renew, 'answer')} of an earlier "
                "recording, until recorded again."
            )
    if other := _other_weights(data):
        st.warning(
            f"{literal(', '.join(other))}: recorded with other weights than installed now. Record again for those.",
            icon=":material/warning:",
        )


def _other_weights(data: DataSet) -> list[str]:
    """Tiers whose model is here with other weights than the answers are from."""
    models_dir = resources.get_settings().models_dir
    found = []
    for tier in data.tiers:
        here = installed_weights(Tier.from_key(tier).model, models_dir)
        if here is not None and here != data.weights.get(tier, here):
            found.append(tier)
    return found


def _show_origins(data: DataSet) -> None:
    tiers = [tier for tier in data.tiers if tier in data.recorded]
    origins = [data.recorded[tier] for tier in tiers]
    zone = reader_zone()
    st.dataframe(
        {
            "Tier": tiers,
            "By": [_by_whom(found) for found in origins],
            "First": [units.moment(found.first_at, zone) for found in origins],
            "Last": [units.moment(found.last_at, zone) for found in origins],
            "Weights": [found.weights_sha256[:_SHORT_HASH] for found in origins],
            "On": ["; ".join(found.machines) or units.MISSING for found in origins],
        },
        hide_index=True,
        column_config={
            "On": st.column_config.TextColumn(help="Processor, threads and kernel.", width="large"),
            "Weights": st.column_config.TextColumn(help="The beginning of the weights' sha256."),
        },
        alt="Where the answers are from",
    )
    for tier, found in zip(tiers, origins, strict=True):
        if found.estimated:
            st.caption(
                f":material/timer: {literal(tier)}: times of {found.estimated:,} of "
                f"{units.counted(found.answers, 'answer')} estimated from {found.timed_alone:,} that had the engine "
                "alone.",
                help="Answers given together share the engine. The time to the first token is estimated by a line in "
                "the prompt's tokens, each further token by the median. What was answered is the same as alone.",
            )


def _by_whom(found: RecordedTier) -> str:
    who = [word for word, count in (("you", found.own), ("others", found.others)) if count]
    return " and ".join(who) or "not known"


def _show_answers(data: DataSet) -> None:
    tiers = data.tiers
    prompts = data.prompts
    select_and_read(
        {
            "Prompt": [one_line(prompt.prompt, 120) for prompt in prompts],
            "Category": [prompt.category for prompt in prompts],
            **{
                tier: [verdict(data, prompt, tier) if tier in prompt.answers else None for prompt in prompts]
                for tier in tiers
            },
        },
        prompts,
        key="router-recorded",
        placeholder=units.MISSING,
        column_config={"Prompt": st.column_config.TextColumn(pinned=True, width="large")},
        alt="Prompts with what each tier got",
    )
