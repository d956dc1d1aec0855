"""The Router lab on agreement: how often two tiers say the same, and where they contradict each other."""

from __future__ import annotations

import streamlit as st

from app import units
from app.literal import literal
from app.router.choosing.study import Study
from app.router.lab import RouterLab
from app.router.recorded.data_sets import DataSet
from app.session.labs import router as lab_session
from app.views.router.data.answers import select_and_read, verdict
from app.views.runs.naming import one_line
from engine.cascade import TierAgreement, changes_tier


def show_consistency(lab: RouterLab, data: DataSet, study: Study) -> None:
    """Counts, conversations, and the pairs of answers."""
    agreement = TierAgreement.of(data.prompts, study.weak, study.strong)
    pairs = len(agreement.pairs)
    scored = pairs - agreement.unscored
    with st.container(horizontal=True):
        st.metric(
            "Same words",
            units.percent(agreement.same / pairs),
            help=f"{agreement.same:,} of {pairs:,} pairs; case, punctuation and white space aside.",
        )
        st.metric(
            "Similarity",
            units.percent(agreement.mean_similarity),
            help="Mean F1 of the two answers' words. 100 % is the same words.",
        )
        for label, count in (
            ("Both right", agreement.both_right),
            ("Only small right", agreement.only_weak),
            ("Only large right", agreement.only_strong),
            ("Both wrong", agreement.both_wrong),
        ):
            share = units.percent(count / scored) if scored else units.MISSING
            st.metric(label, share, help=f"{count:,} of {units.counted(scored, 'scored pair')}.")
        _show_conversations(lab, study)
    st.subheader("The most contradictory first", anchor=False)
    _show_pairs(agreement, data, study)


def _show_conversations(lab: RouterLab, study: Study) -> None:
    turns = lab.conversation_scores(study)
    share = changes_tier(turns, lab_session.threshold(study))
    several = sum(len(scores) > 1 for scores in turns)
    st.metric(
        "Conversations that change tier",
        units.percent(share),
        help="Of the latest 50 kept conversations, those with two turns or more in which this router at this "
        f"threshold would send some turns up and not others: {units.counted(several, 'conversation')} could be scored. "
        "A router that judges answers needs turns answered by the small tier.",
    )


def _show_pairs(agreement: TierAgreement, data: DataSet, study: Study) -> None:
    by_id = {prompt.prompt_id: prompt for prompt in data.prompts}
    prompts = [by_id[pair.prompt_id] for pair in agreement.pairs]
    column = st.column_config
    select_and_read(
        {
            "Prompt": [one_line(prompt.prompt, 120) for prompt in prompts],
            "Category": [pair.category for pair in agreement.pairs],
            "Similarity": [100 * pair.similarity for pair in agreement.pairs],
            "Small": [verdict(data, prompt, study.weak) for prompt in prompts],
            "Large": [verdict(data, prompt, study.strong) for prompt in prompts],
            "Small's answer": [one_line(prompt.answers[study.weak].text, 120) for prompt in prompts],
            "Large's answer": [one_line(prompt.answers[study.strong].text, 120) for prompt in prompts],
        },
        prompts,
        key="router-pairs",
        tiers=(study.weak, study.strong),
        column_config={
            "Prompt": column.TextColumn(pinned=True, width="medium"),
            "Similarity": column.NumberColumn(format="%.0f %%", help="F1 of the two answers' words."),
            "Small": column.TextColumn(help=f"What {literal(study.weak)} got."),
            "Large": column.TextColumn(help=f"What {literal(study.strong)} got."),
        },
        alt="Pairs of answers, the most contradictory first",
    )
