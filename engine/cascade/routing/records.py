"""What was recorded: each prompt's answer by each tier, and what every answer took."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, get_args

from engine.errors import InvalidRequestError, RecordedPairsError
from engine.repetition import repeated_in, repeated_share
from engine.types import Event, FinishReason, PrefillDone, RunFinished, RunMetrics, TokenEvent, token_ids_of
from engine.untrusted import decode_text, read_jsonl

_DECIMALS = 4
"""Of log-probabilities, entropies and margins in a file."""
_TIME_DECIMALS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class TierAnswer:
    """One tier's answer. The per-token figures are the model's own, before temperature and cuts.

    One rule holds for figures that were not measured or are not finite, whoever records the answer
    (:meth:`from_tokens`): they are unknown. A token's is NaN then, ``null`` in JSON, and the hidden state is empty. A
    signal that rests on an unknown figure is unknown too, and a prompt whose score is unknown is escalated.
    """

    text: str
    token_ids: tuple[int, ...]
    score: float | None
    """How right it is, 0 to 1; ``None`` where the prompt has no checker."""
    prompt_tokens: int
    completion_tokens: int
    prefill_s: float
    ttft_s: float | None
    """``None`` if there was no token."""
    e2e_s: float
    finish_reason: FinishReason
    logprobs: tuple[float, ...]
    """Natural log of each token's probability; NaN where it is unknown."""
    entropies: tuple[float, ...]
    """Of each next-token distribution, in nats; NaN where it is unknown."""
    margins: tuple[float, ...] = ()
    """Likeliest logit − second likeliest, at each token; NaN where it is unknown, empty where it is nowhere known."""
    repetition: float | None = None
    """As in :class:`~engine.types.RunMetrics`."""
    hidden: tuple[float, ...] = ()
    """The model's state after the prompt (:class:`~engine.types.PrefillDone`); empty where it is unknown."""

    def __post_init__(self) -> None:
        _check(isinstance(self.text, str), "its text is no text")
        counts = (*self.token_ids, self.prompt_tokens, self.completion_tokens)
        _check(all(type(count) is int for count in counts), "a token id or a count of tokens is no whole number")
        _check(self.score is None or 0 <= self.score <= 1, f"a score of {self.score} is not between 0 and 1")
        _check(self.finish_reason in get_args(FinishReason), f"no answer ends with “{self.finish_reason}”")
        _check(len(self.entropies) == len(self.logprobs), "log-probabilities and entropies are not equally many")
        _check(len(self.margins) in (0, len(self.logprobs)), "log-probabilities and margins are not equally many")
        times = (self.prefill_s, self.e2e_s, self.ttft_s or 0.0)
        _check(all(math.isfinite(time) and time >= 0 for time in times), "a time is negative or not a number")
        figures = (*self.logprobs, *self.entropies, *self.margins)
        _check(not any(map(math.isinf, figures)), "a token's figure is not a finite number")
        figures = (*self.hidden, self.repetition or 0.0)
        _check(all(map(math.isfinite, figures)), "its hidden state or its repetition is not a finite number")

    @classmethod
    def from_tokens(
        cls,
        text: str,
        tokens: Sequence[TokenEvent],
        finish_reason: FinishReason,
        *,
        prompt_tokens: int,
        hidden: Sequence[float] = (),
        score: float | None = None,
        metrics: RunMetrics | None = None,
    ) -> Self:
        """The answer that these tokens are. Every answer is made here, recorded or still being written.

        Args:
            text: what they say.
            tokens: all there are so far.
            finish_reason: why there are no more; ``length`` for an answer that is not at its end.
            prompt_tokens: of the prompt.
            hidden: the model's state after the prompt; empty where it was not recorded.
            score: how right the text is, 0 to 1.
            metrics: what the run measured, of which waiting in the queue is left out; ``None`` for an answer that is
                not at its end, whose times are all 0.
        """
        scored = [token for token in tokens if not _is_hidden(token)]
        margins = tuple(_known(token.margin) for token in scored)
        queue_s, ttft_s = (metrics.queue_s, metrics.ttft_s) if metrics else (0.0, None)
        return cls(
            text=text,
            token_ids=token_ids_of(tokens),
            score=score,
            prompt_tokens=prompt_tokens,
            completion_tokens=len(tokens),
            prefill_s=metrics.prefill_s if metrics else 0.0,
            ttft_s=None if ttft_s is None else ttft_s - queue_s,
            e2e_s=metrics.e2e_s - queue_s if metrics else 0.0,
            finish_reason=finish_reason,
            logprobs=tuple(_known(token.logprob) for token in scored),
            entropies=tuple(_known(token.entropy) for token in scored),
            margins=() if all(map(math.isnan, margins)) else margins,
            repetition=repeated_in(tokens),
            hidden=tuple(hidden) if all(map(math.isfinite, hidden)) else (),
        )

    @property
    def first_token_s(self) -> float:
        """Seconds to the first token, or to the end of an answer without one."""
        return self.e2e_s if self.ttft_s is None else self.ttft_s

    def after(self, tokens: int | None) -> Self:
        """What was known of it, and what it had taken, once so many tokens were written; its text stays whole. ``None``
        is all of them."""
        if tokens is None or tokens >= self.completion_tokens:
            return self
        writing_s = (self.e2e_s - self.first_token_s) / (self.completion_tokens - 1)
        return replace(
            self,
            token_ids=self.token_ids[:tokens],
            completion_tokens=tokens,
            e2e_s=self.first_token_s + (tokens - 1) * writing_s,
            finish_reason="length",
            logprobs=self.logprobs[:tokens],
            entropies=self.entropies[:tokens],
            margins=self.margins[:tokens],
            repetition=repeated_share(self.token_ids[:tokens]),
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, rounded: tokens' figures to 4 decimals, times to the microsecond. A figure that is not
        known is ``None``."""
        return {
            "text": self.text,
            "token_ids": list(self.token_ids),
            "score": self.score,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "prefill_s": round(self.prefill_s, _TIME_DECIMALS),
            "ttft_s": None if self.ttft_s is None else round(self.ttft_s, _TIME_DECIMALS),
            "e2e_s": round(self.e2e_s, _TIME_DECIMALS),
            "finish_reason": self.finish_reason,
            "logprobs": _to_json(self.logprobs),
            "entropies": _to_json(self.entropies),
            "margins": _to_json(self.margins),
            "repetition": None if self.repetition is None else round(self.repetition, _DECIMALS),
            **({"hidden": [round(value, _DECIMALS) for value in self.hidden]} if self.hidden else {}),
        }

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`, up to its rounding.

        Raises:
            RecordedPairsError: a value is out of range.
            KeyError, TypeError: a value is missing, unknown, or of another type.
        """
        figures = {
            name: tuple(math.nan if value is None else value for value in tree[name])
            for name in ("logprobs", "entropies", "margins")
        }
        tuples = {"token_ids": tuple(tree["token_ids"]), "hidden": tuple(tree.get("hidden", ()))}
        return cls(**{**tree, **figures, **tuples})


def tier_answer(events: Iterable[Event], score: Callable[[str], float | None]) -> TierAnswer | None:
    """The record of a run; ``None`` if it was cancelled or failed.

    Args:
        events: all of a run's.
        score: how right a text is, 0 to 1.
    """
    tokens, finished = [], None
    hidden: tuple[float, ...] = ()
    for event in events:
        if isinstance(event, TokenEvent):
            tokens.append(event)
        elif isinstance(event, PrefillDone):
            hidden = event.hidden
        elif isinstance(event, RunFinished):
            finished = event
    if finished is None or finished.metrics is None or finished.finish_reason == "abort":
        return None
    return TierAnswer.from_tokens(
        finished.text,
        tokens,
        finished.finish_reason,
        prompt_tokens=finished.metrics.prompt_tokens,
        hidden=hidden,
        score=score(finished.text),
        metrics=finished.metrics,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutedPrompt:
    """One prompt and what each tier answered."""

    prompt_id: str
    category: str
    prompt: str
    answers: Mapping[str, TierAnswer]
    """By tier, as :attr:`engine.types.Tier.key` names it."""

    def __post_init__(self) -> None:
        texts = (self.prompt_id, self.category, self.prompt)
        _check(all(isinstance(text, str) for text in texts), "its prompt, category or id is no text")

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, rounded."""
        return {
            "prompt_id": self.prompt_id,
            "category": self.category,
            "prompt": self.prompt,
            "answers": {tier: answer.to_dict() for tier, answer in self.answers.items()},
        }

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`, up to its rounding.

        Raises:
            RecordedPairsError: a value is out of range.
            KeyError, TypeError: a value is missing, unknown, or of another type.
        """
        answers = {tier: TierAnswer.from_dict(answer) for tier, answer in tree["answers"].items()}
        return cls(**{**tree, "answers": answers})


def write_prompts(path: Path, prompts: Iterable[RoutedPrompt]) -> None:
    """Write JSONL, one prompt a line; a file already there is replaced at once, never half."""
    aside = path.with_name(path.name + ".part")
    aside.write_text("".join(f"{_line(prompt)}\n" for prompt in prompts), encoding="utf-8")
    aside.replace(path)


def read_prompts(path: Path) -> tuple[RoutedPrompt, ...]:
    """Read what :func:`write_prompts` wrote. Blank lines are skipped.

    Raises:
        RecordedPairsError: the file is missing, a line cannot be read, or an id occurs twice.
    """
    found: dict[str, RoutedPrompt] = {}
    try:
        for record in read_jsonl(decode_text(path.read_bytes(), "It")):
            try:
                prompt = RoutedPrompt.from_dict(record.fields)
            except RecordedPairsError as error:
                raise InvalidRequestError(f"Line {record.line:,}: {error}") from error
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise InvalidRequestError(f"Line {record.line:,}: no recorded prompt ({error!r}).") from error
            if prompt.prompt_id in found:
                raise InvalidRequestError(f"Line {record.line:,}: it repeats the prompt “{prompt.prompt_id}”.")
            found[prompt.prompt_id] = prompt
    except (OSError, InvalidRequestError) as error:
        raise RecordedPairsError(f"The recorded answers in “{path.name}” cannot be read. {error}") from error
    return tuple(found.values())


def data_hash(prompts: Iterable[RoutedPrompt]) -> str:
    """sha256 of the records as a file holds them, whatever their order: 64 hex digits."""
    digest = hashlib.sha256()
    for line in sorted(map(_line, prompts)):
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()


def scored_by_both(prompts: Iterable[RoutedPrompt], weak: str, strong: str) -> tuple[RoutedPrompt, ...]:
    """Prompts which both tiers answered with a score. All others tell a router nothing of its boundary."""
    return tuple(
        prompt
        for prompt in prompts
        if all(tier in prompt.answers and prompt.answers[tier].score is not None for tier in (weak, strong))
    )


def _line(prompt: RoutedPrompt) -> str:
    return json.dumps(prompt.to_dict(), ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))


def _is_hidden(token: TokenEvent) -> bool:
    """Whether it is a piece of a server's reasoning, which is no part of the answer."""
    return token.token_id is None and not token.text and math.isnan(token.logprob)


def _known(figure: float | None) -> float:
    """A token's figure as it is recorded: NaN where it was not measured or is not finite."""
    return figure if figure is not None and math.isfinite(figure) else math.nan


def _to_json(figures: Iterable[float]) -> list[float | None]:
    return [None if math.isnan(figure) else round(figure, _DECIMALS) for figure in figures]


def _check(holds: bool, message: str) -> None:
    if not holds:
        raise RecordedPairsError(f"The recorded answer cannot be used: {message}.")
