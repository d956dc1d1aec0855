"""Prompts that were brought, kept as a set under a name, and the word that it worked."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection
from pathlib import PurePath

import streamlit as st

from app import units
from app.literal import literal
from app.prompts.gathering import Brought
from app.quantization.tasks import tasks_sha256
from app.store import KeptSet, RouterStore
from app.views.runs.naming import one_line
from engine import JUDGED

_NAME_CHARACTERS = 120
_CHECKED = {None: "by likeness", JUDGED: "judged by a model"}
"""What is said of prompts without a checker."""


def kept_already(store: RouterStore, brought: Brought) -> KeptSet | None:
    """The set of the very same prompts, where there is one."""
    identity = tasks_sha256(brought.tasks)
    return next((kept for kept in store.sets() if kept.sha256 == identity), None)


def keep(store: RouterStore, prefix: str, file_name: str, brought: Brought, taken: Collection[str]) -> str | None:
    """Ask for a name and keep the prompts under it, once the button is pressed.

    Args:
        store: keeps them.
        prefix: begins the keys of the widgets.
        file_name: from which a name is suggested.
        brought: the prompts, of which there are some.
        taken: names that others have.

    Returns:
        The name, when they were kept; else ``None``.
    """
    identity = tasks_sha256(brought.tasks)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.text_input(
            "Name",
            _free_name(one_line(PurePath(file_name).stem), taken),
            max_chars=_NAME_CHARACTERS,
            key=f"{prefix}-name-{identity}",
        )
        pressed = st.button(
            f"Keep {units.counted(len(brought.tasks), 'prompt')}",
            type="primary",
            key=f"{prefix}-keep",
            icon=":material/check:",
        )
    if not pressed:
        return None
    chosen = name.strip() or one_line(file_name)
    store.keep_set(identity, chosen, brought.tasks)
    return chosen


def kept_words(name: str, brought: Brought) -> str:
    """That it worked, in Markdown: how many, how they are checked, how many were left out."""
    checkers = Counter(task.checker for task in brought.tasks)
    checked = ", ".join(
        f"{count:,} {_CHECKED.get(checker, f'checked by {checker}')}" for checker, count in checkers.most_common()
    )
    left_out = f", {units.counted(len(brought.left_out), 'row')} left out" if brought.left_out else ""
    kept = units.counted(len(brought.tasks), "prompt")
    return f"“{literal(name)}” is kept: {kept}, {literal(checked)}{left_out}."


def _free_name(wanted: str, taken: Collection[str]) -> str:
    """A name that no other set has."""
    numbered = (f"{wanted} ({number})" for number in itertools.count(2))
    return wanted if wanted not in taken else next(name for name in numbered if name not in taken)
