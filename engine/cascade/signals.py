"""What a router looks at: features of a prompt, and how sure the small model was of its answer.

Whatever cannot be told (no token, no recorded margin) is NaN, and never a made-up number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from engine.cascade.records import TierAnswer

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


def prompt_table(
    prompts: Sequence[str],
    prefill_entropy: Sequence[float] | npt.NDArray[np.float64] | None = None,
    hidden: npt.NDArray[np.floating] | None = None,
) -> FeatureTable:
    """Features of prompts, known before a token is generated.

    Args:
        prompts: the users' texts.
        prefill_entropy: of the small model's first next-token distribution, in nats, ``[prompts]``.
        hidden: the small model's hidden state after the prompt, ``[prompts, dims]``, or ``[prompts, 0]`` where it is
            not known.

    Raises:
        ValueError: an array has another number of rows.
    """
    plain = FeatureTable.of([prompt_features(prompt) for prompt in prompts], PROMPT_FEATURES)
    names, columns = [*plain.names], [plain.values]
    if prefill_entropy is not None:
        names.append(PREFILL_ENTROPY)
        columns.append(np.asarray(prefill_entropy, np.float64).reshape(-1, 1))
    if hidden is not None:
        names += [f"{HIDDEN}{index}" for index in range(hidden.shape[1])]
        columns.append(hidden.astype(np.float64))
    return FeatureTable(names=tuple(names), values=np.hstack(columns))


def read_by_a_model(feature: str) -> bool:
    """Whether a feature of a prompt is known only once the small model has read it."""
    return feature == PREFILL_ENTROPY or feature.startswith(HIDDEN)


def first_entropies(answers: Sequence[TierAnswer]) -> list[float]:
    """Of each answer's first token, in nats."""
    return [answer.entropies[0] if answer.entropies else math.nan for answer in answers]


def reading_table(prompts: Sequence[str], answers: Sequence[TierAnswer]) -> FeatureTable:
    """Features of prompts, and what the small model makes of them before it writes on: the entropy of its first token,
    and its hidden state.

    Args:
        prompts: the users' texts.
        answers: the small model's to them, of which the first token counts.
    """
    width = max((len(answer.hidden) for answer in answers), default=0)
    hidden = [answer.hidden if len(answer.hidden) == width else (math.nan,) * width for answer in answers]
    return prompt_table(prompts, first_entropies(answers), np.array(hidden, np.float64).reshape(len(answers), width))


_TOKEN_SIGNALS: Mapping[str, tuple[str, Callable[[npt.NDArray[np.float64]], np.floating]]] = {
    MEAN_LOGPROB: ("logprobs", np.mean),
    "q10_logprob": ("logprobs", lambda values: np.quantile(values, 0.1)),
    "min_logprob": ("logprobs", np.min),
    "mean_margin": ("margins", np.mean),
    "q10_margin": ("margins", lambda values: np.quantile(values, 0.1)),
    "mean_entropy": ("entropies", np.mean),
    "max_entropy": ("entropies", np.max),
}
ANSWER_SIGNALS = (
    *_TOKEN_SIGNALS,
    *(f"first_{name}" for name in _TOKEN_SIGNALS),
    "repetition",
    "reached_eos",
    "log_tokens",
)


def answer_signals(answer: TierAnswer) -> dict[str, float]:
    """How sure a model was of its own answer, over all its tokens and over the first 16.

    Means rather than sums: a sum of log-probabilities is biased by length; low quantiles see the one
    doubtful token that a mean hides (arXiv:2404.10136).
    """
    signals = {
        "repetition": 0.0 if answer.repetition is None else answer.repetition,
        "reached_eos": float(answer.finish_reason == "stop"),
        "log_tokens": math.log1p(len(answer.logprobs)),
    }
    for name, (figure, summary) in _TOKEN_SIGNALS.items():
        values = np.array(getattr(answer, figure), np.float64)
        signals[name] = float(summary(values)) if values.size else math.nan
        signals[f"first_{name}"] = float(summary(values[:FIRST_TOKENS])) if values.size else math.nan
    return signals


def answer_table(answers: Sequence[TierAnswer]) -> FeatureTable:
    """The signals of some answers of the small model."""
    return FeatureTable.of([answer_signals(answer) for answer in answers], ANSWER_SIGNALS)
