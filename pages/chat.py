"""A conversation over many turns: how long each waits for its first word, and what is reused."""

from contextlib import suppress

import streamlit as st

from app import chat_state, resources
from app.chat import ANSWER, keep_answer, recover_answer
from app.components import chat_actions
from app.components.chat_chart import show_ttft
from app.components.chat_list import show_conversations, show_menu
from app.components.chat_settings import choose_settings, settings_summary
from app.components.chat_thread import AnswerView, show_thread
from app.components.errors import errors_shown, show_error
from app.components.live import run_race, settle
from app.literal import literal
from app.store import ConversationNotFoundError, StoreError
from engine import list_models
from engine.errors import InvalidRequestError

store = resources.get_store()
models = list_models(resources.get_settings().models_dir)
installed = [model.name for model in models if model.installed]

turn = chat_state.turn()
if turn and turn.race.claimed and not turn.kept:
    with errors_shown():
        settle(turn.race)
        keep_answer(store, turn)
busy = chat_state.running()

conversation = None
if opened := chat_state.open_id():
    try:
        conversation = store.chat.get(opened)
        if not busy and recover_answer(store, conversation):
            conversation = store.chat.get(opened)
    except ConversationNotFoundError as error:
        st.warning(literal(str(error)), icon=":material/search_off:")
        chat_state.open_conversation(None)

with st.sidebar:
    show_conversations(store.chat)

with st.container(horizontal=True, vertical_alignment="center"):
    st.title(literal(conversation.title) if conversation else "Chat", anchor=False, width="content")
    try:
        settings = choose_settings(conversation, installed, disabled=busy)
    except InvalidRequestError as error:
        show_error(error)
        st.stop()
    if conversation:
        show_menu(conversation, disabled=busy)
st.caption(literal(settings_summary(settings.config)))
if conversation and (conversation.config, conversation.system) != (settings.to_dict(), settings.system):
    store.chat.configure(conversation.id, settings.to_dict(), settings.system)
    conversation = store.chat.get(conversation.id)

missing = [model.title for model in models if model.in_catalog and not model.installed]
missing = [title for title in missing if title == settings.config.model]
if missing:
    st.info(
        "Install it on the Models page, or choose another model under 'Settings'.",
        title=f"Not installed yet: {literal(missing[0])}",
        icon=":material/download:",
    )
    st.page_link("pages/models.py", label="Open Models", icon=":material/deployed_code:")
if refusal := chat_state.refusal():
    show_error(refusal)

if conversation:
    answers = [message.run_id for message in conversation.path() if message.run_id]
    runs = {run.id: run for run in store.get_many(answers)}
    show_thread(conversation, runs, turn, busy=busy)
else:
    st.info(
        "Say something below. Each answer shows how long its first token took, and how much of the conversation was "
        "reused instead of read again. Choose the model and the cache mode under 'Settings'."
    )

view = None
if busy:
    with st.chat_message("assistant"):
        view = AnswerView()
        st.button("Stop", key="chat-stop", icon=":material/stop:")
if conversation:
    show_ttft(conversation, runs, store.chat, resources.get_jobs(), busy=busy)
st.chat_input(
    "Say something",
    key=chat_state.INPUT,
    disabled=busy or bool(missing),
    on_submit=chat_actions.send,
    args=(settings.config, settings.system),
)

if turn and view:
    try:
        run_race(turn.race, {ANSWER: view.draw})
    finally:
        # the next script run tries again, and tells of it
        with suppress(StoreError):
            keep_answer(store, turn)
    st.rerun()
