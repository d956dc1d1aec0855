"""The paged table of runs, and what can be done to the rows selected in it."""

from __future__ import annotations

import io
import math
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import BinaryIO, TextIO, cast

import streamlit as st

from app.literal import literal
from app.store import LOOKED_BACK, RunFilter, RunPage, RunSort, RunStore, RunSummary, StoreError
from app.units import MISSING, counted, moment
from app.views.runs.naming import column_config, describe, run_columns
from app.views.shared.clock import reader_zone
from app.views.shared.errors import show_error

_NOT_DELETED = "runs-not-deleted"
_NAMED_WHEN_DELETING = 5
_HEIGHT = 560  # px, about 15 rows
_MOST_DOWNLOADED = 100_000
"""Runs that one download brings: Streamlit holds it in memory."""
_LOOKED_BACK = "runs-looked-back"
"""Key of a short text, and of how many runs are read for it."""
_FURTHER = 5
"""So many times as many runs are read next."""
_WORTH_SAYING = 10_000
"""So many runs are read in no time."""


def read_page(store: RunStore, filter: RunFilter, sort: RunSort, size: int) -> tuple[RunPage, str]:
    """The page of the list that is turned to, and the key of the widget that turns the pages.

    Another filter, order or page size begins at the first page; a page that is no longer there is
    replaced by the last one.
    """
    scope = (replace(filter, since=None), filter.since is None, sort, size)
    key = f"runs-page-{hash(scope)}"
    number = int(st.session_state.get(key, 1))
    read = partial(store.page, filter, sort, limit=size, looked_back=_looked_back(filter.text))
    page = read(offset=(number - 1) * size)
    if number > 1 and not page.rows:
        last = page_count(page.total, size)
        st.session_state[key] = last
        page = read(offset=(last - 1) * size)
    return page, key


def say_how_far_back(page: RunPage, text: str) -> None:
    """That a short text was looked for among the newest runs only, where it was, and the way to go on."""
    if page.searched_since is None:
        return
    back, further = _looked_back(text), _FURTHER * _looked_back(text)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(
            f":material/manage_search: Texts of one or two characters are looked for among the newest {back:,} runs: "
            f"back to {moment(page.searched_since, reader_zone())}. With three all are searched at once.",
            width="content",
        )
        st.button(
            f"Look through {further:,}",
            icon=":material/arrow_back:",
            help="Takes about a second for each 100,000.",
            key="runs-further-back",
            on_click=lambda: st.session_state.update({_LOOKED_BACK: (text, further)}),
        )


def _looked_back(text: str) -> int:
    """How many of the newest runs are read for a short text."""
    of, back = st.session_state.get(_LOOKED_BACK, ("", 0))
    return back if of == text else LOOKED_BACK


def page_count(total: int, size: int) -> int:
    """How many pages a list has; an empty list has one."""
    return max(1, math.ceil(total / size))


def select_rows(page: RunPage) -> tuple[RunSummary, ...]:
    """Draw the table; the runs selected in it."""
    # Keyed by its rows: a selection is kept by position, and must not slide to another run when the list moves.
    event = st.dataframe(
        run_columns(page.rows),
        column_config=column_config(),
        hide_index=True,
        placeholder=MISSING,
        height=_HEIGHT,
        on_select="rerun",
        selection_mode="multi-row",
        key=f"runs-table-{hash(tuple(run.id for run in page.rows))}",
        alt="Runs",
    )
    return tuple(page.rows[row] for row in event.selection.rows)


def say_whose(store: RunStore) -> None:
    """That a list leaves others' runs out, where it does."""
    if store.viewer and not store.viewer.sees_all:
        st.caption("Runs of others are not listed: what they asked is shown to them alone.")


def say_what_was_pruned(store: RunStore) -> None:
    """That old runs are there no more, where it is so."""
    if pruned := store.retention.pruned:
        st.caption(
            f":material/auto_delete: {counted(pruned.runs, 'run')} from before "
            f"{moment(pruned.before, reader_zone())[:10]} pruned; Operations still counts them."
        )


def say_what_is_not_indexed(store: RunStore) -> None:
    """Why searching takes longer than it will, where it does."""
    if trouble := store.texts.trouble:
        st.caption(f":material/hourglass: Searches read every run, which takes longer. {literal(trouble)}")
    elif (waiting := store.texts.waiting()) > _WORTH_SAYING:
        st.caption(
            f":material/hourglass: {counted(waiting, 'run')} to be indexed yet: until then searches take longer."
        )


def turn_pages(page: RunPage, size: int, key: str) -> None:
    """How many runs there are, and the widget that turns the pages."""
    pages = page_count(page.total, size)
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        number = (
            f"More than {page.total:,} runs: the newest can be turned to" if page.more else counted(page.total, "run")
        )
        st.caption(number, width="content")
        if pages > 1:
            st.pagination(pages, key=key)


def export_buttons(store: RunStore, filter: RunFilter, page: RunPage) -> None:
    """Downloads of all runs that the filter lets through, written when they are asked for."""
    whole = not page.more and page.total <= _MOST_DOWNLOADED
    own = "All runs that the filters let through."
    refusal = f"More than {_MOST_DOWNLOADED:,} runs: narrow the filters, or write a file with `gearbox runs export`."
    for name, mime, export, what in (
        ("CSV", "text/csv", _text(store.export_csv), "One row a run, without its tokens; Excel reads it."),
        ("JSONL", "application/jsonl", _text(store.export_jsonl), "One object a run, its tokens included."),
        ("Parquet", "application/vnd.apache.parquet", store.export_parquet, "One row a run, for data frames."),
    ):
        st.download_button(
            name,
            partial(_written, export, filter),
            file_name=f"gearbox-runs.{name.lower()}",
            mime=mime,
            icon=":material/download:",
            help=f"{what} {own}" if whole else refusal,
            disabled=not whole,
            on_click="ignore",
            key=f"export-{name}",
        )


def _text(export: Callable[[RunFilter, TextIO], int]) -> Callable[[RunFilter, BinaryIO], int]:
    """An export of text as one of bytes."""

    def write(filter: RunFilter, stream: BinaryIO) -> int:
        text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
        number = export(filter, text)
        text.flush()
        text.detach()
        return number

    return write


def _written(export: Callable[[RunFilter, BinaryIO], int], filter: RunFilter) -> BinaryIO:
    """An export in a file without a name, which is gone once it was sent."""
    with tempfile.TemporaryFile() as stream:
        export(filter, cast("BinaryIO", stream))
        stream.seek(0)
        return os.fdopen(os.dup(stream.fileno()), "rb")  # of a kind that Streamlit takes


@st.dialog("Delete runs?", icon=":material/delete:")
def confirm_delete(store: RunStore, runs: Sequence[RunSummary]) -> None:
    """Ask before deleting; afterwards the page runs again, without the permalink of a run that is gone."""
    st.write(f"{counted(len(runs), 'run')} will be deleted with all tokens, tags and notes. This cannot be undone.")
    for run in runs[:_NAMED_WHEN_DELETING]:
        st.caption(literal(describe(run)))
    if len(runs) > _NAMED_WHEN_DELETING:
        st.caption(f"… and {len(runs) - _NAMED_WHEN_DELETING:,} more")
    ids = [run.id for run in runs]
    if st.button(
        f"Delete {counted(len(ids), 'run')}", type="primary", key="confirm-delete", on_click=_delete, args=(store, ids)
    ):
        if refusal := st.session_state.pop(_NOT_DELETED, None):
            show_error(refusal)
        else:
            st.rerun()


def _delete(store: RunStore, run_ids: Sequence[str]) -> None:
    st.session_state.pop(_NOT_DELETED, None)
    try:
        store.delete(run_ids)
    except StoreError as error:
        # what a callback shows is gone once the dialog draws itself again, so the dialog says it
        st.session_state[_NOT_DELETED] = str(error)
        return
    if st.query_params.get("run") in run_ids:
        del st.query_params["run"]
