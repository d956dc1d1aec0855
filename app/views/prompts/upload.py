"""The way in of a file of prompts: the uploader with templates to begin from, and the file as prompts."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from app.prompts.columns import Columns, convert
from app.prompts.conversations.reading import FORMS
from app.prompts.dialogues import Turns
from app.prompts.files import SUFFIXES, read_prompt_file
from app.prompts.forms import convert_published, has_turns, published_as
from app.prompts.gathering import Brought
from app.prompts.tables import MOST_BYTES, MOST_PROMPTS, Table
from app.prompts.templates import TEMPLATES
from app.views.prompts.columns import choose_columns
from app.views.prompts.preview import show_brought


@dataclass(frozen=True, slots=True)
class Uploader:
    """Where files of prompts come in on one page."""

    prefix: str
    """Begins the keys of its widgets."""

    def file(self) -> UploadedFile | None:
        """Draw it, with templates beside it; the file that waits, if there is one."""
        with st.container(horizontal=True, vertical_alignment="bottom"):
            file = st.file_uploader(
                "A file of prompts",
                type=list(SUFFIXES),
                key=f"{self.prefix}-file-{st.session_state.get(self._round, 0)}",
                max_upload_size=MOST_BYTES >> 20,
                help=f"CSV as spreadsheets write it, JSON, JSON lines, plain text with a prompt a line; GSM8K, "
                f"HumanEval, MT-Bench and MMLU as published; conversations ({', '.join(FORMS)}) as exported; "
                f"promptfoo's tests. Up to {MOST_PROMPTS:,} prompts.",
            )
            self._offer_templates()
        return file

    def read(self, file: UploadedFile, *, unscored: str) -> Brought:
        """Its prompts, by its columns as they are guessed and then chosen; and show them.

        Args:
            file: that waits.
            unscored: what answers to prompts without a checker are held against, for the preview.

        Raises:
            InvalidRequestError: it cannot be read.
        """
        data = file.getvalue()
        digest = hashlib.sha256(file.name.encode("utf-8", "replace") + b"\n" + data).hexdigest()[:16]
        table = _table(file.name, data)
        if has_turns(table):
            st.caption(f":material/verified: Read as conversations of {published_as(table)}.")
            turns = _choose_turns(f"{self.prefix}-turns-{digest}")
            brought = _converted(digest, turns, table, None, turns)
        elif benchmark := published_as(table):
            st.caption(f":material/verified: Read as {benchmark}, as it is published.")
            brought = _converted(digest, "", table, None)
        else:
            columns = choose_columns(f"{self.prefix}-columns", digest, table)
            brought = _converted(digest, repr(columns), table, columns)
        show_brought(brought, unscored=unscored)
        return brought

    def clear(self) -> None:
        """Be without a file from the next drawing on: the one that waited was taken."""
        st.session_state[self._round] = st.session_state.get(self._round, 0) + 1

    @property
    def _round(self) -> str:
        """Counts the files that were taken: each has a widget of its own, so that a taken one is gone from view."""
        return f"{self.prefix}-round"

    def _offer_templates(self) -> None:
        with st.popover("Templates", icon=":material/download:"):
            for template in TEMPLATES:
                st.download_button(
                    template.format,
                    template.data,
                    template.file_name,
                    template.mime,
                    key=f"{self.prefix}-template-{template.file_name}",
                    icon=":material/download:",
                    help=template.says,
                    on_click="ignore",
                    type="tertiary",
                )


def _choose_turns(key: str) -> Turns:
    chosen = st.segmented_control(
        "Asked of each conversation",
        list(Turns),
        default=Turns.LAST,
        required=True,
        key=key,
        format_func=lambda each: _TURNS[each],
        help="Each message comes after all that was said before it, with the answers that were given then.",
    )
    return Turns(chosen)


_TURNS = {
    Turns.LAST: "Its last message",
    Turns.EVERY: "Every message of the user",
    Turns.FIRST: "Its first message",
}


@st.cache_data(show_spinner=False, max_entries=4)
def _table(name: str, data: bytes) -> Table:
    return read_prompt_file(name, data)


@st.cache_data(show_spinner="Reading the prompts", max_entries=8)
def _converted(
    digest: str, read_as: str, _table: Table, _columns: Columns | None, _turns: Turns = Turns.LAST
) -> Brought:
    return convert_published(_table, _turns) if _columns is None else convert(_table, _columns)
