"""The sets of prompts that an experiment can be made on: the project's own that have checkers, and those brought."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from app.store import RouterStore
from engine import MIXED_FILE, Task, load_tasks

_OWN = {"Gearbox's mixed prompts": MIXED_FILE, "Gearbox's tasks": MIXED_FILE.with_name("tasks.jsonl")}


def prompt_sets(store: RouterStore) -> dict[str, Callable[[], Sequence[Task]]]:
    """How the prompts of each set are read, by its name; of two sets of one name, the later has its hash added."""
    found: dict[str, Callable[[], Sequence[Task]]] = {name: partial(load_tasks, file) for name, file in _OWN.items()}
    for kept in store.sets():
        name = kept.name if kept.name not in found else f"{kept.name} · {kept.sha256[:6]}"
        found.setdefault(name, partial(store.tasks, kept.sha256))
    return found
