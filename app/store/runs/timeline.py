"""The per-token timeline of a run, and how it is packed into a few bytes a token."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import accumulate, pairwise
from typing import Any, Self

from engine.types import TokenEvent, TokenSource, token_ids_of
from engine.untrusted import valid_text

_SOURCES: tuple[TokenSource, ...] = ("target", "draft", "bonus")
_TICKS_PER_SECOND = 1_000_000
_STEPS_PER_NAT = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """One entry a token, in the order they were emitted; all columns are equally long, but that ``token_ids`` is empty
    for a server's answer.

    A stored timeline comes back with times within 0.5 µs, log-probabilities and entropies within
    0.00005 nats, and all else exact. A figure that is not finite comes back as NaN.
    """

    token_ids: tuple[int, ...] = ()
    texts: tuple[str, ...] = ()
    t_s: tuple[float, ...] = ()
    """Seconds since the request arrived, loading left out."""
    logprob: tuple[float, ...] = ()
    entropy: tuple[float, ...] = ()
    source: tuple[TokenSource, ...] = ()
    margin: tuple[float | None, ...] = ()
    """Largest logit minus the second largest; ``None`` for runs kept before it was measured."""
    tier: tuple[str | None, ...] = ()

    def __len__(self) -> int:
        return len(self.texts)

    @classmethod
    def from_events(cls, tokens: Sequence[TokenEvent]) -> Self:
        """The timeline of the tokens of one run."""
        return cls(
            token_ids=token_ids_of(tokens),
            texts=tuple(token.text for token in tokens),
            t_s=tuple(token.t for token in tokens),
            logprob=tuple(token.logprob for token in tokens),
            entropy=tuple(token.entropy for token in tokens),
            source=tuple(token.source for token in tokens),
            margin=tuple(token.margin for token in tokens),
            tier=tuple(token.tier for token in tokens),
        )

    def to_events(self) -> list[TokenEvent]:
        """The inverse of :meth:`from_events`."""
        columns = (
            self.token_ids or (None,) * len(self),
            self.texts,
            self.t_s,
            self.logprob,
            self.entropy,
            self.source,
            self.margin,
            self.tier,
        )
        return [TokenEvent(*row) for row in zip(*columns, strict=True)]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, one list a column; a figure that is not finite becomes ``None``."""
        columns: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        for name in ("t_s", "logprob", "entropy"):
            columns[name] = [value if math.isfinite(value) else None for value in columns[name]]
        columns["margin"] = [value if value is not None and math.isfinite(value) else None for value in self.margin]
        return columns

    def pack(self) -> bytes:
        """Compact bytes: deflated JSON columns of small integers, times as differences."""
        tiers = list(dict.fromkeys(self.tier))
        columns = {
            "token_ids": self.token_ids,
            "texts": [valid_text(text) for text in self.texts],
            "t": _differences(round(t * _TICKS_PER_SECOND) for t in self.t_s),
            "logprob": _steps(self.logprob),
            "entropy": _steps(self.entropy),
            "margin": _steps(math.nan if value is None else value for value in self.margin),
            "source": [_SOURCES.index(source) for source in self.source],
            "tiers": [tier and valid_text(tier) for tier in tiers],
            "tier": [tiers.index(tier) for tier in self.tier],
        }
        return zlib.compress(json.dumps(columns, separators=(",", ":"), ensure_ascii=False).encode(), level=6)

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        """The inverse of `pack`."""
        columns = json.loads(zlib.decompress(packed))
        return cls(
            token_ids=tuple(columns["token_ids"]),
            texts=tuple(columns["texts"]),
            t_s=tuple(ticks / _TICKS_PER_SECOND for ticks in accumulate(columns["t"])),
            logprob=_nats(columns["logprob"]),
            entropy=_nats(columns["entropy"]),
            source=tuple(_SOURCES[index] for index in columns["source"]),
            margin=tuple(
                None if step is None else step / _STEPS_PER_NAT
                for step in columns.get("margin", [None] * len(columns["source"]))
            ),
            tier=tuple(columns["tiers"][index] for index in columns["tier"]),
        )


def _differences(ticks: Iterable[int]) -> list[int]:
    return [after - before for before, after in pairwise([0, *ticks])]


def _steps(values: Iterable[float]) -> list[int | None]:
    return [round(value * _STEPS_PER_NAT) if math.isfinite(value) else None for value in values]


def _nats(steps: Iterable[int | None]) -> tuple[float, ...]:
    return tuple(math.nan if step is None else step / _STEPS_PER_NAT for step in steps)
