"""What the columns of a file of prompts are, and how answers are checked."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from app.prompts.columns import (
    CHECKS,
    EITHER,
    FROM_FILE,
    NONE,
    Columns,
    expects_numbers_and_words,
    guess,
    guess_checker,
)
from app.prompts.tables import Table
from engine import JUDGED

_NOBODY = "(none)"


def choose_columns(prefix: str, digest: str, table: Table) -> Columns:
    """What each column is, as it was guessed and then changed.

    Args:
        prefix: begins the keys of the widgets.
        digest: of the file: each has choices of its own.
        table: its rows.
    """
    found = guess(table)
    if table.plain:
        return found
    columns = list(table.columns)

    def choose(label: str, guessed: str | None, help: str, *, optional: bool = True) -> str | None:
        options = [_NOBODY, *columns] if optional else columns
        chosen = st.selectbox(
            label,
            options,
            index=options.index(guessed or _NOBODY),
            key=f"{prefix}-{label}-{digest}",
            help=help,
        )
        return None if chosen == _NOBODY else chosen

    with st.grid(5, min_column_width=150):
        prompt = choose("Prompt", found.prompt, "What is asked.", optional=False) or found.prompt
        expected = choose("Expected answer", found.expected, "What answers are checked by.")
        category = choose("Category", found.category, "Scores can be told apart by it.")
        mapped = replace(found, prompt=prompt, expected=expected, category=category)
        checker = guess_checker(table, mapped)
        left_off = {FROM_FILE} - {checker} if expected else set(CHECKS) - {JUDGED, NONE}
        if not expects_numbers_and_words(table, mapped):
            left_off.add(EITHER)
        checks = [name for name in CHECKS if name not in left_off]
        chosen = st.selectbox(
            "Checked by",
            checks,
            index=checks.index(checker),
            key=f"{prefix}-checker-{digest}-{prompt}-{expected}",
            format_func=lambda name: CHECKS[name].partition(":")[0],
            help="Guessed by what stands in the columns.\n"
            + "\n".join(f"- **{_bold(text)}" for text in CHECKS.values()),
        )
        mapped = mapped.checked_by(chosen)
        tokens = st.number_input(
            "Longest answer",
            1,
            4096,
            mapped.max_tokens,
            key=f"{prefix}-tokens-{digest}-{chosen}",
            help="Tokens. An answer is cut off there; a column “max_tokens” goes before it.",
        )
    options = mapped.options
    if chosen == "choice":
        options = tuple(
            st.multiselect(
                "Options",
                columns,
                default=list(found.options),
                key=f"{prefix}-options-{digest}",
                placeholder="In the prompt, as lines that begin A), B)",
                help="The column that lists them, or one for each.",
            )
        )
    return replace(mapped, options=options, max_tokens=int(tokens))


def _bold(text: str) -> str:
    """The rest of a line that begins bold: up to its colon."""
    name, colon, says = text.partition(":")
    return f"{name}**{colon}{says}"
