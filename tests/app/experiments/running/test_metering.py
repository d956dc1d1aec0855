"""Energy is kept of runs that have the engine to themselves, from the moment that their prompt is read."""

from __future__ import annotations

import pytest

from app.experiments.running import metering
from app.experiments.running.metering import Metered
from app.runs.live_run import LiveRun, Phase
from app.store import Pass, RunStore
from tests.support.disturbing import DISTURBED, QUIET
from tests.support.experiments import AnsweringEngine, configuration, design, run


class Counter:
    """Counts 30 J between two looks."""

    name = "RAPL"

    def __init__(self) -> None:
        self.looks = 0

    def read(self) -> list[float]:
        self.looks += 1
        return [30.0 * self.looks]

    def used(self, before: list[float], after: list[float]) -> float:
        return after[0] - before[0]


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> Counter:
    counter = Counter()
    monkeypatch.setattr(metering, "find_counters", lambda: (counter,))
    return counter


def test_timed_answers_have_theirs_and_those_in_company_none(store: RunStore, counter: Counter) -> None:
    id = run(AnsweringEngine(), store, design())
    for cell in store.experiments.cells(id):
        alone = cell.key.kind is Pass.SPEED
        assert (cell.energy_j, cell.energy_by) == ((30.0, "RAPL") if alone else (None, None))
    assert counter.looks == 2 * 6, "warming up is not counted"


def test_of_a_run_that_is_made_once_more_the_second_counts(store: RunStore, counter: Counter) -> None:
    engine = AnsweringEngine()
    engine.disturbances = [QUIET, DISTURBED, QUIET, QUIET]
    id = run(engine, store, design(configurations=[configuration("int4")], passes=[Pass.SPEED]))
    assert [cell.energy_j for cell in store.experiments.cells(id)] == [30.0] * 3
    assert counter.looks == 2 * 4


def test_where_nothing_counts_nothing_is_kept(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metering, "find_counters", lambda: ())
    id = run(AnsweringEngine(), store, design(passes=[Pass.SPEED]))
    assert {cell.energy_j for cell in store.experiments.cells(id)} == {None}


def test_waiting_and_loading_are_left_out(counter: Counter) -> None:
    seen: list[LiveRun] = []
    metered, live = Metered(seen.append), LiveRun()
    for phase in (Phase.WAITING, Phase.QUEUED, Phase.LOADING):
        live.phase = phase
        metered(live)
    assert counter.looks == 0
    for phase in (Phase.READING, Phase.WRITING, Phase.WRITING, Phase.OVER, Phase.OVER):
        live.phase = phase
        metered(live)
    assert counter.looks == 2
    assert metered.energy is not None
    assert metered.energy.joules == 30.0
    assert len(seen) == 8
