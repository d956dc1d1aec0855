"""Races go on without readers, for a while, and every reader sees the same one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from app.chat import conversations as chat
from app.runs.live_run import Phase
from app.runs.race import Race
from app.runs.races import RaceRunsError, Races
from app.store import RunSource, RunStatus, RunStore, StoreError
from app.views.race.live import follow
from engine import Engine
from engine.errors import ModelNotInstalledError
from engine.types import SamplingParams
from tests.support.fakes import FakeEngine, make_request

LONG_S = 30.0


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Holds answers back after their first token until it is set."""
    gate = threading.Event()
    yield gate
    gate.set()


@pytest.fixture
def races() -> Iterator[Races]:
    races = Races()
    yield races
    races.close()


def two_lanes(rounds: int = 1) -> Race:
    return Race.between({"a": make_request("A"), "b": make_request("B")}, rounds=rounds)


def start(races: Races, race: Race, engine: FakeEngine | Engine, store: RunStore, place: str = "here") -> Race:
    races.start(race, person="p", place=place, engine=engine, store=store)
    return race


def wait_for(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + LONG_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def statuses(race: Race) -> list[RunStatus]:
    return [lane.status for _, lane in race.schedule]


def stored(store: RunStore) -> list[RunStatus]:
    """Oldest first."""
    return [row.status for row in reversed(store.page().rows)]


class Looking:
    """A page that follows a race on a thread of its own, until it is told to leave."""

    class Left(BaseException):
        """As Streamlit stops a script: from inside its drawing."""

    def __init__(self, race: Race) -> None:
        self.drawn: list[tuple[str, Phase, str]] = []
        self._leaves = threading.Event()
        self._thread = threading.Thread(target=self._follow, args=(race,), daemon=True)
        self._thread.start()
        wait_for(lambda: self.drawn)

    def _follow(self, race: Race) -> None:
        def drawing(name: str) -> Callable[[object], None]:
            def draw(lane: object) -> None:
                if self._leaves.is_set():
                    raise self.Left
                self.drawn.append((name, lane.phase, lane.text))  # type: ignore[attr-defined]

            return draw

        try:
            follow(race, {name: drawing(name) for name in race.lanes})
        except self.Left:
            return

    def leave(self) -> None:
        self._leaves.set()
        self.stays()

    def stays(self) -> None:
        self._thread.join(LONG_S)
        assert not self._thread.is_alive()


def test_a_races_runs_are_the_playgrounds_and_a_turns_the_chats(races: Races, store: RunStore) -> None:
    conversation = store.chat.create("Talk", make_request().config.to_dict())
    asked = chat.say(store.chat, store.chat.get(conversation), "Why?")
    turn = chat.begin_turn(store, store.chat.get(conversation), asked, salt="")
    for race, source in ((two_lanes(), RunSource.PLAYGROUND), (turn, RunSource.CHAT)):
        start(races, race, FakeEngine(["So"]), store, place=source)
        assert race.over.wait(LONG_S)
        assert {store.get(run_id).source for run_id in race.run_ids} == {source}


def test_a_race_runs_with_nobody_looking_and_is_found_again(races: Races, store: RunStore) -> None:
    race = start(races, two_lanes(), FakeEngine(["So"]), store)
    assert race.over.wait(LONG_S)
    assert races.find("p", "here") is race
    assert (races.find("p", "there"), races.find("q", "here")) == (None, None)
    assert not races.any_runs
    assert [lane.text for lane in race.lanes.values()] == ["So", "So"]
    assert stored(store) == [RunStatus.FINISHED] * 2
    assert {row.group_id for row in store.page().rows} == {race.group_id}


def test_a_reader_that_goes_away_does_not_stop_it(races: Races, store: RunStore, gate: threading.Event) -> None:
    race = start(races, two_lanes(), FakeEngine(gate=gate), store)
    reader = Looking(race)
    wait_for(lambda: race.lanes["a"].tokens)
    reader.leave()
    assert (race.watchers, race.over.is_set()) == (0, False)
    gate.set()
    assert race.over.wait(LONG_S)
    assert statuses(race) == [RunStatus.FINISHED] * 2


def test_two_readers_see_the_same_and_draw_only_what_has_changed(
    races: Races, store: RunStore, gate: threading.Event
) -> None:
    race = start(races, two_lanes(), FakeEngine(gate=gate), store)
    readers = [Looking(race), Looking(race)]
    wait_for(lambda: all(("a", Phase.WRITING, "The") in reader.drawn for reader in readers))
    gate.set()
    answer = "The sky scatters blue light."
    for reader in readers:
        reader.stays()
        assert [drawn for drawn in reader.drawn if drawn[1] is Phase.OVER] == [
            ("a", Phase.OVER, answer),
            ("b", Phase.OVER, answer),
        ]
        assert reader.drawn.count(("b", Phase.WAITING, "")) <= 1


def test_nobody_looking_stops_it_after_a_while_and_says_why(store: RunStore, gate: threading.Event) -> None:
    now = [0.0]
    races = Races(unwatched_s=60, clock=lambda: now[0])
    race = start(races, two_lanes(), FakeEngine(gate=gate), store)
    with race.watched():
        wait_for(lambda: race.lanes["a"].tokens)
        now[0] = 1_000.0
        seen = race.lanes["a"].changes
        wait_for(lambda: race.lanes["a"].changes > seen + 2)
        assert not race.stopping.is_set(), "somebody looks"
    now[0] += 59
    seen = race.lanes["a"].changes
    wait_for(lambda: race.lanes["a"].changes > seen + 2)
    assert not race.stopping.is_set()
    now[0] += 2
    assert race.over.wait(LONG_S)
    assert race.why_stopped == "It was stopped because nobody had looked at it for 60 s."
    assert statuses(race) == [RunStatus.STOPPED] * 2
    assert stored(store) == [RunStatus.STOPPED]
    assert store.get(store.page().rows[0].id).text == "The"


def test_a_stopped_race_keeps_what_was_written_and_what_was_measured(
    races: Races, store: RunStore, gate: threading.Event
) -> None:
    race = start(races, two_lanes(), FakeEngine(gate=gate), store)
    wait_for(lambda: race.lanes["a"].tokens)
    race.stop()
    assert race.over.wait(LONG_S)
    lane, other = race.lanes.values()
    assert (lane.text, lane.status, other.run_id, race.why_stopped) == ("The", RunStatus.STOPPED, None, None)
    assert lane.metrics is not None, "the engine's farewell is heard"
    assert stored(store) == [RunStatus.STOPPED]


def test_one_race_at_a_place_at_a_time(races: Races, store: RunStore, gate: threading.Event) -> None:
    race = start(races, two_lanes(), FakeEngine(gate=gate), store)
    with pytest.raises(RaceRunsError, match="Wait for its end, or stop it"):
        start(races, two_lanes(), FakeEngine(), store)
    assert races.find("p", "here") is race
    assert start(races, two_lanes(), FakeEngine(), store, place="there").over.wait(LONG_S)
    gate.set()
    assert race.over.wait(LONG_S)
    next_one = start(races, two_lanes(), FakeEngine(), store)
    assert races.find("p", "here") is next_one
    assert next_one.over.wait(LONG_S)


def test_rounds_run_in_their_order(races: Races, store: RunStore) -> None:
    engine = FakeEngine(["So"])
    race = start(races, two_lanes(rounds=3), engine, store)
    assert race.over.wait(LONG_S)
    assert [request.prompt for request in engine.requests] == ["A", "B", "B", "A", "A", "B"]
    assert statuses(race) == [RunStatus.FINISHED] * 6


def test_a_lane_that_fails_does_not_hold_up_the_next(races: Races, store: RunStore) -> None:
    class Failing(FakeEngine):
        def generate(self, request):  # type: ignore[no-untyped-def]
            if request.prompt == "A":
                raise self.failure or RuntimeError("bug")
            return FakeEngine(["Fine"]).generate(request)

    for engine in (Failing(failure=ModelNotInstalledError("Install it first.")), Failing()):
        race = start(races, two_lanes(), engine, store)
        assert race.over.wait(LONG_S)
        assert statuses(race) == [RunStatus.FAILED, RunStatus.FINISHED]
        assert race.lanes["b"].text == "Fine"
    assert race.lanes["a"].error is not None
    assert "bug" in race.lanes["a"].error


def test_shutting_down_stops_and_stores_what_runs(store: RunStore, gate: threading.Event) -> None:
    races = Races()
    race = start(races, two_lanes(), FakeEngine(gate=gate), store)
    wait_for(lambda: race.lanes["a"].tokens)
    races.close()
    assert race.over.is_set()
    assert stored(store) == [RunStatus.STOPPED]
    with pytest.raises(RaceRunsError, match="shut down"):
        start(races, two_lanes(), FakeEngine(), store)


def test_what_cannot_be_kept_ends_the_race_all_the_same(races: Races, store: RunStore) -> None:
    class Unkept(Race):
        def settle(self, store: RunStore) -> None:
            raise StoreError("Full.")

    race = start(races, Unkept.between({"a": make_request()}), FakeEngine(["So"]), store)
    assert race.over.wait(LONG_S)
    assert statuses(race) == [RunStatus.FINISHED]


def test_races_long_past_are_forgotten_and_those_that_run_are_not(
    races: Races, store: RunStore, gate: threading.Event
) -> None:
    held = start(races, two_lanes(), FakeEngine(gate=gate), store, place="held")
    first = start(races, Race.between({"a": make_request()}), FakeEngine(["So"]), store, place="0")
    assert first.over.wait(LONG_S)
    for place in range(1, 101):
        race = start(races, Race.between({"a": make_request()}), FakeEngine(["So"]), store, place=str(place))
        assert race.over.wait(LONG_S)
    assert races.find("p", "held") is held
    assert races.find("p", "0") is None
    assert races.find("p", "100") is not None


def test_a_page_waits_for_the_engine_to_read_and_no_longer(store: RunStore) -> None:
    race = two_lanes()
    before = time.monotonic()
    race.wait_until_read(0.05)
    assert time.monotonic() - before >= 0.05, "nothing of it was heard yet"
    for lane in race.lanes.values():
        lane.stop()
    race.wait_until_read(LONG_S)  # returns: there is nothing to read


def test_a_real_model_answers_both_lanes_while_two_pages_look(races: Races, engine: Engine, store: RunStore) -> None:
    request = make_request("Name three colours.", sampling=SamplingParams(max_tokens=12))
    race = start(races, Race.between({"a": request, "b": request}), engine, store)
    readers = [Looking(race), Looking(race)]
    readers[0].leave()
    readers[1].stays()
    assert race.over.wait(LONG_S)
    first, second = race.lanes.values()
    assert first.text
    assert first.text == second.text
    assert first.token_ids == second.token_ids
    assert stored(store) == [RunStatus.FINISHED] * 2
    assert readers[1].drawn[-1] == ("b", Phase.OVER, second.text)
