"""How alerts go on, whatever is found, in whatever order, by whatever clock."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.store import Alert, AlertState, EventKind, Finding, Gear
from app.store.alerts.states import CLEAR_AFTER, FORGET_AFTER, Step, acknowledge, close, observe, silence

START = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
FINDING = Finding(
    rule="errors",
    holds=True,
    title="Runs fail",
    words="8 of 28.",
    gear=Gear.MACHINE,
    runbook="",
    since=START,
    until=START,
)


def found(holds: bool | None) -> Finding:
    return replace(FINDING, holds=holds)


@dataclass
class Watched:
    """An alert's slot, as the store goes on with it."""

    alert: Alert | None = None
    silenced_until: datetime | None = None
    made: int = 0
    told: int = 0
    ended: int = 0

    def take(self, step: Step) -> Step:
        alert = step.alert
        if alert is not None:
            self.silenced_until = alert.silenced_until
        self.alert = None if alert is None or alert.resolved_at else alert
        if step.tell and step.event is EventKind.FIRED:
            self.told += 1
        if step.tell and step.event is EventKind.RESOLVED:
            self.ended += 1
        return step

    def observe(self, holds: bool | None, now: datetime) -> Step:
        self.made += 1
        return self.take(observe(self.alert, found(holds), now, id=str(self.made), silenced_until=self.silenced_until))


Action = tuple[str, int]
ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["holds", "not", "unknown", "acknowledge", "silence", "unsilence"]), st.integers(-90, 600)
    ),
    max_size=40,
)


@given(ACTIONS)
def test_each_alert_is_told_of_once_at_most_and_ends_no_more_often_than_it_was_told_of(actions: list[Action]) -> None:
    watched, now, told_of = Watched(), START, set[str]()
    for what, minutes in actions:
        now += minutes * MINUTE
        before = watched.alert
        match what:
            case "holds" | "not" | "unknown":
                step = watched.observe({"holds": True, "not": False, "unknown": None}[what], now)
            case "acknowledge" if before:
                step = watched.take(acknowledge(before, now))
            case "silence" if before:
                step = watched.take(silence(before, now + 30 * MINUTE, now))
            case "unsilence" if before:
                step = watched.take(silence(before, now, now))
            case _:
                continue
        if step.tell and step.event is EventKind.FIRED:
            assert step.alert is not None
            assert step.alert.id not in told_of
            told_of.add(step.alert.id)
            assert step.alert.state(now) is AlertState.FIRING
        if step.tell:
            assert step.event in (EventKind.FIRED, EventKind.RESOLVED)
            assert step.alert is not None
            assert not step.alert.is_silent(now)
        if what == "holds":
            assert watched.alert is not None
        assert watched.ended <= watched.told


@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_what_comes_and_goes_within_minutes_is_one_alert(looks: list[bool]) -> None:
    watched, now = Watched(), START
    for holds in looks:
        watched.observe(holds, now)
        now += MINUTE
    runs_of_false = "".join("01"[holds] for holds in looks).split("1")
    if all(len(run) <= CLEAR_AFTER // MINUTE for run in runs_of_false[1:]):
        assert watched.told == any(looks)
        assert watched.ended == 0


def test_it_is_resolved_once_its_condition_has_not_held_for_a_while() -> None:
    watched = Watched()
    watched.observe(True, START)
    watched.observe(False, START + MINUTE)
    assert watched.alert
    step = watched.observe(False, START + MINUTE + CLEAR_AFTER)
    assert (step.event, step.tell) == (EventKind.RESOLVED, True)


def test_a_clock_that_is_set_back_neither_resolves_it_early_nor_never() -> None:
    watched = Watched()
    watched.observe(True, START)
    watched.observe(False, START + MINUTE)
    back = START - timedelta(hours=3)
    watched.observe(False, back)
    assert watched.alert
    watched.observe(False, back + CLEAR_AFTER)
    assert watched.alert is None


def test_where_nobody_can_tell_it_stays_for_a_day() -> None:
    watched = Watched()
    watched.observe(True, START)
    watched.observe(None, START + MINUTE)
    watched.observe(None, START + FORGET_AFTER)
    assert watched.alert
    watched.observe(None, START + MINUTE + FORGET_AFTER)
    assert watched.alert is None
    assert watched.ended == 1


def test_a_silence_holds_for_the_next_alert_of_its_rule_and_is_told_of_when_it_ends() -> None:
    watched = Watched()
    watched.observe(True, START)
    assert watched.alert
    until = START + timedelta(hours=4)
    watched.take(silence(watched.alert, until, START))
    watched.observe(False, START + MINUTE)
    assert not watched.observe(False, START + MINUTE + CLEAR_AFTER).tell
    again = watched.observe(True, START + timedelta(hours=1))
    assert (again.event, again.tell) == (EventKind.FIRED, False)
    assert watched.observe(True, until).tell
    assert watched.told == 2


def test_one_that_is_acknowledged_or_resolved_stays_so() -> None:
    watched = Watched()
    watched.observe(True, START)
    assert watched.alert
    taken = watched.take(acknowledge(watched.alert, START)).alert
    assert taken
    assert taken.state(START) is AlertState.ACKNOWLEDGED
    assert acknowledge(taken, START).event is None
    ended = close(taken, START, "Its rule was deleted.").alert
    assert ended
    assert ended.state(START) is AlertState.RESOLVED
    assert acknowledge(ended, START) == close(ended, START, "") == Step(ended)
