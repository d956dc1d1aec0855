"""A design as the TOML file that `gearbox experiment run` takes: what `planning.reading` reads, written."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from app.experiments.planning.design import Design, Size
from app.experiments.planning.reading import SETS, read_prompts
from app.experiments.planning.settings import settings_of, toml_table
from app.prompts.choosing import stratified
from engine import Task

_LONGEST_FILE_NAME = 60


def file_stem(name: str) -> str:
    """A file's name without its ending, for an experiment of this name: ASCII letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:_LONGEST_FILE_NAME].rstrip("-") or "experiment"


def design_toml(design: Design) -> str:
    """The file that describes a design. Where its prompts are one of the project's sets it reads back to the same
    design; else it names the file of :func:`own_prompts`, which has to lie beside it."""
    named = _named_set(design)
    where, size = named or (own_prompts_name(design), Size.ALL)
    baseline = design.configurations[design.baseline].name
    tree = {
        "name": design.name,
        "question": design.question or None,
        "prompts": where,
        "size": str(size),
        "baseline": baseline if design.baseline else None,
        "repeats": design.repeats,
        "seed": design.seed,
        "margin": design.margin_points,
        "passes": [str(each) for each in design.passes],
        "max_tokens": design.max_tokens,
    }
    tables = [f"[[configuration]]\n{toml_table(settings_of(each))}" for each in design.configurations]
    return "\n".join([toml_table(tree), *tables])


def own_prompts_name(design: Design) -> str:
    """What the file of :func:`own_prompts` is called in :func:`design_toml`."""
    return f"{file_stem(design.name)}-prompts.jsonl"


def own_prompts(design: Design) -> str | None:
    """Its prompts as JSON lines, one each; ``None`` where they are one of the project's sets."""
    return None if _named_set(design) else "".join(map(_line, design.prompts))


def _named_set(design: Design) -> tuple[str, Size] | None:
    """The set, and how much of it, that a design's prompts are."""
    for name in SETS:
        tasks = _set(name)
        for size in Size:
            if _part(tasks, size, design.seed) == design.prompts:
                return name, size
    return None


@cache
def _set(name: str) -> tuple[Task, ...]:
    return read_prompts(name, Path())[0]


def _part(tasks: Sequence[Task], size: Size, seed: int) -> tuple[Task, ...]:
    return tuple(tasks) if size.prompts is None else stratified(tasks, size.prompts, seed)


def _line(task: Task) -> str:
    said = {name: value for name, value in task.to_dict().items() if value not in (None, "")}
    return f"{json.dumps(said, ensure_ascii=False)}\n"
