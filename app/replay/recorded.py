"""Stored runs as lanes of a replay: the text piece by piece, each piece with the moment it was emitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate, takewhile
from typing import Self

from app.store import RunRecord, RunStatus, Timeline, machine_words
from engine.errors import GearboxError


class ReplayError(GearboxError):
    """These runs cannot be replayed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayLane:
    """One recorded answer. Times are seconds since its request arrived, loading left out."""

    name: str
    """Of the configuration."""
    model: str
    machine: str
    """Processor, threads and kernel; empty where nobody noted them."""
    recorded_at: datetime
    prompt: str
    pieces: tuple[str, ...]
    """Together they are the answer."""
    at_s: tuple[float, ...]
    """Of each piece, never falling."""
    ttft_s: float | None
    tpot_s: float | None
    e2e_s: float
    note: str = ""
    """What a viewer should know of the recording: that it was stopped, disturbed or shared its passes."""

    @classmethod
    def of(cls, run: RunRecord, timeline: Timeline | None, name: str) -> Self:
        """A stored run, called by a name.

        Raises:
            ReplayError: none of its tokens were kept.
        """
        if not timeline:
            raise ReplayError(f"“{name}” cannot be replayed: no token times were kept of this run.")
        pieces = _fitted(timeline.texts, run.text)
        at_s = tuple(accumulate(timeline.t_s, max))
        metrics = run.metrics
        return cls(
            name=name,
            model=run.model,
            machine=machine_words(run.environment),
            recorded_at=run.created_at,
            prompt=run.prompt,
            pieces=pieces,
            at_s=at_s,
            ttft_s=metrics.ttft_s if metrics else at_s[0],
            tpot_s=metrics.tpot_s if metrics else None,
            e2e_s=max(metrics.e2e_s, at_s[-1]) if metrics else at_s[-1],
            note=_note(run),
        )


def _fitted(pieces: Sequence[str], text: str) -> tuple[str, ...]:
    """The tokens' texts, made to end as the answer does: a stop string that was cut off is in none of them, and what
    was held back until the end comes with the last."""
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip("".join(pieces), text, strict=False)))
    fitted: list[str] = []
    for piece in pieces:
        fitted.append(piece[:same])
        same -= len(fitted[-1])
    rest = text[sum(map(len, fitted)) :]
    return (*fitted[:-1], fitted[-1] + rest)


def _note(run: RunRecord) -> str:
    notes = []
    if run.status is not RunStatus.FINISHED:
        notes.append(str(run.status))
    if run.disturbance and run.disturbance.is_disturbed:
        notes.append("disturbed by others on the machine")
    if run.metrics and run.metrics.is_shared:
        notes.append("shared its passes with other requests")
    return ", ".join(notes)
