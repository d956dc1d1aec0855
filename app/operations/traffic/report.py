"""What came of a replay: goodput, percentiles, errors."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app import units
from app.operations.traffic.client import Answer
from app.operations.traffic.replay import Outcome, Progress
from engine.errors import InvalidRequestError

PERCENTILES = (50, 90, 99)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slo:
    """What an answer must keep to count as good, in seconds; ``None`` asks nothing."""

    ttft: float | None = None
    tpot: float | None = None
    """An answer of one token keeps any."""
    e2e: float | None = None

    @classmethod
    def parse(cls, text: str) -> Slo:
        """From ``ttft=1.0,tpot=0.1,e2e=30``, each at most once.

        Raises:
            InvalidRequestError: a name is not known or stands twice, or a value is no number above 0.
        """
        limits: dict[str, float] = {}
        for part in text.split(","):
            name, _, value = (side.strip().lower() for side in part.partition("="))
            try:
                seconds = float(value)
            except ValueError:
                seconds = math.nan
            if name not in ("ttft", "tpot", "e2e") or name in limits or not 0 < seconds < math.inf:
                raise InvalidRequestError(
                    f"{part.strip()[:60]!r} is no SLO. Give seconds as ttft=1.0,tpot=0.1,e2e=30, each at most once."
                )
            limits[name] = seconds
        return cls(**limits)

    def is_met(self, answer: Answer) -> bool:
        """Whether an answer ended properly and kept every limit."""
        measured = (answer.ttft_s, answer.tpot_s, answer.e2e_s)
        return answer.error is None and all(
            limit is None or value is None or value <= limit
            for limit, value in zip((self.ttft, self.tpot, self.e2e), measured, strict=True)
        )

    def __str__(self) -> str:
        limits = (("TTFT", self.ttft), ("TPOT", self.tpot), ("E2E", self.e2e))
        return ", ".join(f"{name} ≤ {units.seconds(limit)}" for name, limit in limits if limit is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorCount:
    """Requests that failed alike."""

    kind: str
    requests: int
    detail: str
    """What the server said to the first of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Of all requests that have ended. Only answers that ended properly count, but in ``errors``."""

    requests: int
    ok: int
    unanswered: int
    """Sent and not ended when the replay was interrupted."""
    errors: tuple[ErrorCount, ...]
    """The commonest kind first."""
    duration_s: float
    """From the first request to the last end."""
    input_tokens: int
    cached_tokens: int
    """Prompt tokens whose KV was reused, as far as the server tells."""
    output_tokens: int
    uncounted: int
    """Answers whose tokens the server did not count."""
    ttft_s: Mapping[int, float]
    """Percentiles by nearest rank, like the following; empty where there is nothing."""
    tpot_s: Mapping[int, float]
    itl_s: Mapping[int, float]
    e2e_s: Mapping[int, float]
    late_s: Mapping[int, float]
    """How much later than it was due a request was sent."""
    slo: Slo | None
    good: int | None
    """Answers that met every SLO; ``None`` without one."""

    @classmethod
    def of(cls, progress: Progress, slo: Slo | None = None) -> Report:
        """Add up a replay, whether it has ended or not."""
        answers = [outcome.answer for outcome in progress.outcomes if outcome.answer.error is None]
        return cls(
            requests=len(progress.outcomes),
            ok=len(answers),
            unanswered=progress.in_flight,
            errors=_errors(progress.outcomes),
            duration_s=progress.elapsed_s,
            input_tokens=sum(answer.prompt_tokens or 0 for answer in answers),
            cached_tokens=sum(answer.cached_tokens or 0 for answer in answers),
            output_tokens=sum(answer.completion_tokens for answer in answers),
            uncounted=sum(not answer.counted for answer in answers),
            ttft_s=percentiles(answer.ttft_s for answer in answers),
            tpot_s=percentiles(answer.tpot_s for answer in answers if answer.tpot_s is not None),
            itl_s=percentiles(gap for answer in answers for gap in answer.gaps_s),
            e2e_s=percentiles(answer.e2e_s for answer in answers),
            late_s=percentiles(outcome.late_s for outcome in progress.outcomes if outcome.late_s is not None),
            slo=slo,
            good=None if slo is None else sum(map(slo.is_met, answers)),
        )

    @property
    def error_share(self) -> float:
        """Of the requests that ended; 0 if none did."""
        return 1 - self.ok / self.requests if self.requests else 0.0

    def per_second(self, count: int) -> float:
        """Of the duration; 0 if that is nothing."""
        return count / self.duration_s if self.duration_s > 0 else 0.0

    @property
    def goodput(self) -> float | None:
        """Requests/s that met every SLO; ``None`` without one."""
        return None if self.good is None else self.per_second(self.good)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, rates included."""
        return {
            "requests": self.requests,
            "ok": self.ok,
            "unanswered": self.unanswered,
            "errors": {error.kind: error.requests for error in self.errors},
            "error_share": self.error_share,
            "duration_s": self.duration_s,
            "requests_per_s": self.per_second(self.ok),
            "input_tokens": self.input_tokens,
            "cached_tokens": self.cached_tokens,
            "output_tokens": self.output_tokens,
            "input_tokens_per_s": self.per_second(self.input_tokens),
            "output_tokens_per_s": self.per_second(self.output_tokens),
            "uncounted": self.uncounted,
            **{name: {f"p{rank}": value for rank, value in self._percentiles(name).items()} for name in _LINES},
            "goodput_per_s": self.goodput,
        }

    def text(self) -> str:
        """For people, some lines."""
        lines = [
            _line("requests", f"{self.requests:,} ended: {self.ok:,} ok, {self._failed()}"),
            *(
                _line("", f"{error.kind}: {error.requests:,}{f', first {error.detail!r}' if error.detail else ''}")
                for error in self.errors
            ),
            _line("duration", units.seconds(self.duration_s)),
            _line("requests/s", f"{self.per_second(self.ok):,.2f}"),
            _line("tokens/s", f"{self.per_second(self.input_tokens):,.0f} in, {self._output_rate()}"),
        ]
        if self.unanswered:
            lines.insert(1, _line("", f"{self.unanswered:,} more were sent and not waited for"))
        if self.cached_tokens:
            lines.append(
                _line("cached", f"{units.percent(self.cached_tokens / self.input_tokens)} of the prompt tokens")
            )
        if self.uncounted:
            lines.append(
                _line("", f"The server counted no tokens of {self.uncounted:,} answers: their pieces of text count.")
            )
        lines += ["", _line("", "".join(f"{f'p{rank}':>11}" for rank in PERCENTILES))]
        for name, label in _LINES.items():
            found = self._percentiles(name)
            lines.append(_line(label, "".join(f"{units.seconds(found.get(rank)):>11}" for rank in PERCENTILES)))
        lines.append("")
        if self.goodput is None:
            lines.append(_line("goodput", "without an SLO there is none"))
        else:
            share = units.percent(self.good / self.requests) if self.good and self.requests else units.percent(0)
            lines.append(_line("goodput", f"{self.goodput:,.2f} requests/s: {share} met {self.slo}"))
        return "\n".join(line.rstrip() for line in lines) + "\n"

    def _failed(self) -> str:
        failed = self.requests - self.ok
        return f"{failed:,} failed ({units.percent(self.error_share, 1)})" if failed else "none failed"

    def _output_rate(self) -> str:
        return f"{self.per_second(self.output_tokens):,.1f} out"

    def _percentiles(self, name: str) -> Mapping[int, float]:
        found: Mapping[int, float] = getattr(self, name)
        return found


_LINES = {"ttft_s": "TTFT", "tpot_s": "TPOT", "itl_s": "ITL", "e2e_s": "E2E", "late_s": "sent late"}


def percentiles(values: Iterable[float]) -> dict[int, float]:
    """The :data:`PERCENTILES` by nearest rank: the smallest value that so many percent of all are not above. Empty for
    no values."""
    ordered = sorted(array("d", values))
    return {rank: ordered[-(-len(ordered) * rank // 100) - 1] for rank in PERCENTILES} if ordered else {}


def row_of(outcome: Outcome) -> dict[str, Any]:
    """A request as plain JSON values."""
    answer = outcome.answer
    ok = answer.error is None
    return {
        "number": outcome.number,
        "session": outcome.session,
        "at_s": outcome.at_s,
        "sent_s": outcome.sent_s,
        "late_s": outcome.late_s,
        "error": answer.error,
        "detail": answer.detail,
        "prompt_tokens": answer.prompt_tokens,
        "cached_tokens": answer.cached_tokens,
        "completion_tokens": answer.completion_tokens if ok else None,
        "ttft_s": answer.ttft_s if ok else None,
        "tpot_s": answer.tpot_s,
        "e2e_s": answer.e2e_s if ok else None,
    }


def _errors(outcomes: Sequence[Outcome]) -> tuple[ErrorCount, ...]:
    counts: Counter[str] = Counter()
    details: dict[str, str] = {}
    for outcome in outcomes:
        if kind := outcome.answer.error:
            counts[kind] += 1
            details.setdefault(kind, outcome.answer.detail)
    return tuple(
        ErrorCount(kind=kind, requests=requests, detail=details[kind]) for kind, requests in counts.most_common()
    )


def _line(label: str, text: str) -> str:
    return f"{label:<12}{text}"
