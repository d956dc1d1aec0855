"""What a model would take and how quick it would be on this machine, before it is here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine import WeightsEstimate

_ALIKE = 4.0
"""How many times as much a token may read of one model as of another for the pace of one to speak for the other: below
that, what takes as long for every model counts for much the same."""


@dataclass(frozen=True, slots=True)
class MeasuredPace:
    """What a model here was measured at, at one precision."""

    model: str
    precision: str
    step_s: float
    """A token of an answer."""
    bytes_a_token: int
    """Of its weights."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What is known of this machine."""

    room_bytes: int | None = None
    """What models may take of its memory; ``None`` where that is not known."""
    bandwidth: float | None = None
    """Bytes of memory read in a second."""
    paces: Sequence[MeasuredPace] = ()
    is_settled: bool = True
    """Whether nothing of it is being worked out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """One precision of a model. All of it is estimated."""

    precision: str
    weights_bytes: int
    fits: bool | None
    """Whether that much can be had; ``None`` where nobody knows."""
    tokens_per_second: float | None
    like: str | None
    """The model whose measured pace it is by; ``None`` where it is what memory gives at most."""


def expected(weights: Mapping[str, WeightsEstimate], machine: Machine) -> list[Expected]:
    """What each precision of a model comes to here.

    A token is decoded in the time that its weights take to be read: at the pace of the model that is nearest in size,
    of those measured here at this precision, else at the bandwidth of memory, which no decoding passes.
    """
    found = []
    for precision, estimate in weights.items():
        nearest = _nearest(precision, estimate.bytes_a_token, machine.paces)
        if nearest:
            rate: float | None = nearest.bytes_a_token / nearest.step_s / estimate.bytes_a_token
        else:
            rate = machine.bandwidth and machine.bandwidth / estimate.bytes_a_token
        found.append(
            Expected(
                precision=precision,
                weights_bytes=estimate.bytes,
                fits=None if machine.room_bytes is None else estimate.bytes <= machine.room_bytes,
                tokens_per_second=rate,
                like=nearest.model if nearest else None,
            )
        )
    return found


def _nearest(precision: str, bytes_a_token: int, paces: Sequence[MeasuredPace]) -> MeasuredPace | None:
    def distance(pace: MeasuredPace) -> float:
        return abs(math.log(pace.bytes_a_token / bytes_a_token))

    alike = [pace for pace in paces if pace.precision == precision and distance(pace) <= math.log(_ALIKE)]
    return min(alike, key=distance, default=None)
