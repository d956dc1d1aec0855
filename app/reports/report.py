"""What a report says: plain texts and numbers, wherever they come from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from engine.errors import GearboxError


class ReportError(GearboxError):
    """A report's parts do not fit together."""


class Tone(StrEnum):
    """Which way a verdict goes, as its colour tells beside its words."""

    GOOD = "good"
    BAD = "bad"
    OPEN = "open"
    """Neither, or not known yet."""


class Shape(StrEnum):
    """How a chart's values are drawn."""

    BARS = "bars"
    """From zero or where each begins, with their interval as a line over the end."""
    INTERVALS = "intervals"
    """A point within its interval; the axis need not begin at zero."""


@dataclass(frozen=True, slots=True)
class Value:
    """One row of a chart."""

    name: str
    value: float | None
    """``None`` for what was not measured."""
    text: str
    """The value as it is written, with its unit."""
    low: float | None = None
    """Where its interval begins; ``None`` for a value without one."""
    high: float | None = None
    start: float = 0.0
    """Where its bar begins: where the one before it ends, in a chart of steps."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A value that the others are held against: no difference, a margin, a target."""

    value: float
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Values of one kind, one below the other."""

    title: str
    unit: str
    """Of the axis."""
    values: tuple[Value, ...]
    shape: Shape = Shape.BARS
    marks: tuple[Mark, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of written figures; the first column names them."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        """
        Raises:
            ReportError: a row is not as long as the headers.
        """
        if any(len(row) != len(self.headers) for row in self.rows):
            raise ReportError(f"A row of the table “{self.title}” does not have {len(self.headers)} cells.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the report under a heading."""

    title: str
    text: str = ""
    charts: tuple[Chart, ...] = ()
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """A prompt whose answer one configuration gets right and the other does not."""

    prompt: str
    baseline: str
    """The baseline's answer."""
    candidate: str
    gained: bool
    """Right with the candidate alone; else with the baseline alone."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A text file that can be saved from the report."""

    name: str
    text: str
    written: bool = True
    """Whether the reader sees it too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One question, its answer, and what it rests on. Texts are plain; they may be anybody's."""

    title: str
    question: str
    answer: str
    """In a word or a few."""
    tone: Tone
    verdict: str
    """In a sentence, with its reason."""
    sections: tuple[Section, ...] = ()
    baseline: str = ""
    """What the baseline of the flips is called, and below the candidate."""
    candidate: str = ""
    flips: tuple[Flip, ...] = ()
    """Those to read first come first: print has room for a few."""
    environment: tuple[tuple[str, str], ...] = ()
    """What the figures hold for: names and values."""
    reproduce: str = ""
    """The command that makes the figures again."""
    attachments: tuple[Attachment, ...] = ()
    """What the command needs: to be saved from the page."""
    made_at: datetime
