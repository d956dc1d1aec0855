"""How much of prompts a pass may read while others decode: little enough that their tokens do not stall."""

from __future__ import annotations

from dataclasses import dataclass, field

MOST_ROWS = 128
"""Of prompts in one pass; more at once are no faster."""
FEWEST_ROWS = 8
"""So many are always read, or a prompt would never end."""
LONGEST_PASS = 2.5
"""Times what the decoding rows alone would take: so long a pass may be that reads prompts beside them, while no more
sequences read than decode."""
_WEIGHT = 0.2
"""What the latest pass counts for."""


@dataclass(slots=True)
class RowBudget:
    """Of one model. Learns from its passes what rows take."""

    block: int
    """Rows that the kernels take together: of one more, they read the weights once more."""
    _decoding_s: dict[int, float] = field(default_factory=dict)
    """By the number of decoding rows, what a pass of them alone takes."""
    _row_s: float | None = None
    """What a row of a prompt adds."""

    def rows(self, decoding: int, readers: float) -> int:
        """Rows of prompts for a pass.

        Args:
            decoding: its rows of sequences that decode.
            readers: sequences that read a prompt, for each that decodes. Where they are many, the few wait for the
                many: prompts that come together are soon read, and all decode beside one another.
        """
        if not decoding:
            return MOST_ROWS
        alone_s = self._alone_s(decoding)
        if alone_s is None or self._row_s is None:
            return FEWEST_ROWS
        fitting = int(max(LONGEST_PASS - 1, readers) * alone_s / self._row_s)
        fewest = decoding + FEWEST_ROWS
        blocks = max((decoding + fitting) // self.block, -(-fewest // self.block))
        return min(self.block * blocks - decoding, MOST_ROWS)

    def observe(self, decoding: int, reading: int, seconds: float) -> None:
        """A pass has been done.

        Args:
            decoding: its rows of sequences that decode.
            reading: its rows of prompts.
            seconds: what it took.
        """
        if decoding and not reading:
            known = self._decoding_s.get(decoding, seconds)
            self._decoding_s[decoding] = known + _WEIGHT * (seconds - known)
        elif reading >= FEWEST_ROWS:  # of fewer, most of the time is what any pass takes
            alone_s = self._alone_s(max(decoding, 1)) or 0.0
            row_s = max(seconds - alone_s, 0.05 * seconds) / reading
            self._row_s = row_s if self._row_s is None else self._row_s + _WEIGHT * (row_s - self._row_s)

    def _alone_s(self, decoding: int) -> float | None:
        """By the nearest number of rows that was seen."""
        if not self._decoding_s:
            return None
        return self._decoding_s[min(self._decoding_s, key=lambda known: abs(known - decoding))]
