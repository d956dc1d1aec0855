"""Reading what tiers answered, what was expected and why an answer counts as it does; and saying otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from app import resources, units
from app.literal import literal
from app.router.recorded.data_sets import RATED, DataSet
from app.router.recorded.marking import Judgement
from app.session.labs.router import DATA_SET
from app.views.shared.clock import reader_zone
from app.views.shared.errors import errors_shown
from app.views.shared.reasons import say_reason, show_reason
from engine import JUDGED, Task, expected_words
from engine.cascade import RoutedPrompt, TierAnswer
from engine.errors import GearboxError

_RIGHT = 0.5
MARKED = "✎"
"""Beside a score that somebody gave by hand."""
_MOST_TIERS = 3


def select_and_read(
    columns: Mapping[str, Sequence[Any]],
    prompts: Sequence[RoutedPrompt],
    *,
    key: str,
    tiers: Sequence[str] | None = None,
    **options: Any,
) -> None:
    """A table of prompts of the data set that the lab looks at, a row each. The one that is clicked is read below it.

    Args:
        columns: of the table.
        prompts: one for each row.
        key: of the table.
        tiers: whose answers are read; ``None`` is all.
        **options: of ``st.dataframe``.
    """
    state = st.dataframe(
        dict(columns), hide_index=True, key=key, on_select="rerun", selection_mode="single-cell", **options
    )
    rows = [row for row, _ in state.selection.cells if row < len(prompts)]
    if rows:
        read_prompt(prompts[rows[0]], key=key, tiers=tiers)
    elif prompts:
        st.caption(":material/touch_app: Click a prompt to read its answers, and why they count as they do.")


def read_prompt(prompt: RoutedPrompt, *, key: str, tiers: Sequence[str] | None = None) -> None:
    """A prompt of the data set that the lab looks at: what was expected, what tiers answered, and why that is right or
    wrong. Each answer can be marked otherwise."""
    data = _data_set()
    task = data.tasks.get(prompt.prompt_id) if data else None
    shown = [tier for tier in tiers or (data.tiers if data else prompt.answers) if tier in prompt.answers]
    with st.container(border=True):
        how = "judged by a model" if task and task.checker == JUDGED else f"checked by {task.checker}" if task else ""
        checker = f" · {how}" if task and task.checker else ""
        st.caption(f"{literal(prompt.category)}{checker}")
        st.text(prompt.prompt)
        if task and task.checker:
            st.text(f"Expected: {expected_words(task)}")
        for column, tier in zip(st.columns(max(1, min(len(shown), _MOST_TIERS))), shown, strict=False):
            with column:
                _show_answer(data, task, prompt, tier, key)


def right_or_wrong(score: float, *, marked: bool = False) -> str:
    """A score as a word, with its figure where it is neither 0 nor 1, and a sign where somebody gave it by hand."""
    word = "✓ right" if score > _RIGHT else "✗ wrong"
    said = word if score in (0, 1) else f"{word} ({score:.2f})"
    return f"{said} {MARKED}" if marked else said


def verdict(data: DataSet | None, prompt: RoutedPrompt, tier: str) -> str:
    """What counts of an answer, in a word: right, wrong, or that it has no score."""
    score = prompt.answers[tier].score
    found = data.judged.get((prompt.prompt_id, tier)) if data else None
    if score is None:
        return "not checked"
    if found and found.how == "likeness":
        return f"{units.percent(score)} alike"
    if found and found.how == "judge":
        return "✓ judged right" if score > _RIGHT else "✗ judged wrong"
    return right_or_wrong(score, marked=found is not None)


def _data_set() -> DataSet | None:
    """The one that the lab looks at; ``None`` where it cannot be read, which the page then says."""
    chosen = st.session_state.get(DATA_SET.key)
    try:
        return resources.get_router_lab().data_set(chosen) if chosen else None
    except GearboxError:
        return None


def _show_answer(data: DataSet | None, task: Task | None, prompt: RoutedPrompt, tier: str, key: str) -> None:
    answer = prompt.answers[tier]
    found = data.judged.get((prompt.prompt_id, tier)) if data else None
    colour = "gray" if answer.score is None else "green" if answer.score > _RIGHT else "red"
    st.badge(literal(f"{tier}: {verdict(data, prompt, tier)}"), color=colour)  # type: ignore[arg-type]
    st.text(answer.text or "(nothing)")
    if task is not None and task.checker == JUDGED:
        say_reason(_judges_words(found, tier))
    elif task is not None:
        _say_why(data, task, answer, tier)
    if found and found.mark:
        before = "no score" if found.automatic is None else right_or_wrong(found.automatic)
        who = "you" if found.mark.own else "somebody else"
        when = units.moment(found.mark.created_at, reader_zone())
        st.caption(f"{MARKED} Marked by {who}, {when}. Without the mark: {before}.")
    if data and data.id != RATED:
        _offer_marks(data, prompt, tier, answer, key)


def _say_why(data: DataSet | None, task: Task, answer: TierAnswer, tier: str) -> None:
    """Why an answer has its score, before anybody marked it."""
    tiers = data.tiers if data else ()
    if task.checker is not None:
        show_reason(task, answer.text)
    elif len(tiers) < 2:
        say_reason("There is no checker: once a larger tier is recorded too, its answer is what this is compared with")
    elif tier == tiers[-1]:
        say_reason("There is no checker: the others are compared with this answer")
    else:
        say_reason(f"There is no checker: the figure is the F1 of its words and those of {tiers[-1]}")


def _judges_words(found: Judgement | None, tier: str) -> str:
    """What a judge says of an answer: who it is, what it says, how sure it is."""
    if found is None or not found.verdicts:
        return "No model has judged it yet"
    said = found.verdicts[-1]
    who = f"{said.judge}, which wrote it" if said.judge.key == tier else str(said.judge)
    if said.verdict.right is None:
        return f"No verdict by {who}"
    sure = said.verdict.confidence
    how_sure = "" if sure is None else f", {units.percent(sure)} sure"
    return f"Judged {'right' if said.verdict.right else 'wrong'} by {who}{how_sure}"


def _offer_marks(data: DataSet, prompt: RoutedPrompt, tier: str, answer: TierAnswer, key: str) -> None:
    found = data.judged.get((prompt.prompt_id, tier))
    own = found is not None and found.mark is not None and found.mark.own
    choices: list[tuple[str, str, bool | None]] = []
    if answer.score is None or answer.score < 1:
        choices.append(("Mark as right", ":material/check:", True))
    if answer.score is None or answer.score > 0:
        choices.append(("Mark as wrong", ":material/close:", False))
    if own:
        choices.append(("Take the mark back", ":material/undo:", None))
    with st.container(horizontal=True):
        for label, icon, right in choices:
            if st.button(
                label,
                icon=icon,
                key=f"{key}-{label}-{prompt.prompt_id}-{tier}",
                type="tertiary",
                help="Counts in every figure of the lab that you look at. The score before it is kept beside it.",
            ):
                with errors_shown():
                    weights = data.weights.get(tier, "")
                    resources.get_store().router.mark(data.id, prompt.prompt_id, tier, weights, answer.text, right)
                    st.rerun()
