"""The Router lab's way in: a file of prompts, what its columns mean, how answers are checked, what becomes of it."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePath

import streamlit as st

from app import units
from app.literal import literal
from app.prompts.columns import (
    CHECKS,
    EITHER,
    FROM_FILE,
    NONE,
    Brought,
    Columns,
    convert,
    convert_published,
    expects_numbers_and_words,
    guess,
    guess_checker,
    published_as,
)
from app.prompts.tables import MOST_BYTES, MOST_PROMPTS, SUFFIXES, LeftOut, Table, read_table
from app.prompts.templates import TEMPLATES
from app.quantization.tasks import tasks_sha256
from app.router.lab import RouterLab
from app.session.labs.router import DATA_SET
from app.store import KeptSet, RouterStore
from app.views.router.data.manage import fork_set
from app.views.runs.naming import one_line
from app.views.shared.clock import reader_zone
from app.views.shared.errors import errors_shown
from engine import JUDGED, Task, expected_words

_FILE, _TOLD = "router-bring-file", "router-brought"
_ROUND = "router-bring-round"
"""Counts the files that were taken: each has an uploader of its own, so that a taken one is gone from view."""
_PREVIEWED = 5
_REASONS = 8
_NOBODY = "(none)"
_NAME_CHARACTERS = 120
_CHECKED = {None: "by likeness", JUDGED: "judged by a model"}
"""What is said of prompts without a checker."""


def show_bring(store: RouterStore, lab: RouterLab) -> bool:
    """The upload, what it will become, and the word that it worked.

    Returns:
        Whether a file waits to be kept: to go on now would be to go on without it.
    """
    if told := st.session_state.pop(_TOLD, None):
        st.success(told, icon=":material/check_circle:")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        file = st.file_uploader(
            "A file of prompts",
            type=list(SUFFIXES),
            key=f"{_FILE}-{st.session_state.get(_ROUND, 0)}",
            max_upload_size=MOST_BYTES >> 20,
            help=f"CSV as spreadsheets write it, JSON, JSON lines, plain text with a prompt a line; GSM8K, HumanEval, "
            f"MT-Bench, MMLU, OpenAI messages and ShareGPT as they are. Up to {MOST_PROMPTS:,} prompts.",
        )
        _offer_templates()
    if file is None:
        return False
    data = file.getvalue()
    digest = hashlib.sha256(file.name.encode("utf-8", "replace") + b"\n" + data).hexdigest()[:16]
    with errors_shown():
        table = _table(file.name, data)
        if benchmark := published_as(table):
            st.caption(f":material/verified: Read as {benchmark}, as it is published.")
            brought = _converted(digest, "", table, None)
        else:
            columns = _choose_columns(digest, table)
            brought = _converted(digest, repr(columns), table, columns)
        _show_brought(brought)
        if brought.tasks:
            _keep(store, lab, file.name, brought)
    return True


@st.cache_data(show_spinner=False, max_entries=4)
def _table(name: str, data: bytes) -> Table:
    return read_table(name, data)


@st.cache_data(show_spinner="Reading the prompts", max_entries=8)
def _converted(digest: str, read_as: str, _table: Table, _columns: Columns | None) -> Brought:
    return convert_published(_table) if _columns is None else convert(_table, _columns)


def _offer_templates() -> None:
    with st.popover("Templates", icon=":material/download:"):
        for template in TEMPLATES:
            st.download_button(
                template.format,
                template.data,
                template.file_name,
                template.mime,
                key=f"router-template-{template.file_name}",
                icon=":material/download:",
                help=template.says,
                on_click="ignore",
                type="tertiary",
            )


def _choose_columns(digest: str, table: Table) -> Columns:
    """What each column is, as it was guessed and then changed."""
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
            key=f"router-bring-{label}-{digest}",
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
            key=f"router-bring-checker-{digest}-{prompt}-{expected}",
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
            key=f"router-bring-tokens-{digest}-{chosen}",
            help="Tokens. An answer is cut off there; a column “max_tokens” goes before it.",
        )
    options = mapped.options
    if chosen == "choice":
        options = tuple(
            st.multiselect(
                "Options",
                columns,
                default=list(found.options),
                key=f"router-bring-options-{digest}",
                placeholder="In the prompt, as lines that begin A), B)",
                help="The column that lists them, or one for each.",
            )
        )
    return replace(mapped, options=options, max_tokens=int(tokens))


def _bold(text: str) -> str:
    """The rest of a line that begins bold: up to its colon."""
    name, colon, says = text.partition(":")
    return f"{name}**{colon}{says}"


def _show_brought(brought: Brought) -> None:
    if brought.tasks:
        shown = _first_of_each(brought.tasks)
        st.dataframe(
            {
                "As it is asked": [task.prompt for task in shown],
                "Right is": [expected_words(task) or "likeness to the large model's answer" for task in shown],
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


def _keep(store: RouterStore, lab: RouterLab, file_name: str, brought: Brought) -> None:
    identity = tasks_sha256(brought.tasks)
    there = next((kept for kept in store.sets() if kept.sha256 == identity), None)
    if there:
        _say_it_is_there(store, there, brought.tasks)
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.text_input(
            "Name",
            _free_name(one_line(PurePath(file_name).stem), lab),
            max_chars=_NAME_CHARACTERS,
            key=f"router-bring-name-{identity}",
        )
        if st.button(
            f"Keep {units.counted(len(brought.tasks), 'prompt')}",
            type="primary",
            key="router-bring-keep",
            icon=":material/check:",
        ):
            store.keep_set(identity, name.strip() or one_line(file_name), brought.tasks)
            _taken(identity, _in_words(name.strip() or file_name, brought))


def _free_name(wanted: str, lab: RouterLab) -> str:
    """A name that no other data set has."""
    taken = set(lab.names().values())
    numbered = (f"{wanted} ({number})" for number in itertools.count(2))
    return wanted if wanted not in taken else next(name for name in numbered if name not in taken)


def _in_words(name: str, brought: Brought) -> str:
    """That it worked: how many, how they are checked, how many were left out."""
    checkers = Counter(task.checker for task in brought.tasks)
    checked = ", ".join(
        f"{count:,} {_CHECKED.get(checker, f'checked by {checker}')}" for checker, count in checkers.most_common()
    )
    left_out = f", {units.counted(len(brought.left_out), 'row')} left out" if brought.left_out else ""
    kept = units.counted(len(brought.tasks), "prompt")
    return f"“{literal(name)}” is kept: {kept}, {literal(checked)}{left_out}. Next: record what tiers answer to them."


def _say_it_is_there(store: RouterStore, there: KeptSet, tasks: Sequence[Task]) -> None:
    answers = sum(recorded.answers for recorded in store.recorded(there.sha256))
    st.info(
        f"These prompts are here already, as “{literal(there.name)}”, since "
        f"{units.moment(there.created_at, reader_zone())}, with {units.counted(answers, 'recorded answer')}.",
        icon=":material/inventory_2:",
    )
    with st.container(horizontal=True):
        if st.button("Go on with it", type="primary", key="router-bring-open", icon=":material/arrow_forward:"):
            _taken(there.sha256, f"“{literal(there.name)}” is chosen. Next: record what tiers answer, or record again.")
        if st.button(
            "Fork",
            key="router-bring-fork",
            icon=":material/call_split:",
            help="A data set of its own with the same prompts, or some of them, under another name.",
        ):
            fork_set(store, there.sha256, there.name, tasks)


def _taken(identity: str, told: str) -> None:
    DATA_SET.turn_to(identity)
    st.session_state[_TOLD] = told
    st.session_state[_ROUND] = st.session_state.get(_ROUND, 0) + 1
    st.rerun()
