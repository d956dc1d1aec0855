"""How long answers will take on this machine, before they are asked for: by what the runs and the lab have measured."""

from __future__ import annotations

from dataclasses import dataclass

from app.environment import measured_here
from app.store import RunStore

_LAB_PROMPT_TOKENS = 40
"""About what the prompt is long that the lab times precisions with."""
_CHARACTERS_A_TOKEN = 4
"""Of English text, roughly: prompts are not tokenized to tell how long they take."""


@dataclass(frozen=True, slots=True)
class AnswerTime:
    """What one model at one precision takes, of medians of runs that nothing disturbed."""

    step_s: float
    """A token of the answer."""
    read_s: float
    """A token of the prompt."""
    load_s: float | None = None
    """Loading its weights; ``None`` where that was never measured."""

    def seconds(self, prompt: str | int, tokens: float) -> float:
        """Of one answer, loading left out: prefill + step × tokens.

        Args:
            prompt: what is read, as text or in tokens.
            tokens: how long the answer will be.
        """
        read = len(prompt) / _CHARACTERS_A_TOKEN if isinstance(prompt, str) else prompt
        return self.read_s * read + self.step_s * tokens


def answer_times(store: RunStore, model: str, device: str) -> dict[str, AnswerTime]:
    """By precision, what a model takes on this machine; one of which nothing was measured is missing.

    Args:
        store: the runs, and the lab's results that stand in where there are no runs.
        model: its name.
        device: where the engine runs models (``EngineStatus.device``).

    Raises:
        StoreError: the run database cannot be read.
    """
    found: dict[str, AnswerTime] = {}
    for speed in store.lab.speeds(model):
        if measured_here(speed.environment, device):
            read_s = speed.ttft_s / _LAB_PROMPT_TOKENS
            found.setdefault(speed.precision, AnswerTime(1 / speed.tokens_per_second, read_s))
    for precision, runs in store.recent_speeds(model, host=store.host).items():
        if runs.tpot_s is not None and runs.read_s is not None:
            found[precision] = AnswerTime(runs.tpot_s, runs.read_s, runs.load_s)
    return found
