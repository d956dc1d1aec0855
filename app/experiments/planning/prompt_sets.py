"""The sets of prompts that an experiment can be made on: the project's own that have checkers, those brought, and what
people have asked here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

from app.store import RouterStore, RunFilter, RunRecord, RunSource, RunStatus, RunStore
from engine import MIXED_FILE, Task, load_tasks

MOST_OF_RUNS = 1_000
"""Prompts that are taken from runs: the newest."""
_OWN = {"Gearbox's mixed prompts": MIXED_FILE, "Gearbox's tasks": MIXED_FILE.with_name("tasks.jsonl")}
_LATELY = timedelta(days=7)
RATED, OVER_THE_API, HERE = "Rated runs", "Asked over the API, last 7 days", "Asked here, last 7 days"
OF_RUNS = (RATED, OVER_THE_API, HERE)
"""The sets that are read from runs."""
_ASKED_BY_PEOPLE = (RunSource.PLAYGROUND, RunSource.CHAT, RunSource.API)


def prompt_sets(store: RunStore) -> dict[str, Callable[[], Sequence[Task]]]:
    """How the prompts of each set are read, by its name; of two sets of one name, the later has its hash added. Those
    of runs may turn out empty: runs are not counted for every drawing of a page.

    Args:
        store: as whoever makes the experiment sees it.
    """
    found: dict[str, Callable[[], Sequence[Task]]] = {name: partial(load_tasks, file) for name, file in _OWN.items()}
    found |= {name: partial(store.router.tasks, sha256) for sha256, name in brought_names(store.router).items()}
    of_runs = {name: partial(asked_in, store, chosen) for name, chosen in _of_runs(datetime.now(UTC)).items()}
    return found | of_runs


def asked_in(store: RunStore, chosen: RunFilter) -> tuple[Task, ...]:
    """What runs were asked, each prompt once, the newest first; nothing says what is right. Of a conversation, only
    its first turn can be asked again by itself, after its system prompt where it has one."""
    rows = store.page(chosen, limit=MOST_OF_RUNS).rows
    found: dict[str, Task] = {}
    for run in store.get_many([row.id for row in rows]):
        if (prompt := _first_turn(run)) and prompt not in found:
            most = run.config["sampling"]["max_tokens"]
            category = str(run.source).capitalize() if run.source else "Runs"
            found[prompt] = Task(id=run.id, category=category, prompt=prompt, max_tokens=most)
    return tuple(found.values())


def brought_names(store: RouterStore) -> dict[str, str]:
    """What the sets that were brought are called among all of them, by their hash."""
    found: dict[str, str] = {}
    for kept in store.sets():
        taken = kept.name in {*found.values(), *_OWN, *OF_RUNS}
        found[kept.sha256] = f"{kept.name} · {kept.sha256[:6]}" if taken else kept.name
    return found


def _of_runs(now: datetime) -> dict[str, RunFilter]:
    finished = (RunStatus.FINISHED,)
    since = now - _LATELY
    return {
        RATED: RunFilter(statuses=finished, ratings=(1, -1)),
        OVER_THE_API: RunFilter(statuses=finished, sources=(RunSource.API,), since=since),
        HERE: RunFilter(statuses=finished, sources=_ASKED_BY_PEOPLE, since=since),
    }


def _first_turn(run: RunRecord) -> str:
    """Empty for a later turn, and for a text that was continued without a chat template."""
    said = [message for message in run.messages if message.role != "system"]
    if len(said) != 1 or said[0].role != "user":
        return ""
    system = [message.content for message in run.messages if message.role == "system"]
    return "\n\n".join([*system, said[0].content])
