"""The prompts that the rows of a file give, and the rows that give none."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from app.prompts.tables import MOST_PROMPTS, LeftOut, Row, Table
from engine import Task
from engine.errors import InvalidRequestError


@dataclass(frozen=True, slots=True)
class Brought:
    """What becomes of a file."""

    tasks: tuple[Task, ...]
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]
    """What the reader should know of those that are taken, a sentence each."""


def gather(table: Table, tasks_of: Callable[[Row, int], Iterable[Task]]) -> Brought:
    """The prompts that rows give. One that stands there twice with different answers is kept twice.

    Args:
        table: the file.
        tasks_of: the prompts of a row with its number, of which those still wanted are taken; raises ValueError, a
            clause that goes on from the row's place, where there are none.
    """
    beyond = f"is beyond the first {MOST_PROMPTS:,} prompts"
    left_out = list(table.left_out)
    tasks: dict[str, Task] = {}
    first: dict[tuple[object, ...], str] = {}
    prompts: dict[tuple[object, ...], int] = {}
    for place, row in enumerate(table.rows, 1):
        if len(tasks) == MOST_PROMPTS:
            left_out.append(LeftOut(row.place, beyond))
            continue
        try:
            given = tasks_of(row, place)
        except (ValueError, InvalidRequestError) as error:
            left_out.append(LeftOut(row.place, str(error).rstrip(".")))
            continue
        for task in given:
            if len(tasks) == MOST_PROMPTS:
                left_out.append(LeftOut(row.place, beyond))
                break
            asked = (task.history, task.prompt)
            same = (*asked, repr((task.checker, task.expected)))
            if same in first:
                left_out.append(LeftOut(row.place, f"repeats {first[same]}"))
                continue
            first[same] = row.place
            prompts[asked] = prompts.get(asked, 0) + 1
            if task.id in tasks:
                task = replace(task, id=f"{task.id} ({row.place})")
            tasks[task.id] = task
    several = sum(count > 1 for count in prompts.values())
    notes = list(table.notes)
    if several:
        stand = "One prompt stands" if several == 1 else f"{several:,} prompts stand"
        notes.append(f"{stand} there more than once with different answers: each is kept as a prompt of its own.")
    return Brought(tuple(tasks.values()), tuple(left_out), tuple(notes))
