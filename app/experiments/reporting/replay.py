"""The answers to one prompt of an experiment, played again in their true time."""

from __future__ import annotations

from collections.abc import Sequence

from app.experiments.results.arrays import Results
from app.replay.page_file import replay_page
from app.replay.recorded import ReplayLane
from app.store import Pass, RunStore
from engine.errors import InvalidRequestError


def replay_file(store: RunStore, results: Results, prompt_id: str | None, places: Sequence[int]) -> str:
    """Some configurations' timed answers to a prompt as a single HTML file.

    Args:
        store: where the runs are.
        results: of the experiment.
        prompt_id: the prompt; ``None`` for the one that the first of them took longest over, where there is most to
            see.
        places: of the configurations, one to `MOST_LANES`.

    Raises:
        InvalidRequestError: nothing was timed, or not this prompt.
        ReplayError: the tokens of an answer were not kept, or there are too many configurations.
        StoreError: the database cannot be read.
    """
    timed = {place: results.run_ids(place, Pass.SPEED) for place in places}
    common = set.intersection(*(set(runs) for runs in timed.values()))
    if not common:
        raise InvalidRequestError("No prompt was timed with all of these configurations: there is nothing to replay.")
    chosen = prompt_id or _longest(results, places[0], common)
    if chosen not in common:
        raise InvalidRequestError(f"The prompt “{chosen}” was not timed with all of these configurations.")
    runs = store.get_many([timed[place][chosen] for place in places])
    if len(runs) < len(places):
        raise InvalidRequestError(f"A run of the prompt “{chosen}” was deleted: it cannot be replayed.")
    lanes = [
        ReplayLane.of(run, store.timeline(run.id), results.names[place])
        for run, place in zip(runs, places, strict=True)
    ]
    return replay_page(lanes, title=results.design.question or results.design.name)


def _longest(results: Results, place: int, among: set[str]) -> str:
    seconds = {
        cell.key.prompt_id: cell.e2e_s or 0.0
        for cell in results.cells
        if cell.key.configuration == place and cell.key.kind is Pass.SPEED and cell.key.prompt_id in among
    }
    return max(seconds, key=lambda id: (seconds[id], id))
