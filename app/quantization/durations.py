"""How long a measurement on a corpus will take, before it is begun."""

from __future__ import annotations

from collections.abc import Mapping

from app.estimates import AnswerTime
from app.quantization.corpus import SPEED_PROMPT, SPEED_RUNS, SPEED_TOKENS
from engine import Corpus
from engine.evaluation.corpus import ANSWER_TOKENS, WINDOW_TOKENS
from engine.types import Precision

_CHARACTERS_A_TOKEN = 4


def windows_in(corpus: Corpus) -> int:
    """About how many windows a corpus gives: one a prompt, or its text cut up."""
    return len(corpus.prompts) or max(1, len(corpus.text) // _CHARACTERS_A_TOKEN // WINDOW_TOKENS)


def corpus_seconds(
    corpus: Corpus, scored: Mapping[str, int], times: Mapping[str, AnswerTime], *, answered: bool
) -> float | None:
    """What is left of it takes; ``None`` where it takes a precision whose pace nobody knows.

    Args:
        corpus: what is measured on.
        scored: the precisions to measure, with the windows scored before.
        times: what answers take, by precision.
        answered: whether the 16-bit model has answered the prompts before.
    """
    plain = times.get(Precision.BF16)
    if plain is None or any(precision not in times for precision in scored):
        return None
    windows, seconds = windows_in(corpus), plain.load_s or 0.0
    if corpus.prompts:
        prompt = sum(len(each.system) + len(each.prompt) for each in corpus.prompts) / windows / _CHARACTERS_A_TOKEN
        tokens = prompt + ANSWER_TOKENS
        seconds += 0.0 if answered else windows * plain.seconds(round(prompt), ANSWER_TOKENS)
    else:
        tokens = WINDOW_TOKENS
    for precision, done in scored.items():
        time = times[precision]
        read_s = plain.read_s
        if precision != Precision.BF16:
            read_s += time.read_s
            seconds += time.load_s or 0.0
        seconds += max(0, windows - done) * tokens * read_s
        seconds += SPEED_RUNS * time.seconds(SPEED_PROMPT, SPEED_TOKENS)
    return seconds
