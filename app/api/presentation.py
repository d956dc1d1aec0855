"""Answers in OpenAI's shapes: whole, and piece by piece."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from app.api.answering import Answer, Answers
from app.runs.live_run import LiveRun
from app.store import RunStatus
from engine.types import RemoteReport, TokenEvent

_LEAST_LOGPROB = -9999.0
"""What OpenAI's API says where there is no finite number."""

Tree = dict[str, Any]


class Shape(Protocol):
    """What the two kinds of completions say differently."""

    id_prefix: str
    whole: str
    """``object`` of the whole answer."""
    piece: str
    """``object`` of a part of a stream."""

    def choice(self, text: str, logprobs: Any) -> Tree:
        """A whole answer."""

    def first(self) -> Tree | None:
        """What a stream begins with; ``None`` if it begins with the text."""

    def delta(self, text: str, logprobs: Any) -> Tree:
        """Some more of an answer."""

    def logprobs(self, tokens: Sequence[TokenEvent], offset: int) -> Any:
        """Of some tokens; ``offset`` characters came before them."""


class ChatShape:
    """Chat completions."""

    id_prefix, whole, piece = "chatcmpl-", "chat.completion", "chat.completion.chunk"

    def choice(self, text: str, logprobs: Any) -> Tree:
        return {"message": {"role": "assistant", "content": text, "refusal": None}, "logprobs": logprobs}

    def first(self) -> Tree | None:
        return {"delta": {"role": "assistant", "content": ""}, "logprobs": None}

    def delta(self, text: str, logprobs: Any) -> Tree:
        return {"delta": {"content": text} if text else {}, "logprobs": logprobs}

    def logprobs(self, tokens: Sequence[TokenEvent], offset: int) -> Any:
        if tokens and not _is_told(tokens):
            return None
        content = [
            {
                **_entry(_spelled(token), token.logprob),
                "top_logprobs": [_entry(text, logprob) for _, text, logprob in token.top_logprobs],
            }
            for token in tokens
        ]
        return {"content": content, "refusal": None}


class TextShape:
    """Completions of a text."""

    id_prefix, whole, piece = "cmpl-", "text_completion", "text_completion"

    def choice(self, text: str, logprobs: Any) -> Tree:
        return {"text": text, "logprobs": logprobs}

    def first(self) -> Tree | None:
        return None

    def delta(self, text: str, logprobs: Any) -> Tree:
        return {"text": text, "logprobs": logprobs}

    def logprobs(self, tokens: Sequence[TokenEvent], offset: int) -> Any:
        if tokens and not _is_told(tokens):
            return None
        offsets = []
        for token in tokens:
            offsets.append(offset)
            offset += len(token.text)
        return {
            "tokens": [_spelled(token) for token in tokens],
            "token_logprobs": [_finite(token.logprob) for token in tokens],
            "top_logprobs": [
                {text: _finite(logprob) for _, text, logprob in token.top_logprobs} or None for token in tokens
            ],
            "text_offset": offsets,
        }


def _spelled(token: TokenEvent) -> str:
    """A token as it is spelled by itself, where that is known; else the text that it gave."""
    if token.token_id is None:
        return token.text
    return next((text for token_id, text, _ in token.top_logprobs if token_id == token.token_id), token.text)


def _is_told(tokens: Sequence[TokenEvent]) -> bool:
    """Whether log-probabilities are known of any: another server's answer may come without."""
    return any(token.token_id is not None or not math.isnan(token.logprob) for token in tokens)


def _entry(text: str, logprob: float) -> Tree:
    return {"token": text, "logprob": _finite(logprob), "bytes": list(text.encode())}


def _finite(logprob: float) -> float:
    return logprob if math.isfinite(logprob) and logprob > _LEAST_LOGPROB else _LEAST_LOGPROB


@dataclass(frozen=True, slots=True)
class Presentation:
    """How the answers to one call are told."""

    shape: Shape
    model: str
    config_hash: str
    with_logprobs: bool
    id: str
    """Of the first run."""
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, answers: Answers, prompts: int) -> Tree:
        """The body of a call whose answers are all there."""
        choices = [self._whole_choice(place, answer) for place, answer in enumerate(answers.each)]
        return {**self._frame(self.shape.whole, choices), "usage": usage(answers, prompts)}

    def piece(self, choices: Sequence[Tree]) -> Tree:
        """One part of a stream."""
        return self._frame(self.shape.piece, choices)

    def logprobs(self, tokens: Sequence[TokenEvent], offset: int) -> Any:
        """Of some tokens; ``None`` where nobody asked."""
        return self.shape.logprobs(tokens, offset) if self.with_logprobs else None

    def _whole_choice(self, place: int, answer: Answer) -> Tree:
        run = answer.run
        choice = self.shape.choice(run.text, self.logprobs(said(run.tokens, run.finish_reason), 0))
        return {"index": place, **choice, "finish_reason": run.finish_reason}

    def _frame(self, kind: str, choices: Sequence[Tree]) -> Tree:
        return {
            "id": self.shape.id_prefix + self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": f"gearbox-{self.config_hash}",
            "choices": list(choices),
        }


def said(tokens: Sequence[TokenEvent], finish_reason: str | None) -> Sequence[TokenEvent]:
    """The tokens that are part of an answer, as far as it is told: an end mark and the rest of a stop string are not,
    and a token without text may yet be one of these, unless the answer was cut off there."""
    last = len(tokens)
    while finish_reason != "length" and last and not tokens[last - 1].text:
        last -= 1
    return tokens[:last]


def usage(answers: Answers, prompts: int) -> Tree:
    """What a call used, as far as it was measured. A prompt with several answers counts once, with what was reused for
    its first answer. What a server did not tell of its answers is left out, and is no 0.

    Args:
        answers: of the call, prompt by prompt.
        prompts: how many there are.
    """
    runs = [answer.run for answer in answers.each]
    firsts = runs[:: max(1, len(runs) // prompts)]
    prompt = _sum(firsts, "prompt_tokens", lambda remote: remote.prompt_counted)
    completion = _sum(runs, "completion_tokens", lambda remote: remote.counted)
    cached = _sum(firsts, "cached_tokens", lambda remote: remote.cached_tokens is not None)
    drafted = _sum(runs, "drafted_tokens", lambda remote: remote.drafted_tokens is not None)
    accepted = _sum(runs, "accepted_tokens", lambda remote: remote.accepted_tokens is not None)
    return {
        **_known(
            prompt_tokens=prompt,
            completion_tokens=completion,
            total_tokens=None if prompt is None or completion is None else prompt + completion,
        ),
        "prompt_tokens_details": {**_known(cached_tokens=cached), "audio_tokens": 0},
        "completion_tokens_details": {
            **_known(
                accepted_prediction_tokens=accepted,
                rejected_prediction_tokens=None if drafted is None or accepted is None else drafted - accepted,
            ),
            "reasoning_tokens": 0,
            "audio_tokens": 0,
        },
    }


def _sum(runs: Sequence[LiveRun], name: str, told: Callable[[RemoteReport], bool]) -> int | None:
    """Over runs; ``None`` where a server did not tell it of one."""
    measured = [(run.metrics, run.remote) for run in runs if run.metrics]
    if not all(remote is None or told(remote) for _, remote in measured):
        return None
    return sum(int(getattr(metrics, name)) for metrics, _ in measured)


def _known(**fields: int | None) -> Tree:
    return {name: value for name, value in fields.items() if value is not None}


def tiers(answers: Answers) -> str | None:
    """Who answers, as far as that is sure: models with their precisions."""
    found = []
    for answer in answers.each:
        config, report = answer.run.request.config, answer.run.reports.cascade
        if config.optimization.cascade is None:
            found.append(str(config.ladder[-1]))
        elif report and answer.run.status is RunStatus.FINISHED:
            found.append(report.tier)
    return ", ".join(dict.fromkeys(found)) or None
