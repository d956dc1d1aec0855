"""What a server's owner asks for tokens."""

from __future__ import annotations

import math
from dataclasses import dataclass

from engine.errors import InvalidRequestError

_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class ListPrice:
    """What an API asks for a million tokens, as the user entered it."""

    input_per_million: float
    output_per_million: float
    cached_per_million: float | None = None
    """Of prompt tokens that it had kept; ``None`` where they cost what the others do."""

    def __post_init__(self) -> None:
        """
        Raises:
            InvalidRequestError: a price is no number of 0 or more.
        """
        for what, price in (
            ("input", self.input_per_million),
            ("output", self.output_per_million),
            ("reused", self.cached_per_million or 0.0),
        ):
            if not (math.isfinite(price) and price >= 0):
                raise InvalidRequestError(
                    f"The price of a million {what} tokens must be a number of 0 or more, not {price:g}."
                )

    def of(self, prompt_tokens: float, completion_tokens: float, cached_tokens: float = 0.0) -> float:
        """Derived: what a request of this length costs there; ``cached_tokens`` are among those of the prompt, and no
        more than these whatever a server says."""
        cached_tokens = min(cached_tokens, prompt_tokens)
        cached = self.input_per_million if self.cached_per_million is None else self.cached_per_million
        read = (prompt_tokens - cached_tokens) * self.input_per_million + cached_tokens * cached
        return (read + completion_tokens * self.output_per_million) / _MILLION
