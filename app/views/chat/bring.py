"""Conversations that another program exported, brought to Chat."""

from __future__ import annotations

import streamlit as st

from app.chat.importing import keep_conversations, read_file, title_in_chat
from app.literal import literal
from app.prompts.conversations.reading import FORMS, Conversations
from app.prompts.tables import MOST_BYTES
from app.session import chat as chat_session
from app.store import ChatStore
from app.units import counted
from app.views.shared.errors import errors_shown

_PREVIEWED, _REASONS = 100, 5


@st.dialog("Import conversations", width="large", icon=":material/upload_file:")
def import_conversations(chats: ChatStore) -> None:
    """The dialog. Of several that are kept, the first is opened."""
    file = st.file_uploader(
        "A file of conversations",
        type=["json", "jsonl"],
        key="chat-import-file",
        max_upload_size=MOST_BYTES >> 20,
        help=f"As exported: {', '.join(FORMS)}. Branches are kept where the file has them; pictures, tools and "
        "thoughts are left out.",
    )
    if file is None:
        return
    with errors_shown():
        found = _read(file.name, file.getvalue())
        _show(found)
        if found.conversations and st.button(
            f"Import {counted(len(found.conversations), 'conversation')}",
            type="primary",
            key="chat-import-keep",
            icon=":material/check:",
        ):
            kept = keep_conversations(chats, found.conversations, chat_session.settings(None).config)
            chat_session.open_conversation(kept[0])
            chat_session.leave_notice(f"Imported from {found.form}: {counted(len(kept), 'conversation')}.")
            st.rerun()


def _show(found: Conversations) -> None:
    st.caption(f":material/verified: Read as {found.form}.")
    first = found.conversations[:_PREVIEWED]
    st.dataframe(
        {
            "Title": [title_in_chat(each) for each in first],
            "Messages": [len(each.messages) for each in first],
            "Branches": [each.branches for each in first],
            "Left out": [each.left_out for each in first],
            "Begun": [each.created_at for each in first],
        },
        hide_index=True,
        height="content" if len(first) <= _REASONS else 240,
        column_config={
            "Title": st.column_config.TextColumn(width="large"),
            "Left out": st.column_config.NumberColumn(help="Messages without a text, and those of tools."),
            "Begun": st.column_config.DatetimeColumn(format="localized"),
        },
        alt="The conversations of the file",
    )
    if found.left_out:
        reasons = "\n".join(f"- {literal(str(each))}" for each in found.left_out[:_REASONS])
        left_out = counted(len(found.left_out), "conversation")
        st.warning(f"{left_out} left out:\n{reasons}", icon=":material/warning:")


@st.cache_data(show_spinner="Reading the conversations", max_entries=2)
def _read(name: str, data: bytes) -> Conversations:
    return read_file(name, data)
