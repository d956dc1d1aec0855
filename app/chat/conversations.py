"""A conversation on its way through the engine: what is asked, what is kept of the answer, what a branch is.

Every change adds to the tree of messages; what a person sees is the branch that ends with the active leaf. Where the
same conversation is open several times, each tab has its own leaf and settings: the conversations that functions here
take are as their tab shows them.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from app.runs.race import LaneRun, Race
from app.store import (
    ChatMessage,
    ChatStore,
    Conversation,
    ConversationNotFoundError,
    RunFilter,
    RunRecord,
    RunSource,
    RunStatus,
    RunStore,
)
from engine.errors import InvalidRequestError
from engine.types import GenerationRequest, Message, RunConfig

ANSWER = "answer"
"""The name of a turn's one lane."""
_TITLE_CHARACTERS = 60
_RECOVERED_AT_MOST = 50
_MOST_SEED = 2**63


@dataclass(slots=True, eq=False)
class Turn(Race):
    """One turn being answered. Its one lane is the answer, and the runs that answer it have the message's id as their
    group: so they are found again whatever becomes of it."""

    source: ClassVar[RunSource] = RunSource.CHAT
    conversation_id: str = field(kw_only=True)
    kept: bool = field(default=False, init=False)
    """What was answered, if anything, stands in the conversation, or has nowhere left to stand."""
    answer_id: str | None = field(default=None, init=False)
    """The message that holds what was answered."""
    homeless: bool = field(default=False, init=False)
    """The conversation was deleted meanwhile; what was answered is found among the runs."""
    lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    @property
    def asked_id(self) -> str:
        """The message to answer."""
        return self.group_id

    @property
    def lane(self) -> LaneRun:
        """The answer as far as it is written."""
        return self.lanes[ANSWER]

    def settle(self, store: RunStore) -> None:
        """Keep the answer."""
        keep_answer(store, self)


def title_of(text: str) -> str:
    """What a conversation is called that begins with a text: its start on one line."""
    line = " ".join(text.split())
    return line if len(line) <= _TITLE_CHARACTERS else line[: _TITLE_CHARACTERS - 1].rstrip() + "…"


def history(system: str, path: Sequence[ChatMessage]) -> tuple[Message, ...]:
    """A branch as the engine takes it: the system prompt, if there is one, and every message with its tokens."""
    system = system.strip()
    return (*((Message("system", system),) if system else ()), *(message.to_message() for message in path))


def request_for(
    conversation: Conversation,
    asked_id: str,
    *,
    salt: str,
    cold_seed: int | None = None,
    last_tier: str | None = None,
) -> GenerationRequest:
    """The request whose answer follows a user's message. A second answer is drawn with another seed.

    Args:
        conversation: all of it.
        asked_id: the user's message to answer.
        salt: whose prefix cache may be used.
        cold_seed: answer with this very seed, and reuse nothing that was kept.
        last_tier: of a cascade, who answered the turn before; one that is no tier any more counts for nothing.

    Raises:
        InvalidRequestError: the message is blank, or the conversation's configuration cannot be used.
    """
    config = RunConfig.from_dict(conversation.config)
    seed = (config.sampling.seed + len(conversation.children(asked_id))) % _MOST_SEED
    if cold_seed is not None:
        seed = cold_seed
    return GenerationRequest(
        messages=history(conversation.system, conversation.path(asked_id)),
        config=replace(config, sampling=replace(config.sampling, seed=seed)),
        cache_salt=salt,
        cold=cold_seed is not None,
        last_tier=last_tier if last_tier in [str(tier) for tier in config.ladder] else None,
    )


def last_tier(store: RunStore, conversation: Conversation, asked_id: str) -> str | None:
    """The tier that answered the turn before a message; ``None`` where that was no cascade, or is not known."""
    answers = [message.run_id for message in conversation.path(asked_id) if message.role == "assistant"]
    runs = store.get_many([run_id for run_id in answers[-1:] if run_id])
    return runs[0].cascade.tier if runs and runs[0].cascade else None


def say(chats: ChatStore, conversation: Conversation, text: str) -> str:
    """Add what a person says next, and return the message's id.

    It follows the last answer. Where the last turn got no answer, it is another wording of that turn.

    Raises:
        InvalidRequestError: the text is blank.
        StoreError: it could not be kept.
    """
    path = conversation.path()
    waiting = bool(path) and path[-1].role == "user"
    after = path[-1].parent_id if waiting else conversation.leaf_id
    return _append(chats, conversation.id, after, text)


def edit(chats: ChatStore, conversation: Conversation, message: ChatMessage, text: str) -> str:
    """Add another wording of a turn, which begins a branch of its own, and return its id.

    Raises:
        InvalidRequestError: the text is blank.
        StoreError: it could not be kept.
    """
    return _append(chats, conversation.id, message.parent_id, text)


def begin_turn(
    store: RunStore, conversation: Conversation, asked_id: str, *, salt: str, cold_seed: int | None = None
) -> Turn:
    """Put a user's message on view as the last one, and line its answer up, with the very settings of ``conversation``.

    Whoever opens the conversation next finds that branch and these settings. Arguments as for `request_for`.

    Raises:
        InvalidRequestError: the conversation's configuration cannot be used.
        StoreError: the conversation or the message is gone.
    """
    store.chat.configure(conversation.id, conversation.config, conversation.system)
    store.chat.set_leaf(conversation.id, asked_id)
    shown = replace(store.chat.get(conversation.id), config=conversation.config, system=conversation.system)
    before = last_tier(store, shown, asked_id)
    request = request_for(shown, asked_id, salt=salt, cold_seed=cold_seed, last_tier=before)
    return Turn(({ANSWER: LaneRun(request)},), asked_id, conversation_id=conversation.id)


def keep_answer(store: RunStore, turn: Turn) -> None:
    """Add what a turn's run has written to the conversation, once, however the run ended.

    A run that failed or wrote nothing leaves the turn without an answer. Where the conversation was deleted
    meanwhile, the turn is homeless, and its run stays as it is.

    Raises:
        StoreError: it could not be kept; trying again is safe.
    """
    with turn.lock:
        lane = turn.lane
        if turn.kept or lane.run_id is None:
            return
        record = store.get(lane.run_id)
        try:
            if record.status is not RunStatus.RUNNING:
                turn.answer_id = _keep_written(store, turn.conversation_id, turn.asked_id, record)
            elif lane.text:  # its end has not come to the store: what was read here is more
                turn.answer_id = store.chat.keep_answer(
                    turn.conversation_id, turn.asked_id, lane.text, token_ids=lane.token_ids, run_id=record.id
                )
        except ConversationNotFoundError:
            turn.homeless = True
        turn.kept = True


def recover_answer(store: RunStore, conversation: Conversation) -> str | None:
    """Add what was written to the last question on view by runs that are over, where whoever ran them died before it
    could: a server that was killed leaves an interrupted run with the text last saved. Returns the id of the latest
    answer added, if any.

    Raises:
        StoreError: it could not be kept.
    """
    asked = next((message for message in reversed(conversation.path()) if message.role == "user"), None)
    if asked is None:
        return None
    known = {message.run_id for message in conversation.children(asked.id)}
    answer_id = None
    for run in reversed(store.page(RunFilter(group_id=asked.id), limit=_RECOVERED_AT_MOST).rows):
        if run.id not in known and run.status is not RunStatus.RUNNING:
            answer_id = _keep_written(store, conversation.id, asked.id, store.get(run.id)) or answer_id
    return answer_id


def is_being_answered(store: RunStore, asked_id: str) -> bool:
    """Whether a run that answers a message goes on.

    Raises:
        StoreError: the run database cannot be read.
    """
    return store.page(RunFilter(group_id=asked_id, statuses=(RunStatus.RUNNING,)), limit=1).total > 0


def to_json(conversation: Conversation) -> str:
    """The whole tree as one JSON object: every message with its parent, its tokens and its run."""
    tree = {
        "id": conversation.id,
        "title": conversation.title,
        "created_at": conversation.created_at.isoformat(),
        "updated_at": conversation.updated_at.isoformat(),
        "system": conversation.system,
        "config": dict(conversation.config),
        "leaf_id": conversation.leaf_id,
        "messages": [
            {
                "id": message.id,
                "parent_id": message.parent_id,
                **message.to_message().to_dict(),
                "run_id": message.run_id,
                "created_at": message.created_at.isoformat(),
            }
            for message in conversation.messages
        ],
    }
    return json.dumps(tree, ensure_ascii=False, indent=2) + "\n"


def to_jsonl(conversation: Conversation) -> str:
    """The branch on view, one JSON object a message, the system prompt first."""
    messages = history(conversation.system, conversation.path())
    return "".join(json.dumps(message.to_dict(), ensure_ascii=False) + "\n" for message in messages)


def _keep_written(store: RunStore, conversation_id: str, asked_id: str, run: RunRecord) -> str | None:
    """Add what a run that is over wrote, unless it failed or wrote nothing; the message's id."""
    if not run.text or run.status is RunStatus.FAILED:
        return None
    timeline = store.timeline(run.id)
    token_ids = timeline.token_ids if timeline else ()
    return store.chat.keep_answer(conversation_id, asked_id, run.text, token_ids=token_ids, run_id=run.id)


def _append(chats: ChatStore, conversation_id: str, parent_id: str | None, text: str) -> str:
    if not text.strip():
        raise InvalidRequestError("The message is empty: type something to answer.")
    return chats.append(conversation_id, parent_id, "user", text)
