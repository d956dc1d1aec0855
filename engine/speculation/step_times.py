"""How long a forward pass takes by its rows: what a draft costs to verify."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from time import perf_counter
from typing import Self

import torch

from engine.cache import KVCache
from engine.models.decoders.decoder import Decoder
from engine.models.decoders.reading import Reader, Reading

MEASURED_ROWS = (1, 2, 3, 5, 9, 17)
_REPEATS = 3
_OWN_WEIGHT, _COMMON_WEIGHT = 0.2, 0.1
_LARGEST_SURPRISE = 1.5
"""A step that took longer than so many times what was expected was disturbed, and counts as if it had not."""


class StepTimes:
    """Measured before the first run, and corrected by every step after it."""

    def __init__(self, measured: Mapping[int, float]) -> None:
        """
        Args:
            measured: seconds by rows, one row among them.
        """
        self.measured = dict(sorted(measured.items()))
        self._seconds = dict(self.measured)

    @classmethod
    def measure(cls, decoder: Decoder, reader: Reader) -> Reading[Self]:
        """The shortest of a few steps for each number of rows, over a short text; the numbers take turns.

        Args:
            decoder: whose.
            reader: of the same: others' passes may come between those that are timed, none beside them.
        """
        cache = decoder.new_cache(2 * max(MEASURED_ROWS))
        text = torch.zeros(max(MEASURED_ROWS), dtype=torch.long)
        yield from reader.compute(lambda: decoder.prefill(text, cache, lambda: False))
        seconds: dict[int, list[float]] = {rows: [] for rows in MEASURED_ROWS}
        for repeat in range(1 + _REPEATS):
            for rows, taken in seconds.items():
                passed_s = yield from reader.compute(partial(_time_pass, decoder, cache, rows))
                if repeat:  # the first time pays for memory that is not there yet
                    taken.append(passed_s)
        # fewer rows never take longer: what seems so is noise
        shortest = {rows: min(taken) for rows, taken in seconds.items()}
        return cls({rows: min(s for more, s in shortest.items() if more >= rows) for rows in MEASURED_ROWS})

    def seconds(self, rows: int) -> float:
        """Expected of a pass over ``rows``, between and beyond what was measured along straight lines."""
        known = self._seconds
        if rows in known:
            return known[rows]
        for (fewer, less), (more, longer) in pairwise(known.items()):
            if rows < more:
                return less + (longer - less) * (rows - fewer) / (more - fewer)
        (fewer, less), (most, longest) = list(known.items())[-2:]
        return longest + max(0.0, longest - less) * (rows - most) / (most - fewer)

    def observe(self, rows: int, seconds: float) -> None:
        """A pass over ``rows`` took so long. A text that grows makes all of them slower."""
        surprise = min(seconds / self.seconds(rows), _LARGEST_SURPRISE)
        for measured in self._seconds:
            weight = _OWN_WEIGHT if measured == rows else _COMMON_WEIGHT
            self._seconds[measured] *= surprise**weight


def _time_pass(decoder: Decoder, cache: KVCache, rows: int) -> float:
    """Seconds of a pass over so many rows; the cache is as it was afterwards."""
    length, begun = cache.length, perf_counter()
    decoder.logits(decoder.forward(torch.arange(rows), cache))
    seconds = perf_counter() - begun
    cache.truncate(length)
    return seconds
