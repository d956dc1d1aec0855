"""How the commands speak: results on stdout, all else on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.store import KeptExperiment
from engine.errors import InvalidRequestError

if TYPE_CHECKING:
    from app.background.jobs import Report


def say(text: str) -> None:
    """A line for whoever waits."""
    sys.stderr.write(f"{text}\n")


def give(text: str) -> None:
    """A result, with its line breaks."""
    sys.stdout.write(text)


def give_json(tree: Any) -> None:
    """A result as one line of JSON, in characters that any terminal has."""
    sys.stdout.write(f"{json.dumps(tree)}\n")


def report_to(bar: Callable[[str, float], None]) -> Report:
    """What tells a job's progress to a terminal's bar."""

    def report(stage: str, fraction: float, /, *, loading: float | None = None) -> None:
        bar(stage, fraction)

    return report


def check_place(file: Path) -> None:
    """See that a file can be written before hours of work, not after.

    Raises:
        InvalidRequestError: it cannot.
    """
    if not file.absolute().parent.is_dir():
        raise InvalidRequestError(f"{file} cannot be written: there is no folder {file.parent}.")


def named(experiments: Sequence[KeptExperiment], wanted: str) -> KeptExperiment:
    """The experiment with this id, or else the newest of this name.

    Raises:
        InvalidRequestError: there is none.
    """
    by_id = (each for each in experiments if each.id == wanted)
    found = next(by_id, None) or next((each for each in experiments if each.name == wanted), None)
    if found is None:
        names = ", ".join(f"“{name}”" for name in dict.fromkeys(each.name for each in experiments))
        there = f"There are: {names}." if names else "There are none yet."
        raise InvalidRequestError(f"No experiment has the id or the name “{wanted}”. {there}")
    return found
