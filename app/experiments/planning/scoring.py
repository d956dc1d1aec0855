"""How an answer is scored: by its prompt's checker, or where there is none by its likeness to the baseline's answer,
which is called that and never quality."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from engine import JUDGED, Task, check
from engine.cascade.reporting.consistency import word_f1
from engine.errors import NotJudgedError, SandboxUnavailableError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Likeness:
    """How like the baseline's answer another one is."""

    same_text: bool
    """But for space around it."""
    word_f1: float
    """F1 of the two texts' words, 0 to 1."""

    @classmethod
    def of(cls, text: str, reference: str) -> Likeness:
        """Of an answer to the baseline's."""
        same = text.strip() == reference.strip()
        return cls(same, 1.0 if same else word_f1(text, reference))


def has_checker(task: Task) -> bool:
    """Whether code can tell if an answer is right."""
    return task.checker not in (None, JUDGED)


def checked(task: Task, text: str) -> float | None:
    """The checker's score of an answer, 0 or 1; ``None`` where there is no checker, or it cannot tell."""
    if not has_checker(task):
        return None
    try:
        return float(check(task, text))
    except (NotJudgedError, SandboxUnavailableError) as error:
        log.warning("an answer to %s is not judged: %s", task.id, error)
        return None
