"""What becomes of a file of prompts, before it is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import streamlit as st

from app import units
from app.literal import literal
from app.prompts.columns import NONE
from app.prompts.gathering import Brought
from app.prompts.tables import LeftOut
from engine import Task, expected_words

_PREVIEWED = 5
_REASONS = 8


def show_brought(brought: Brought, *, unscored: str) -> None:
    """The first prompts as they will be asked, what should be known of them, and which rows are left out.

    Args:
        brought: the prompts.
        unscored: what answers to prompts without a checker are held against.
    """
    if brought.tasks:
        shown = _first_of_each(brought.tasks)
        st.dataframe(
            {
                "As it is asked": [task.prompt for task in shown],
                **_said_before(shown),
                "Right is": [expected_words(task) or f"likeness to {unscored}" for task in shown],
                "Checked by": [task.checker or NONE for task in shown],
                "Category": [task.category for task in shown],
                "Longest answer (tokens)": [task.max_tokens for task in shown],
            },
            hide_index=True,
            column_config={"As it is asked": st.column_config.TextColumn(width="large")},
            alt="The first prompts as they will be asked and checked",
        )
        beyond = len(brought.tasks) - len(shown)
        if beyond:
            st.caption(f"and {units.counted(beyond, 'further prompt')}")
    for note in brought.notes:
        st.info(literal(note), icon=":material/info:")
    if brought.left_out:
        _show_left_out(brought.left_out, nothing_else=not brought.tasks)


def _said_before(tasks: Sequence[Task]) -> dict[str, list[int]]:
    """A column for how many messages stand before a prompt; none where none do."""
    counts = [len(task.history) for task in tasks]
    return {"After (messages)": counts} if any(counts) else {}


def _first_of_each(tasks: Sequence[Task]) -> list[Task]:
    """The first prompts, and among them one of each way to be checked, in the order of the file."""
    checkers = [task.checker for task in tasks]
    firsts = {checkers.index(checker) for checker in set(checkers)}
    places = sorted(range(len(tasks)), key=lambda place: (place not in firsts, place))[:_PREVIEWED]
    return [tasks[place] for place in sorted(places)]


def _show_left_out(left_out: Sequence[LeftOut], *, nothing_else: bool) -> None:
    """Why rows are not taken; where the same holds of several, once."""
    count = len(left_out)
    reasons = Counter(row.why for row in left_out)
    first = {row.why: row.place for row in reversed(left_out)}
    said = []
    for why, times in reasons.most_common(_REASONS):
        others = f" (and {times - 1:,} more)" if times > 1 else ""
        said.append(f"- {literal(f'{first[why][0].upper()}{first[why][1:]}')}{others} {literal(why)}")
    if len(reasons) > _REASONS:
        said.append(f"- and {len(reasons) - _REASONS:,} other reasons")
    words = "\n".join(said)
    if nothing_else:
        st.error(f"None of {units.counted(count, 'row')} can be taken:\n{words}", icon=":material/error:")
    else:
        st.warning(f"{units.counted(count, 'row')} left out:\n{words}", icon=":material/warning:")
