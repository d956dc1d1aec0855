"""The Router lab on agreement: how often two tiers say the same, and where they contradict each other."""

from __future__ import annotations

import streamlit as st

from app import units
from app.literal import literal
from app.router.lab import DataSet, RouterLab
from app.router.study import Study
from app.session import router as lab_session
from app.views.router.threshold import right_or_wrong
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
    prompts = {prompt.prompt_id: prompt for prompt in data.prompts}
    shown = lab_session.pairs_shown()
    for pair in agreement.pairs[:shown]:
        prompt = prompts[pair.prompt_id]
        with st.container(border=True):
            st.caption(f"{literal(pair.category)} · similarity {units.percent(pair.similarity)}")
            st.text(prompt.prompt)
            for column, tier in zip(st.columns(2), (study.weak, study.strong), strict=True):
                answer = prompt.answers[tier]
                with column:
                    _show_answer(tier, answer.text, answer.score)
    if shown < len(agreement.pairs) and st.button(
        "Show more", key="router-pairs-more", icon=":material/expand_more:", help=f"{len(agreement.pairs):,} in all."
    ):
        lab_session.show_more_pairs()
        st.rerun()


def _show_answer(tier: str, text: str, score: float | None) -> None:
    if score is None:
        st.badge(f"{literal(tier)}: no checker", color="gray")
    else:
        right = score > 0.5
        st.badge(f"{literal(tier)}: {right_or_wrong(score)}", color="green" if right else "red")
    st.text(text or "(nothing)")
