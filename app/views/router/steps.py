"""The way through the Router lab: its steps with their state, and the next one offered."""

from __future__ import annotations

import streamlit as st

from app.router.way import Step, Way, following
from app.session.labs import router as lab_session

_HELP = {
    Step.BRING: "Prompts of your own, with or without the answers they should get.",
    Step.RECORD: "What each tier answers to them, and how long that takes.",
    Step.CHOOSE: "The threshold: what it promises, what it saves, and how sure that is.",
    Step.USE: "Keep it as a profile and set the Playground or a chat to it.",
    Step.WATCH: "How the profiles in use do, against what they promised.",
}
_MIN_WIDTH = 150


def choose_step(way: Way) -> Step:
    """The steps as buttons, each with its state below it; the one on view."""
    shown = lab_session.step(way.next if Step.RECORD not in way.done else Step.CHOOSE)
    with st.grid(len(Step), min_column_width=_MIN_WIDTH, gap="small"):
        for number, step in enumerate(Step, start=1):
            done = step in way.done
            with st.container(gap="xxsmall"):
                st.button(
                    f"{number} · {step.label}",
                    key=f"router-step-{step}",
                    icon=":material/check_circle:" if done else None,
                    type="primary" if step is shown else "secondary",
                    width="stretch",
                    on_click=lab_session.turn_to,
                    args=(step,),
                    help=_HELP[step],
                )
                st.caption(way.states[step], text_alignment="center")
    return shown


def offer_next(step: Step, way: Way) -> None:
    """The button to the step after this one, once there is something to take there: prompts, then recorded answers."""
    needed = {Step.BRING} if step is Step.BRING else {Step.BRING, Step.RECORD}
    after = following(step)
    if after is None or not needed <= way.done:
        return
    st.button(
        f"Next: {after.label.lower()}",
        key="router-next",
        icon=":material/arrow_forward:",
        type="primary" if step in needed else "secondary",
        on_click=lab_session.turn_to,
        args=(after,),
    )
