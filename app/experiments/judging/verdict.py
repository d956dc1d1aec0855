"""What a judge's reply comes to."""

from __future__ import annotations

from dataclasses import dataclass

from app.experiments.judging.judge import Reply
from app.experiments.judging.prompts import Asked
from app.store import NoVerdict

_LONGEST_DETAIL = 300
"""Characters that are kept of what a judge wrote instead of a verdict."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A score, or why there is none."""

    score: float | None
    """0 to 1."""
    reason: str
    no_verdict: NoVerdict | None
    detail: str
    """What the judge wrote instead of a verdict, or what went wrong."""


def verdict_of(asked: Asked, reply: Reply) -> Verdict:
    """Read a reply. One that cannot be read as a verdict is none, whatever it says."""
    opinion = None if reply.no_verdict else asked.read(reply.text)
    if opinion is not None:
        return Verdict(opinion.score, opinion.reason, None, reply.detail)
    if reply.no_verdict is not None:
        return Verdict(None, "", reply.no_verdict, reply.detail)
    none = NoVerdict.UNREADABLE if reply.text.strip() else NoVerdict.EMPTY
    return Verdict(None, "", none, reply.text[:_LONGEST_DETAIL])
