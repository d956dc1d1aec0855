"""What a router looks at: features of a prompt, and how sure the small model was of its answer.

A signal is one entry, its name and how it is worked out, in :func:`prompt_features` (of a prompt's text),
``_READING_SIGNALS`` (of a prompt that the small model has read) or ``_ANSWER_SIGNALS`` (of its answer). Learning, the
engine, the Router lab and its tables take them from there. One that is unknown (no token, a figure that was not
measured or is not finite) is NaN, and never a made-up number. None may rest on an answer's times, which are unknown
while it is written.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from engine.cascade.routing.records import TierAnswer

Signal = Callable[[TierAnswer], float]
TokenFigure = Literal["logprobs", "entropies", "margins"]
Summary = Callable[[npt.NDArray[np.float64]], np.floating]
"""Of one figure of several tokens."""

FIRST_TOKENS = 16
"""Tokens from which the early signals are taken."""

MEAN_LOGPROB = "mean_logprob"
PREFILL_ENTROPY = "prefill_entropy"
HIDDEN = "hidden_"
"""Begins the names of what a hidden state is projected to."""

_WORD = re.compile(r"\w+(?:['’]\w+)?")
_MARKERS: Mapping[str, re.Pattern[str]] = {
    "code": re.compile(r"```|\b(?:def|class|return|import|function|regex|SQL|python|javascript)\b|[{};]|\w\(\)", re.I),
    "arithmetic": re.compile(
        r"\d\s*[-+*/×÷^=%]\s*\d|\b(?:sum|total|times|percent|average|half|double|how many|how much)\b", re.I
    ),
    "format": re.compile(
        r"\b(?:json|yaml|csv|table|bullet|list|only|exactly|at most|one word|sentences?|format)\b", re.I
    ),
    "choices": re.compile(r"(?:^|\s)\(?[A-D][).:]\s", re.M),
    "fact_question": re.compile(r"\b(?:who|what|which|when|where|whose)\b", re.I),
    "reason_question": re.compile(r"\b(?:why|how|explain|prove|compare|derive|reason|step by step)\b", re.I),
    "writing": re.compile(r"\b(?:write|rewrite|summari[sz]e|translate|compose|draft|describe)\b", re.I),
    "negation": re.compile(r"\b(?:not|never|no|except|without|unless)\b|n['’]t\b", re.I),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureTable:
    """Features of some prompts or answers, by name."""

    names: tuple[str, ...]
    values: npt.NDArray[np.float64]
    """``[rows, features]``; NaN where one is unknown."""

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.shape[1] != len(self.names):
            raise ValueError(f"{len(self.names)} names for values of shape {self.values.shape}")

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.values)

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, float]], names: tuple[str, ...]) -> Self:
        """Rows that each have every name."""
        values = np.array([[row[name] for name in names] for row in rows], np.float64)
        return cls(names=names, values=values.reshape(len(rows), len(names)))

    def column(self, name: str) -> npt.NDArray[np.float64]:
        """One feature ``[rows]``; all NaN where the table has none of that name."""
        return self.select((name,))[:, 0]

    def select(self, names: Sequence[str]) -> npt.NDArray[np.float64]:
        """Some features ``[rows, len(names)]``, in the order asked for; NaN where there is none of that name."""
        wide = np.column_stack([self.values, np.full(len(self), np.nan)])
        at = {name: index for index, name in enumerate(self.names)}
        return wide[:, [at.get(name, len(self.names)) for name in names]]

    def rows(self, index: npt.NDArray[np.intp]) -> Self:
        """Some rows, in the order asked for."""
        return type(self)(names=self.names, values=self.values[index])


def prompt_features(prompt: str) -> dict[str, float]:
    """What can be seen of a prompt without any model; counts are as log(1 + count)."""
    words = _WORD.findall(prompt)
    letters = max(len(prompt), 1)
    return {
        "log_characters": math.log1p(len(prompt)),
        "log_words": math.log1p(len(words)),
        "mean_word_length": sum(map(len, words)) / max(len(words), 1),
        "log_lines": math.log1p(prompt.count("\n")),
        "log_numbers": math.log1p(len(re.findall(r"\d+(?:[.,]\d+)*", prompt))),
        "digit_share": sum(map(str.isdigit, prompt)) / letters,
        "upper_share": sum(map(str.isupper, prompt)) / letters,
        "non_ascii_share": sum(not character.isascii() for character in prompt) / letters,
        "log_question_marks": math.log1p(prompt.count("?")),
        "log_quotes": math.log1p(len(re.findall(r"[\"“”„«»]", prompt))),
        **{name: math.log1p(len(pattern.findall(prompt))) for name, pattern in _MARKERS.items()},
    }


PROMPT_FEATURES = tuple(prompt_features(""))


def _first_entropy(answer: TierAnswer) -> float:
    return answer.entropies[0] if answer.entropies else math.nan


_READING_SIGNALS: Mapping[str, Signal] = {PREFILL_ENTROPY: _first_entropy}
"""Of a prompt that the small model has read, by what it answers up to its first token."""


def prompt_table(prompts: Sequence[str]) -> FeatureTable:
    """Features of prompts' texts, known before any model reads them."""
    return FeatureTable.of([prompt_features(prompt) for prompt in prompts], PROMPT_FEATURES)


def reading_table(prompts: Sequence[str], answers: Sequence[TierAnswer], *, hidden: bool = True) -> FeatureTable:
    """Features of prompts, and what the small model makes of them before it writes on: the entropy of its first token,
    and its hidden state.

    Args:
        prompts: the users' texts.
        answers: the small model's to them, of which the first token counts.
        hidden: whether the hidden state is among them.
    """
    text = prompt_table(prompts)
    reading = np.array([[signal(answer) for signal in _READING_SIGNALS.values()] for answer in answers], np.float64)
    width = max((len(answer.hidden) for answer in answers), default=0) if hidden else 0
    states = [answer.hidden if len(answer.hidden) == width else (math.nan,) * width for answer in answers]
    return FeatureTable(
        names=(*text.names, *_READING_SIGNALS, *(f"{HIDDEN}{index}" for index in range(width))),
        values=np.hstack(
            [
                text.values,
                reading.reshape(len(answers), len(_READING_SIGNALS)),
                np.array(states, np.float64).reshape(len(answers), width),
            ]
        ),
    )


def read_by_a_model(feature: str) -> bool:
    """Whether a feature of a prompt is known only once the small model has read it."""
    return feature in _READING_SIGNALS or feature.startswith(HIDDEN)


def _over_tokens(figure: TokenFigure, summary: Summary, most: int | None = None) -> Signal:
    """A signal that sums up a figure of the first ``most`` tokens, or of all."""

    def signal(answer: TierAnswer) -> float:
        values = np.array(getattr(answer, figure)[:most], np.float64)
        return float(summary(values)) if values.size else math.nan

    return signal


def _q10(values: npt.NDArray[np.float64]) -> np.floating:
    return np.quantile(values, 0.1)


# Means rather than sums: a sum of log-probabilities is biased by length; low quantiles see the one doubtful token that
# a mean hides (arXiv:2404.10136).
_TOKEN_SIGNALS: Mapping[str, tuple[TokenFigure, Summary]] = {
    MEAN_LOGPROB: ("logprobs", np.mean),
    "q10_logprob": ("logprobs", _q10),
    "min_logprob": ("logprobs", np.min),
    "mean_margin": ("margins", np.mean),
    "q10_margin": ("margins", _q10),
    "mean_entropy": ("entropies", np.mean),
    "max_entropy": ("entropies", np.max),
}
_ANSWER_SIGNALS: Mapping[str, Signal] = {
    **{name: _over_tokens(*of) for name, of in _TOKEN_SIGNALS.items()},
    **{f"first_{name}": _over_tokens(*of, FIRST_TOKENS) for name, of in _TOKEN_SIGNALS.items()},
    "repetition": lambda answer: 0.0 if answer.repetition is None else answer.repetition,
    "reached_eos": lambda answer: float(answer.finish_reason == "stop"),
    "log_tokens": lambda answer: math.log1p(len(answer.logprobs)),
}
"""How sure a model was of its own answer, over all its tokens and over the first 16."""
ANSWER_SIGNALS = tuple(_ANSWER_SIGNALS)


def answer_signals(answer: TierAnswer) -> dict[str, float]:
    """How sure a model was of its own answer: every signal by name, NaN where it is unknown."""
    return {name: signal(answer) for name, signal in _ANSWER_SIGNALS.items()}


def answer_table(answers: Sequence[TierAnswer]) -> FeatureTable:
    """The signals of some answers of the small model."""
    return FeatureTable.of([answer_signals(answer) for answer in answers], ANSWER_SIGNALS)
