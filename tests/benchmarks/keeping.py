"""What benchmarks came to, kept as JSON files, and the page of `docs` that is made of them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from types import ModuleType
from typing import Any, Self

from engine import machine_environment
from tests.benchmarks.table import Row, text_of

DOCS = Path(__file__).parents[2] / "docs"
FOLDER = DOCS / "benchmarks"
PAGE = DOCS / "benchmarks.md"

_HEAD = """# Benchmarks

Made from the files in [benchmarks](benchmarks) by `python -m tests.benchmarks page`. `make bench` measures all of them
anew, `python -m tests.benchmarks NAME --keep` one. Figures are medians, *spread* is the distance of the quartiles over
the median. Lanes that are compared take turns in one run: a machine that others share is noisy, so ratios are what
counts. [Measurements](measurements.md) says what was measured on several machines, and what bounds it.
"""
_MACHINE = ("cpu", "last_level_cache_bytes", "python", "torch", "transformers")
"""Of the environment, what is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One benchmark that was run."""

    benchmark: str
    about: str
    """What it measures."""
    command: str
    begun: str
    """Date and time, UTC."""
    took_s: float
    machine: Mapping[str, Any]
    rows: Sequence[Row]

    @classmethod
    def read(cls, file: Path) -> Self:
        """From its file."""
        return cls(**json.loads(file.read_text(encoding="utf-8")))


def keep(benchmark: str, about: str, command: str, begun: datetime, rows: Sequence[Row], folder: Path = FOLDER) -> None:
    """Write down what a benchmark came to, in place of what it came to before."""
    here = machine_environment()
    kept = Kept(
        benchmark=benchmark,
        about=about,
        command=command,
        begun=f"{begun:%Y-%m-%d %H:%M}",
        took_s=round((datetime.now(UTC) - begun).total_seconds(), 1),
        machine={"cores": os.cpu_count()} | {name: here[name] for name in _MACHINE if name in here},
        rows=rows,
    )
    folder.mkdir(exist_ok=True)
    (folder / f"{benchmark}.json").write_text(json.dumps(asdict(kept), indent=1) + "\n", encoding="utf-8")


def about(module: ModuleType) -> str:
    """What a benchmark measures: the first paragraph of its module."""
    return " ".join((module.__doc__ or "").strip().split("\n\n")[0].split())


def write_page(folder: Path = FOLDER, page: Path = PAGE) -> None:
    """Make the page of all that is kept."""
    kept = sorted(map(Kept.read, folder.glob("*.json")), key=lambda each: each.benchmark)
    page.write_text("\n".join([_HEAD, *map(_section, kept)]), encoding="utf-8")


def _section(kept: Kept) -> str:
    here = kept.machine
    machine = f"{here['cores']} cores of {here['cpu']}, torch {here['torch']}, transformers {here['transformers']}"
    tables = "\n".join(_table(list(group)) for _, group in groupby(kept.rows, key=list))
    return (
        f"## {kept.benchmark}\n\n{kept.about}\n\n{tables}\n"
        f"`{kept.command}`, {kept.begun} UTC, {kept.took_s:.0f} s, on {machine}.\n"
    )


def _table(rows: Sequence[Row]) -> str:
    names = [name for name in rows[0] if any(row[name] is not None for row in rows)]
    lines = [" | ".join(map(_heading, names)), " | ".join("---" for _ in names)]
    lines += [" | ".join(text_of(row[name]).replace("|", "\\|") for name in names) for row in rows]
    return "".join(f"| {line} |\n" for line in lines)


def _heading(name: str) -> str:
    """A column's name in words, its unit in brackets: ``median_s`` is "median (s)"."""
    for ending, unit in (("_tps", "tok/s"), ("_bytes", "bytes"), ("_ms", "ms"), ("_s", "s")):
        if name.endswith(ending):
            return f"{name.removesuffix(ending).replace('_', ' ')} ({unit})"
    return name.replace("_", " ")
