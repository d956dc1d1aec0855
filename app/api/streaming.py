"""Answers while they are written: server-sent events, each with all text that has come since the last."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import SendTimeoutError
from starlette.types import Receive, Scope, Send

from app.api.answering import Answer, Answers
from app.api.presentation import Presentation, Tree, said, usage

# at its most talkative level it logs every event, and with it the answer
logging.getLogger("sse_starlette").setLevel(logging.INFO)

_PING_S = 15
"""Proxies close connections on which nothing comes; a comment keeps them open while a call waits."""
_SEND_TIMEOUT_S = 300.0
"""A reader that takes nothing for so long is taken to be gone."""
_DONE = b"data: [DONE]\n\n"


class AnswerStream(EventSourceResponse):
    """The response of a streamed call. Whatever ends it, the runs end with it."""

    def __init__(
        self,
        answers: Answers,
        told: Presentation,
        headers: dict[str, str],
        *,
        prompts: int,
        usage: bool,
    ) -> None:
        """
        Args:
            answers: that have begun, or wait.
            told: how.
            headers: sent with it.
            prompts: how many there are.
            usage: whether the last event says what was used.
        """
        self._answers = answers
        super().__init__(
            _events(answers, told, prompts, with_usage=usage),
            headers=headers,
            sep="\n",
            ping=_PING_S,
            ping_message_factory=lambda: ServerSentEvent(comment="waiting", sep="\n"),
            send_timeout=_SEND_TIMEOUT_S,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with suppress(SendTimeoutError):
                await super().__call__(scope, receive, send)
        finally:
            self._answers.stop()


async def _events(answers: Answers, told: Presentation, prompts: int, *, with_usage: bool) -> AsyncIterator[bytes]:
    progress = [_Progress(place, answer, told) for place, answer in enumerate(answers.each)]
    without_usage: Tree = {"usage": None} if with_usage else {}

    def event(choice: Tree) -> bytes:
        return _event(told.piece([choice]) | without_usage)

    if first := told.shape.first():
        for place, _ in enumerate(progress):
            yield event({"index": place, **first, "finish_reason": None})
    told_of = ""
    while True:
        is_over, failure, waits_for = answers.over, answers.failure, answers.waits_for
        if waits_for and waits_for != told_of:
            yield f": waiting, {waits_for}\n\n".encode()  # a comment, which clients pass over
        told_of = waits_for
        for each in progress:
            if choice := each.more():
                yield event(choice)
        if failure:
            yield _event(failure.body())
            break
        if is_over:
            if with_usage:
                yield _event(told.piece([]) | {"usage": usage(answers, prompts)})
            break
        await answers.changed()
    yield _DONE


class _Progress:
    """How much of one answer was told."""

    def __init__(self, place: int, answer: Answer, told: Presentation) -> None:
        self._place = place
        self._answer = answer
        self._told = told
        self._tokens = 0
        self._characters = 0
        self._has_ended = False

    def more(self) -> Tree | None:
        """What has come since the last time; ``None`` if there is nothing to tell."""
        if self._has_ended:
            return None
        run = self._answer.run
        self._has_ended = self._answer.over  # first: what was written before it ended is all there
        if self._answer.failure:
            return None
        reason = run.finish_reason if self._has_ended else None
        tokens = said(self._answer.final_tokens(), reason)[self._tokens :]
        text = "".join(token.text for token in tokens)
        if not text and reason is None:
            return None
        logprobs: Any = self._told.logprobs(tokens, self._characters) if tokens else None
        self._tokens += len(tokens)
        self._characters += len(text)
        return {"index": self._place, **self._told.shape.delta(text, logprobs), "finish_reason": reason}


def _event(tree: Tree) -> bytes:
    return b"data: " + json.dumps(tree, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode() + b"\n\n"
