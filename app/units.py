"""How a number is written, with its unit: the one place where the app decides that.

Functions of a measurement take ``None`` for "not measured" and answer with :data:`MISSING`. Those that take a
``spread``, the uncertainty as a share of the value, write no digit below the first that the uncertainty reaches: one
significant digit of it counts (JCGM 100:2008, 7.2.6). Without a spread there are three significant digits.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, tzinfo

MISSING = "–"

_KIB = 1024
_KWH = 3.6e6  # joules


def seconds(value: float | None, spread: float | None = None) -> str:
    """A duration given in seconds, as "412 µs", "41.2 ms", "3.42 s" or "2 min 05 s"."""
    if value is None:
        return MISSING
    if value == 0:
        return "0 s"
    value, place = _supported(value, spread)
    if value < 0.001:
        return f"{value * 1e6:.0f} µs"
    if value < 0.9995:
        return f"{_figures(value * 1000, None if place is None else place + 3)} ms"
    if value < 60:
        return f"{_figures(value, place)} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest:02d} s"


def about(duration_s: float) -> str:
    """A time that is reckoned, in seconds, with no more digits than it deserves: "a few seconds",
    "about 40 s", "about 1 min 20 s", "about 29 min", "about 2 h 10 min"."""
    if duration_s < 7.5:
        return "a few seconds"
    if duration_s < 57.5:
        return f"about {5 * round(duration_s / 5)} s"
    if duration_s < 595:
        minutes, rest = divmod(10 * round(duration_s / 10), 60)
        return f"about {minutes} min {rest:02d} s" if rest else f"about {minutes} min"
    if duration_s < 3570:
        return f"about {round(duration_s / 60)} min"
    hours, minutes = divmod(10 * round(duration_s / 600), 60)
    return f"about {hours} h {minutes:02d} min" if minutes else f"about {hours} h"


def rate(tokens_per_second: float | None, spread: float | None = None) -> str:
    """A decode rate: "58.3 tok/s"."""
    return MISSING if tokens_per_second is None else f"{_figures(*_supported(tokens_per_second, spread))} tok/s"


def tokens(value: float | None) -> str:
    """A mean number of tokens: "3.42 tokens"."""
    return MISSING if value is None else f"{_figures(value)} tokens"


def mean(value: float | None) -> str:
    """A mean of something that is named beside it: "3.42"."""
    return MISSING if value is None else _figures(value)


def memory(size_bytes: float | None) -> str:
    """A size given in bytes, in binary units: "512 MiB", "1.04 GiB"."""
    if size_bytes is None:
        return MISSING
    value = float(size_bytes)
    for unit in ("B", "KiB", "MiB"):
        if value < _KIB:
            return f"{value:.0f} B" if unit == "B" else f"{_figures(value)} {unit}"
        value /= _KIB
    return f"{_figures(value)} GiB"


def energy(joules: float | None) -> str:
    """An energy given in joules: "12.3 J", "4.56 kJ", and from a tenth of a kilowatt-hour on "1.20 kWh"."""
    if joules is None:
        return MISSING
    if joules >= _KWH / 10:
        return f"{_figures(joules / _KWH)} kWh"
    return f"{_figures(joules / 1000)} kJ" if joules >= 1000 else f"{_figures(joules)} J"


def percent(share: float | None, digits: int = 0) -> str:
    """A share of one: 0.713 is "71 %"."""
    return MISSING if share is None else f"{share * 100:.{digits}f} %"


def ratio(value: float | None, spread: float | None = None) -> str:
    """A quotient of two measurements: "2.9×", and close to 1 a digit more: "1.04×"."""
    if value is None:
        return MISSING
    if spread is not None:
        return f"{_figures(*_supported(value, spread))}×"
    return f"{value:.2f}×" if value < 1.1 else f"{value:.1f}×" if value < 10 else f"{_figures(value)}×"


def count(value: int | None) -> str:
    """A whole number with thousands separated: "100,000"."""
    return MISSING if value is None else f"{value:,}"


def counted(value: int, noun: str) -> str:
    """A whole number with its noun, which takes a plain "s" in the plural: "1 run", "2,000 runs"."""
    return f"{value:,} {noun}" if value == 1 else f"{value:,} {noun}s"


def money(amount: float | None, currency: str = "$") -> str:
    """An amount of money with two significant digits however small: "$0.000034", "$1.20"."""
    if amount is None:
        return MISSING
    if amount < 0:
        return f"−{money(-amount, currency)}"
    if amount == 0 or amount >= 0.1:
        return f"{currency}{amount:,.2f}"
    return f"{currency}{amount:.{1 - math.floor(math.log10(amount))}f}"


def probability(logprob: float | None) -> str:
    """The probability behind a natural log-probability: "97.3 %"."""
    return MISSING if logprob is None or math.isnan(logprob) else percent(math.exp(logprob), 1)


def nats(value: float | None) -> str:
    """An entropy: "1.32 nats"."""
    return MISSING if value is None or math.isnan(value) else f"{value:.2f} nats"


def moment(value: datetime | None, zone: tzinfo = UTC) -> str:
    """A point in time on the reader's clock: "2026-03-14 15:09:26"."""
    return MISSING if value is None else value.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")


def divergence(value: float | None) -> str:
    """A KLD in nats with three significant digits however small: "0.00312 nats", "1.20 nats", "0 nats"."""
    if value is None or math.isnan(value):
        return MISSING
    if math.isinf(value) or value < 1e-6:
        return "∞ nats" if value > 0 and math.isinf(value) else "0 nats"
    digits = max(2, 2 - math.floor(math.log10(value)))
    return f"{value:.{digits}f} nats"


def points(difference: float) -> str:
    """A difference of two probabilities in percentage points, with its sign: "−3.2 points", "+0.4 points"."""
    return f"{signed(difference * 100)} points"


def points_between(low: float, high: float) -> str:
    """An interval of such a difference: "−3.2 to +0.4 points"."""
    return f"{signed(low * 100)} to {signed(high * 100)} points"


def signed(value: float, digits: int = 1) -> str:
    """A number with its sign: "−3.2", "+0.4", "±0.0"."""
    value = round(value, digits)
    return f"{'−' if value < 0 else '+' if value > 0 else '±'}{abs(value):.{digits}f}"


def rounded(value: float, spread: float) -> float:
    """A measurement with the digits that its spread, a share of it, supports."""
    return _supported(value, spread)[0]


def _supported(value: float, spread: float | None) -> tuple[float, int | None]:
    """A value rounded, and the place of its last digit as a power of ten; ``None`` without a spread. One significant
    digit stays however large the spread, and no more than three however small."""
    if not spread or not value:
        return value, None
    first = math.floor(math.log10(abs(value)))
    place = max(first - 2, min(first, math.floor(math.log10(abs(value) * spread))))
    return round(value, -place), place


def _figures(value: float, place: int | None = None) -> str:
    """Digits down to a place (0 for whole numbers); without one three significant digits, none of the whole part
    dropped. Never an exponent."""
    if place is not None:
        return f"{value:,.{max(0, -place)}f}"
    if value >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"
