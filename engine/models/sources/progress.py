"""How long work says how far it is."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_EVERY_S_IN_A_LOG = 30.0

Progress = Callable[[str, float], None]
"""Called as ``progress(stage, fraction)``: what is being done, and how much of it all is done, 0 to 1."""


def silent(stage: str, fraction: float) -> None:
    """Says nothing."""


def part(progress: Progress, start: float, end: float) -> Progress:
    """A callback for one step of the work, whose own 0 to 1 is ``start`` to ``end`` of the whole."""

    def scaled(stage: str, fraction: float) -> None:
        progress(stage, start + (end - start) * fraction)

    return scaled


@contextmanager
def terminal_bar(title: str) -> Iterator[Progress]:
    """A progress bar on stderr, for a command line; written to a file, it is a line now and then."""
    from tqdm import tqdm

    is_terminal = sys.stderr.isatty()
    form = "{percentage:3.0f}% |{bar:30}| {desc}, {remaining} left"
    every_s = 0.1 if is_terminal else _EVERY_S_IN_A_LOG
    with tqdm(total=100, desc=title, bar_format=form, mininterval=every_s, maxinterval=every_s) as bar:
        shown = ""

        def show(stage: str, fraction: float) -> None:
            nonlocal shown
            # a new stage shows at once, in a log the first; the bar alone would wait until enough of it is done
            bar.set_description_str(f"{title}: {stage}", refresh=stage != shown if is_terminal else not shown)
            shown = stage
            bar.update(round(100 * fraction) - bar.n)

        yield show
