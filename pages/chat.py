"""A conversation over many turns: how long each waits for its first word, and what is reused."""

import streamlit as st

from app import resources
from app.chat.conversations import ANSWER, is_being_answered
from app.literal import literal
from app.session import chat as chat_session
from app.views.chat import actions as chat_actions
from app.views.chat.chart import show_ttft
from app.views.chat.list import show_conversations, show_menu
from app.views.chat.opened import read_opened
from app.views.chat.settings import choose_settings
from app.views.chat.tabs import show_homeless, show_other_tabs
from app.views.chat.thread import AnswerView, show_thread
from app.views.race.live import follow
from app.views.runs.naming import config_name
from app.views.shared.errors import show_error
from app.views.shared.missing_models import show_missing
from app.views.shared.promise import show_unshown
from engine import list_models
from engine.errors import InvalidRequestError

store = resources.get_store()
models = list_models(resources.get_settings().models_dir)
installed = [model.name for model in models if model.installed]

conversation, turn = read_opened(store)
busy = turn is not None and not turn.over.is_set()

with st.sidebar:
    show_conversations(store.chat)

with st.container(horizontal=True, vertical_alignment="center"):
    st.title(literal(conversation.title) if conversation else "Chat", anchor=False, width="content")
    choose_settings(conversation, installed, disabled=busy)
    if conversation:
        show_menu(conversation, disabled=busy)
try:
    settings = chat_session.settings(conversation)
except InvalidRequestError as error:
    show_error(error)
    st.stop()
st.caption(literal(config_name(settings.config)))
show_unshown(settings.config)
if notice := chat_session.take_notice():
    st.success(literal(notice), icon=":material/alt_route:")
if conversation:
    conversation = settings.applied_to(conversation)
    if chat_session.settings_changed(conversation, settings):
        store.chat.configure(conversation.id, conversation.config, conversation.system)

missing = show_missing(models, [settings.config.model], change="under 'Settings'")
if refusal := chat_session.refusal():
    show_error(refusal)
if not conversation and (last := chat_session.last_turn()) and last.homeless:
    show_homeless(last)

if conversation:
    path = conversation.path()
    asked = path[-1] if path and path[-1].role == "user" else None
    elsewhere = not busy and asked is not None and is_being_answered(store, asked.id)
    runs = {run.id: run for run in store.get_many([message.run_id for message in path if message.run_id])}
    show_thread(conversation, runs, turn, busy=busy, elsewhere=elsewhere)
    if not busy:
        show_other_tabs(conversation, asked, elsewhere=elsewhere)
else:
    st.info(
        "Say something below. Each answer shows how long its first token took, and how much of the conversation was "
        "reused instead of read again. Choose the model and its gears under 'Settings'."
    )

view = None
if turn and busy:
    with st.chat_message("assistant"):
        view = AnswerView()
    with st.bottom:  # where it stands still while the answer grows
        st.button("Stop", key="chat-stop", icon=":material/stop:", on_click=turn.stop)
if conversation:
    show_ttft(conversation, runs, store.chat, busy=busy)
st.chat_input("Say something", key=chat_session.INPUT, disabled=busy or missing, on_submit=chat_actions.send)

if turn and view:
    follow(turn, {ANSWER: view.draw})
    st.rerun()
