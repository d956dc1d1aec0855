"""A streamed answer of a server, chunk by chunk. Knows nothing of connections."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.backends.remote.words import count_of, error_message
from engine.types import CountsFrom
from engine.untrusted import parse_json

_ROUNDING = 1e-3
_UNFINISHED = ("abort", "error")
"""What servers give as a reason for an answer that they gave up."""
_ENDED_OTHERWISE: Mapping[str, str] = {
    "content_filter": "The server's content filter ended the answer.",
    "tool_calls": "The answer ends with a call of a tool, which is not followed here.",
    "function_call": "The answer ends with a call of a tool, which is not followed here.",
}
ALL_AT_ONCE = "The server sent the whole answer at once: TTFT is E2E, and there is no TPOT."
_SEVERAL = "The server sent several answers; the first is shown."
_NO_MARK = "The stream ended without its end mark, [DONE]."
_NO_REASON = "The server does not say why the answer ended."
_REASONING = ("reasoning_content", "reasoning")
_REASONED = "Part of the tokens are the model's reasoning, which is not shown."


class BrokenAnswerError(Exception):
    """A stream says that something went wrong, or is none. The message is a clause after the server's name."""


@dataclass(frozen=True, slots=True)
class TokenChance:
    """A token of an answer, and how likely the server says that it was."""

    text: str
    logprob: float
    """Natural log of its probability; NaN where that is not told."""
    likeliest: tuple[tuple[str, float], ...] = ()
    """The likeliest tokens here with their log-probabilities, the likeliest first."""

    @property
    def margin(self) -> float | None:
        """By how much the likeliest token's logit is larger than the second's; ``None`` where two are not told."""
        return self.likeliest[0][1] - self.likeliest[1][1] if len(self.likeliest) > 1 else None


@dataclass(frozen=True, slots=True)
class Piece:
    """What one chunk adds to an answer."""

    text: str
    """Shown; empty for a piece of reasoning."""
    tokens: tuple[TokenChance, ...] = ()
    """The tokens it is made of, whose texts joined are its text; empty where the server does not tell them."""


class AnswerReader:
    """An answer as far as it has been read."""

    def __init__(self) -> None:
        self.finish_reason: str | None = None
        """As the server calls it; ``None`` while it has not been told."""
        self.is_done = False
        """Whether the stream's end mark has come."""
        self.served_name: str | None = None
        """The model as the server called it in its answer."""
        self._usage: Mapping[str, Any] = {}
        self._timings: Mapping[str, Any] = {}
        self._notes: dict[str, None] = {}

    def take(self, data: str) -> Piece | None:
        """Read a chunk of a stream.

        Returns:
            What it adds to the answer; ``None`` for one that adds nothing.

        Raises:
            BrokenAnswerError: it is no chunk, or tells an error.
        """
        if data.strip() == "[DONE]":
            self.is_done = True
            return None
        return self._take(_object_of(data), "delta")

    def take_whole(self, body: str) -> Piece | None:
        """Read an answer that was not streamed. Raises as :meth:`take`."""
        piece = self._take(_object_of(body), "message")
        self.is_done = True
        self._notes[ALL_AT_ONCE] = None
        return piece

    def end(self) -> None:
        """The stream has ended.

        Raises:
            BrokenAnswerError: in the middle of the answer, as far as can be told.
        """
        if self.finish_reason is None:
            if not self.is_done:
                raise BrokenAnswerError("ended the stream without a finish_reason: the answer is not complete")
            self._notes[_NO_REASON] = None
        if not self.is_done:
            self._notes[_NO_MARK] = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What was unusual, a sentence each."""
        return tuple(self._notes)

    @property
    def prompt_tokens(self) -> int | None:
        """As the server counted, like the following; ``None`` where it did not."""
        return count_of(self._usage, "prompt_tokens")

    @property
    def completion_tokens(self) -> int | None:
        return count_of(self._usage, "completion_tokens")

    @property
    def cached_tokens(self) -> int | None:
        """Prompt tokens that the server had kept."""
        told = count_of(self._usage, "prompt_tokens_details", "cached_tokens")
        if told is None:
            told = count_of(self._usage, "prompt_cache_hit_tokens")  # DeepSeek's name
        return count_of(self._timings, "cache_n") if told is None else told

    @property
    def accepted_tokens(self) -> int | None:
        """Drafted tokens that stand in the answer."""
        told = count_of(self._usage, "completion_tokens_details", "accepted_prediction_tokens")
        return count_of(self._timings, "draft_n_accepted") if told is None else told

    @property
    def drafted_tokens(self) -> int | None:
        accepted = count_of(self._usage, "completion_tokens_details", "accepted_prediction_tokens")
        refused = count_of(self._usage, "completion_tokens_details", "rejected_prediction_tokens")
        if accepted is None or refused is None:
            return count_of(self._timings, "draft_n")
        return accepted + refused

    @property
    def counts_from(self) -> CountsFrom | None:
        """Who told of kept or drafted tokens."""
        if self.cached_tokens is None and self.accepted_tokens is None:
            return None
        return "timings" if self._timings and "prompt_tokens_details" not in self._usage else "usage"

    def _take(self, chunk: Mapping[str, Any], holder: str) -> Piece | None:
        if chunk.get("error"):
            raise BrokenAnswerError(f"broke off the answer: {error_message(chunk)}")
        if isinstance(usage := chunk.get("usage"), dict):
            self._usage = usage
        if isinstance(timings := chunk.get("timings"), dict):
            self._timings = timings
        if isinstance(name := chunk.get("model"), str) and name:
            self.served_name = name
        choices = chunk.get("choices")
        firsts = [each for each in choices if _is_first(each)] if isinstance(choices, list) else []
        if isinstance(choices, list) and len(firsts) < len(choices):
            self._notes[_SEVERAL] = None
        return self._take_choice(firsts[0], holder) if firsts else None

    def _take_choice(self, choice: Mapping[str, Any], holder: str) -> Piece | None:
        reason = choice.get("finish_reason")
        if reason in _UNFINISHED:
            raise BrokenAnswerError(f"broke off the answer (finish_reason {reason})")
        if isinstance(reason, str) and reason:
            self.finish_reason = reason
            if reason in _ENDED_OTHERWISE:
                self._notes[_ENDED_OTHERWISE[reason]] = None
        told = choice.get(holder)
        message: Mapping[str, Any] = told if isinstance(told, dict) else {"content": choice.get("text")}
        text = message.get("content")
        if not isinstance(text, str):
            text = ""
        if any(isinstance(message.get(name), str) and message[name] for name in _REASONING):
            self._notes[_REASONED] = None
            return Piece(text)  # how likely hidden tokens were says nothing of the answer
        tokens = _tokens_of(choice.get("logprobs"), text)
        return Piece(text, tokens) if text or tokens else None


def _is_first(choice: Any) -> bool:
    return isinstance(choice, dict) and choice.get("index", 0) in (0, None)


def _object_of(data: str) -> Mapping[str, Any]:
    try:
        chunk = parse_json(data)
    except ValueError as error:
        raise BrokenAnswerError(f"sent what is no JSON: {error}") from None
    if not isinstance(chunk, dict):
        raise BrokenAnswerError("sent what is no JSON object")
    return chunk


def _tokens_of(logprobs: Any, text: str) -> tuple[TokenChance, ...]:
    """The tokens of a chunk, of what it tells of log-probabilities; empty where it tells none."""
    match logprobs:
        case {"content": [*entries]} if any(isinstance(entry, dict) for entry in entries):
            tokens = tuple(_chance(entry) for entry in entries if isinstance(entry, dict))
        case {"tokens": [*texts], "token_logprobs": [*values]} if texts and len(texts) == len(values):
            tops = logprobs.get("top_logprobs")
            tops = tops if isinstance(tops, list) and len(tops) == len(texts) else [None] * len(texts)
            tokens = tuple(map(_completion_chance, texts, values, tops))
        case _:
            return ()
    spelled = "".join(token.text for token in tokens)
    if spelled == text:
        return tokens
    if len(tokens) == 1:  # half a character, or text that the server holds back
        return (TokenChance(text, tokens[0].logprob, tokens[0].likeliest),)
    # all of it comes with the last of them, so that no figure is lost
    blank = (TokenChance("", token.logprob, token.likeliest) for token in tokens[:-1])
    return (*blank, TokenChance(text, tokens[-1].logprob, tokens[-1].likeliest))


def _chance(entry: Mapping[str, Any]) -> TokenChance:
    tops = entry.get("top_logprobs")
    told = [each for each in tops if isinstance(each, dict)] if isinstance(tops, list) else []
    pairs = [(each.get("token"), _logprob(each.get("logprob"))) for each in told]
    return TokenChance(_text(entry.get("token")), _logprob(entry.get("logprob")), _likeliest(pairs))


def _completion_chance(text: Any, value: Any, top: Any) -> TokenChance:
    pairs = [(token, _logprob(each)) for token, each in top.items()] if isinstance(top, dict) else []
    return TokenChance(_text(text), _logprob(value), _likeliest(pairs))


def _likeliest(pairs: Sequence[tuple[Any, float]]) -> tuple[tuple[str, float], ...]:
    known = [(_text(token), value) for token, value in pairs if not math.isnan(value)]
    return tuple(sorted(known, key=lambda pair: -pair[1]))


def _logprob(value: Any) -> float:
    """NaN for what is none. One above 0 by rounding is 0."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return min(float(value), 0.0) if is_number and value < _ROUNDING else math.nan


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
