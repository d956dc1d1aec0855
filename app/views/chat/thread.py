"""The branch of a conversation that is on view: its messages, their figures, and what can be done to them."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from app import resources, units
from app.chat.conversations import Turn
from app.chat.savings import saving_words
from app.literal import literal
from app.runs.invariants import Measured, run_faults
from app.runs.live_run import Phase
from app.runs.race import LaneRun
from app.runs.repetition import repetition_warning
from app.session import chat as chat_session
from app.store import ChatMessage, Conversation, RunRecord, RunStatus
from app.views.chat import actions as chat_actions
from app.views.race.lane import draw_progress, draw_written
from app.views.reports.cascade_receipt import show_cascade_notices
from app.views.reports.disturbance import show_disturbed
from app.views.reports.losslessness import show_speculation_notice
from app.views.reports.metrics import cached_tokens, reused_words
from app.views.runs.naming import config_name, link_to_run
from app.views.shared.errors import show_error
from app.views.shared.faults import show_faults
from engine.types import CacheMode, MissCause, RunConfig

_ENDINGS = {RunStatus.STOPPED: "Stopped", RunStatus.INTERRUPTED: "Interrupted: the server was stopped"}


class AnswerView:
    """The place where an answer grows."""

    def __init__(self) -> None:
        self._state = st.empty()
        self._answer = st.empty()

    def draw(self, lane: LaneRun) -> None:
        """Show how far it is. Always puts something on the page."""
        draw_progress(self._state, lane)
        draw_written(self._answer, lane)


def show_thread(
    conversation: Conversation, runs: Mapping[str, RunRecord], turn: Turn | None, *, busy: bool, elsewhere: bool
) -> None:
    """Every message of the branch, and how its last turn ended if it has no answer.

    Args:
        conversation: all of it, as this tab shows it.
        runs: the runs of its answers, by id, as far as they are still there.
        turn: the turn this session asked for last.
        busy: a turn is about to be streamed; nothing can be changed meanwhile.
        elsewhere: another tab is being answered the last turn.
    """
    path = conversation.path()
    for message in path:
        with st.chat_message(message.role), st.container(gap="xsmall"):
            if message.id == chat_session.edited_id() and not busy:
                _show_editor(conversation, message)
                continue
            run = runs.get(message.run_id or "")
            if run:
                _show_warnings(run)
            if message.role == "assistant":
                st.text(message.content)
            with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
                if message.role == "assistant":
                    _show_answer_figures(conversation, message, run, runs)
                else:
                    st.text(message.content, width="content")
                _show_actions(conversation, message, run, last=message is path[-1], busy=busy)
    if busy or not path:
        return
    if (last := chat_session.turn_behind(path)) and last.why_stopped:
        st.info(literal(last.why_stopped), icon=":material/visibility_off:")
    unanswered = path[-1].role == "user"
    if unanswered:
        _show_no_answer(conversation, path[-1], turn, elsewhere=elsewhere)
    if conversation.children(path[-1].id):
        with st.container(horizontal=True, vertical_alignment="center"):
            if not unanswered:
                st.caption("What you say next begins another branch here.", width="content")
            st.button(
                "Show the newest answer" if unanswered else "Back to the newest branch",
                icon=":material/redo:",
                key="chat-forward",
                type="tertiary",
                on_click=chat_actions.show_branch,
                args=(conversation.id, conversation.newest_leaf(path[-1].id)),
            )


def _show_warnings(run: RunRecord) -> None:
    config = RunConfig.from_dict(run.config)
    if warning := repetition_warning(run.metrics, config):
        st.warning(warning, icon=":material/repeat:")
    if measured := Measured.of_record(run):
        show_faults(run_faults(measured))
    if run.speculation and run.metrics:
        show_speculation_notice(run.speculation, run.metrics, config)
    if run.cascade:
        show_cascade_notices(run.cascade, run.speculation, run.metrics, run.cache, config, run.messages)


def describe_run(run: RunRecord, settings: str, saved: str = "") -> str:
    """An answer's figures on one line: "TTFT 41.2 ms · 310 tokens reused, saved about 310 ms · 24 tokens computed".

    What it was asked for with is told where it is not what ``settings`` says; ``saved`` is what reuse saved.
    """
    measured, its = run.metrics, config_name(RunConfig.from_dict(run.config))
    parts = [_ENDINGS[run.status]] if run.status in _ENDINGS else []
    parts += ["Ended at its max tokens"] if run.finish_reason == "length" else []
    if measured:
        parts += [
            f"TTFT {units.seconds(measured.ttft_s)}",
            *reused_words(measured.prompt_tokens, cached_tokens(run), saved),
        ]
    else:
        parts.append("no figures")
    if run.cascade:
        parts.append(f"answered by {run.cascade.tier}")
    if measured and measured.drafted_tokens:
        drafted = units.counted(measured.drafted_tokens, "drafted token")
        parts.append(f"{units.percent(measured.acceptance_rate)} of {drafted} accepted")
    if measured and measured.discarded_tokens:
        parts.append(f"{units.counted(measured.discarded_tokens, 'token')} thrown away")
    parts += ["computed afresh"] if run.cache and run.cache.cause is MissCause.COLD else []
    parts += [its] if its != settings else []
    return " · ".join(parts)


def _saved(conversation: Conversation, message: ChatMessage, run: RunRecord, runs: Mapping[str, RunRecord]) -> str:
    """What reuse saved a turn, in words: derived, and measured where the turn was answered cold too."""
    before = [runs[each.run_id or ""] for each in conversation.path(message.id)[:-1] if each.run_id in runs]
    siblings = [each.run_id for each in conversation.siblings(message) if each.run_id]
    answers = resources.get_store().get_many(siblings) if len(siblings) > 1 else [run]
    return saving_words(run, before, answers)


def _show_answer_figures(
    conversation: Conversation, message: ChatMessage, run: RunRecord | None, runs: Mapping[str, RunRecord]
) -> None:
    if run is None:
        st.caption("No figures: it was imported, or its run was deleted.", width="content")
        return
    st.caption(
        literal(
            describe_run(
                run, config_name(RunConfig.from_dict(conversation.config)), _saved(conversation, message, run, runs)
            )
        ),
        width="content",
        help="TTFT: from the request's arrival to the first token, waiting for other runs included. Reused and "
        "computed: tokens of the whole conversation up to here; only KV caching across runs reuses any. Saved about: "
        "derived, reused tokens × what a computed one took; 'Start it cold' measures it.",
    )
    show_disturbed(run.disturbance)


def _show_actions(
    conversation: Conversation, message: ChatMessage, run: RunRecord | None, *, last: bool, busy: bool
) -> None:
    siblings = conversation.siblings(message)
    if message.role == "user":
        st.button(
            "Edit",
            icon=":material/edit:",
            key=f"chat-edit-{message.id}",
            type="tertiary",
            disabled=busy,
            help="Ask this turn in other words. What followed stays, on its own branch.",
            on_click=chat_session.start_editing,
            args=(message.id,),
        )
    elif last and message.parent_id:
        st.button(
            "Answer again",
            icon=":material/refresh:",
            key=f"chat-again-{message.id}",
            type="tertiary",
            disabled=busy,
            help="Write another answer to the same turn, with the next seed. This one stays.",
            on_click=chat_actions.answer,
            args=(conversation.id, message.parent_id),
        )
        if run and RunConfig.from_dict(run.config).optimization.cache_mode is CacheMode.PREFIX:
            st.button(
                "Start it cold",
                icon=":material/ac_unit:",
                key=f"chat-cold-{message.id}",
                type="tertiary",
                disabled=busy,
                help="Measures what reuse saves: writes this answer again with the same seed, reusing nothing. Where "
                "the texts differ, it is not the model's doing. This one stays.",
                on_click=chat_actions.answer_cold,
                args=(conversation.id, message.parent_id, run.seed),
            )
    else:
        st.button(
            "Branch",
            icon=":material/call_split:",
            key=f"chat-branch-{message.id}",
            type="tertiary",
            disabled=busy,
            help="Go on from here in another way. What followed stays, on its own branch.",
            on_click=chat_actions.show_branch,
            args=(conversation.id, message.id),
        )
        if message.role == "assistant":
            st.empty()  # where "Start it cold" stood: what stands behind it keeps its place while the next turn runs
    if run:
        link_to_run(run.id)
    if len(siblings) > 1:
        _show_switch(conversation, message, siblings, busy=busy)


def _show_switch(
    conversation: Conversation, message: ChatMessage, siblings: tuple[ChatMessage, ...], *, busy: bool
) -> None:
    place = siblings.index(message)
    for step, icon, name in ((-1, ":material/chevron_left:", "Previous"), (1, ":material/chevron_right:", "Next")):
        there = place + step
        if step == 1:
            st.caption(f"{place + 1} of {len(siblings)}", width="content")
        st.button(
            name,
            icon=icon,
            icon_position="right" if step == 1 else "left",
            key=f"chat-{name.lower()}-{message.id}",
            type="tertiary",
            disabled=busy or not 0 <= there < len(siblings),
            on_click=chat_actions.show_branch,
            args=(conversation.id, conversation.newest_leaf(siblings[there % len(siblings)].id)),
        )


def _show_editor(conversation: Conversation, message: ChatMessage) -> None:
    key = f"chat-wording-{message.id}"
    with st.form(f"chat-editor-{message.id}", border=False):
        st.text_area("Your message", value=message.content, key=key, height=110)
        with st.container(horizontal=True):
            st.form_submit_button(
                "Send",
                key="chat-save-edit",
                type="primary",
                icon=":material/send:",
                on_click=chat_actions.save_edit,
                args=(conversation.id, message.id, key),
            )
            st.form_submit_button("Cancel", key="chat-cancel-edit", on_click=chat_session.stop_editing)


def _show_no_answer(conversation: Conversation, asked: ChatMessage, turn: Turn | None, *, elsewhere: bool) -> None:
    """The last turn has no answer: why, as far as this session knows, and a way to try again."""
    lane = turn.lane if turn and turn.asked_id == asked.id and turn.lane.phase is Phase.OVER else None
    if lane and lane.error:
        show_error(lane.error)
    elif lane and lane.status is RunStatus.FINISHED:
        st.info("The model answered with nothing. Ask in other words, or try again.")
    elif lane:
        st.info("Stopped before the first word of an answer.")
    elif elsewhere:
        st.info("This turn is being answered in another tab. Its answer can be shown here once it is there.")
    elif conversation.children(asked.id):
        st.info("This turn was answered, on a branch that is not shown here.")
    else:
        st.info("This turn has no answer yet.")
    st.button(
        "Try again" if lane else "Answer",
        icon=":material/refresh:",
        key="chat-answer",
        on_click=chat_actions.answer,
        args=(conversation.id, asked.id),
    )
