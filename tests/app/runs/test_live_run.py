"""The one fold of a run's events, and that all who read a run from it see the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.cascade.other_tier import ask_plain
from app.chat import conversations as chat
from app.quantization.lab import LabError
from app.quantization.prompt_check import PromptCheck, check_prompt
from app.quantization.tasks import tasks_sha256
from app.router.recorded.recording import record
from app.runs.answers import RunNotFinishedError, answer_unkept
from app.runs.live_run import LiveRun, Phase
from app.runs.race import LaneRun
from app.runs.service import stream
from app.speculation.drafted_prompt import DraftedPrompt, draft_prompt
from app.speculation.lab import SpeculationLabError
from app.store import Reports, RunRecord, RunStatus, RunStore, Timeline
from engine import Engine, Task
from engine.types import (
    NEVER,
    CascadeConfig,
    Drafter,
    Escalated,
    Event,
    GenerationRequest,
    Message,
    OptimizationConfig,
    Precision,
    RunConfig,
    RunFailed,
    RunFinished,
    SamplingParams,
    SpeculationConfig,
    Tier,
    TokenEvent,
)
from tests.support.cascading import make_cascade_report
from tests.support.drafting import IDENTICAL, make_report
from tests.support.fakes import FakeLabEngine, make_metrics, make_request
from tests.support.jobs import ignore
from tests.support.tiny import make_tiny_checkpoint

SMALL, LARGE = Tier(model="small", precision=Precision.INT4), Tier(model="large", precision=Precision.INT8)
TASK = Task(id="t", category="c", prompt="Why?", checker="contains", expected="sky", max_tokens=8)


def token(text: str, t: float = 0.5) -> TokenEvent:
    return TokenEvent(token_id=7, text=text, t=t, logprob=-0.1, entropy=0.2)


def told(*events: Event) -> LiveRun:
    run = LiveRun()
    for event in events:
        run.take(event)
    return run


# --- the fold -------------------------------------------------------------------------------------


def test_an_escalation_clears_text_and_tokens() -> None:
    up = Escalated(from_tier="small", to_tier="large", score=0.6, threshold=0.3, discarded_tokens=1)
    run = told(token("No"), up)
    assert (run.text, run.tokens, run.timeline, run.phase, run.escalated) == ("", [], None, Phase.READING, up)


def test_a_failure_keeps_what_was_written() -> None:
    run = told(token("a"), RunFailed("Out of memory.", "InsufficientMemoryError"))
    outcome = run.to_outcome()
    assert (outcome.status, outcome.text, outcome.error) == (RunStatus.FAILED, "a", "Out of memory.")
    assert (outcome.error_kind, outcome.finish_reason, outcome.metrics) == ("InsufficientMemoryError", None, None)


def test_the_end_is_heard_once() -> None:
    end = RunFinished("a", (7,), "stop", make_metrics(), {"device": "cpu"})
    run = told(token("a"), end)
    before = run.to_outcome()
    for late in (RunFailed("No.", "X"), replace(end, text="b", finish_reason="abort"), token("c")):
        run.take(late)
    assert (run.to_outcome(), run.token_ids, run.phase, run.end) == (before, (7,), Phase.OVER, end)


def test_a_run_that_was_stopped_hears_its_end_out() -> None:
    run = told(token("a"))
    run.stop()
    assert (run.status, run.metrics) == (RunStatus.STOPPED, None)
    run.take(RunFinished("a", (7,), "abort", make_metrics(), {}))
    assert (run.status, run.metrics) == (RunStatus.STOPPED, make_metrics())


def test_a_run_without_an_end_is_stored_as_stopped() -> None:
    run = told(token("a"))
    run.stop()
    outcome = run.to_outcome()
    assert (outcome.status, outcome.text, outcome.finish_reason) == (RunStatus.STOPPED, "a", "abort")


def test_every_report_of_the_last_event_is_in_the_outcome() -> None:
    reports = {"speculation": make_report(), "cascade": make_cascade_report()}
    run = told(RunFinished("", (), "stop", None, {}, **reports))
    assert run.reports == Reports(**reports)
    assert Reports.of(run.to_outcome()) == run.reports


# --- everybody who reads it -----------------------------------------------------------------------


@dataclass(frozen=True)
class Seen:
    """What somebody took a run to be."""

    text: str
    token_ids: tuple[int, ...]
    status: RunStatus

    @classmethod
    def of(cls, run: LiveRun) -> Seen:
        return cls(run.text, run.token_ids, run.status)

    @classmethod
    def kept(cls, store: RunStore, run: RunRecord) -> Seen:
        return cls(run.text, (store.timeline(run.id) or Timeline()).token_ids, run.status)


def expected(events: Sequence[Event]) -> Seen:
    """Reckoned apart from the fold: the last tier's tokens up to the first end."""
    place = next((n for n, event in enumerate(events) if isinstance(event, RunFinished | RunFailed)), len(events))
    ups = [n for n in range(place) if isinstance(events[n], Escalated)]
    tokens = [event for event in events[max(ups, default=0) : place] if isinstance(event, TokenEvent)]
    text, ids = "".join(token.text for token in tokens), tuple(token.token_id for token in tokens)
    end = events[place] if place < len(events) else None
    if isinstance(end, RunFinished):
        assert (end.text, end.token_ids) == (text, ids), "an engine's last event says what its tokens said"
        return Seen(text, ids, RunStatus.STOPPED if end.finish_reason == "abort" else RunStatus.FINISHED)
    return Seen(text, ids, RunStatus.FAILED if end else RunStatus.STOPPED)


class Replayed(FakeLabEngine):
    """Answers every request with the same events; one that is cancelled ends as an engine ends it."""

    def __init__(self, events: Sequence[Event]) -> None:
        super().__init__()
        self.events = events

    def generate(self, request: GenerationRequest) -> Replay:  # type: ignore[override]
        return Replay(self.events)

    def check_losslessness(self, *_request: object) -> object:
        return IDENTICAL


class Replay:
    def __init__(self, events: Sequence[Event]) -> None:
        self._told: list[Event] = []
        self._events = iter(events)
        self._cancelled = False

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        over = any(isinstance(event, RunFinished | RunFailed) for event in self._told)
        if self._cancelled and not over:
            seen = expected(self._told)
            event: Event = RunFinished(seen.text, seen.token_ids, "abort", make_metrics(), {})
        else:
            event = next(self._events)
        self._told.append(event)
        return event

    def cancel(self) -> None:
        self._cancelled = True

    def close(self) -> None:
        self._events = iter(())


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> list[list[Event]]:
    """What an engine tells of plain, drafted, cascaded, cut, cancelled and refused runs."""
    folder = tmp_path_factory.mktemp("models")
    make_tiny_checkpoint(folder / "small", "qwen3", seed=1)
    make_tiny_checkpoint(folder / "large", "llama", seed=3, hidden_size=128, intermediate_size=256)

    def ask(tier: Tier = LARGE, *, prompt: str = "Tell me something.", max_tokens: int = 6, **gears: object) -> object:
        optimization = OptimizationConfig.at(tier.precision, **gears)  # type: ignore[arg-type]
        config = RunConfig(
            model=tier.model, optimization=optimization, sampling=SamplingParams(max_tokens=max_tokens, stop=("\n\n",))
        )
        return GenerationRequest(messages=(Message("user", prompt),), config=config)

    drafting = SpeculationConfig(drafter=Drafter.NGRAM, gamma=3)
    up, kept = (CascadeConfig(smaller=(SMALL,), thresholds=(threshold,)) for threshold in (0.0, NEVER))
    asked = [
        ask(),
        ask(max_tokens=1),
        ask(speculation=drafting, max_tokens=12),
        ask(cascade=up),
        ask(cascade=up, speculation=drafting),
        ask(cascade=kept),
        ask(SMALL, prompt="x " * 400),
    ]
    engine = Engine(folder)
    try:
        runs = [list(engine.generate(request)) for request in asked]  # type: ignore[arg-type]
        with closing(engine.generate(ask(max_tokens=200))) as generation:  # type: ignore[arg-type]
            begun = list(islice((event for event in generation if isinstance(event, TokenEvent)), 3))
            generation.cancel()
            runs.append([*begun, *generation])
    finally:
        engine.close()
    assert {type(events[-1]) for events in runs} == {RunFinished, RunFailed}
    assert any(isinstance(event, Escalated) for events in runs for event in events)
    return runs


@st.composite
def sequences(draw: st.DrawFn, runs: Sequence[Sequence[Event]]) -> list[Event]:
    """A run, cut off anywhere, and what may follow."""
    events = list(draw(st.sampled_from(runs)))
    events = events[: draw(st.integers(0, len(events)))]
    tails: list[list[Event]] = [[], [RunFailed("No.", "EngineError")], events[-1:], [token("late"), token("r")]]
    return events + draw(st.sampled_from(tails))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_everybody_sees_the_same_run(store: RunStore, real: list[list[Event]], data: st.DataObject) -> None:
    events = data.draw(sequences(real))
    engine, wanted, request = Replayed(events), expected(events), make_request()
    over = wanted.status is RunStatus.FINISHED

    live = told(*events)
    live.stop()
    assert Seen.of(live) == wanted

    lane = LaneRun(request)
    for event in stream(engine, store, request, person_id="s"):
        lane.take(event)
    assert Seen.of(lane) == Seen.kept(store, store.get(lane.run_id or "")) == wanted

    conversation = store.chat.get(store.chat.create("T", request.config.to_dict(), ""))
    asked_id = chat.say(store.chat, conversation, "Why?")
    turn = chat.begin_turn(store, store.chat.get(conversation.id), asked_id, salt="s")
    for event in stream(engine, store, turn.lane.request, person_id="s"):
        turn.lane.take(event)
    chat.keep_answer(store, turn)
    answers = store.chat.get(conversation.id).path()[1:]
    said = [(message.content, message.token_ids) for message in answers]
    failed = wanted.status is RunStatus.FAILED
    assert said == ([] if failed or not wanted.text else [(wanted.text, wanted.token_ids)])

    checked, drafted = PromptCheck(request, "s"), DraftedPrompt(request, request, "s")
    if over and wanted.token_ids:
        check_prompt(engine, store, checked, ignore)
        draft_prompt(engine, store, drafted, ignore)
        assert {Seen.of(run) for run in (*drafted.plain_runs, *drafted.drafted_runs)} == {wanted}
    else:
        with pytest.raises(LabError):
            check_prompt(engine, store, checked, ignore)
        with pytest.raises(SpeculationLabError):
            draft_prompt(engine, store, drafted, ignore)
    assert Seen.of(checked) == Seen.kept(store, store.get(checked.run_id or "")) == wanted

    task = replace(TASK, prompt=f"{TASK.prompt} {lane.run_id}")
    if over:
        assert Seen.of(answer_unkept(engine, request, lambda _: None)) == wanted
        assert ask_plain(engine, request, ignore) == wanted.text
        record(engine, store.router, "Own", [task], [SMALL], ignore)
        (answer,) = store.router.answers(tasks_sha256([task]), SMALL.key, engine.WEIGHTS).values()
        assert (answer.text, answer.token_ids, len(answer.logprobs)) == (
            wanted.text,
            wanted.token_ids,
            len(wanted.token_ids),
        )
    else:
        with pytest.raises(RunNotFinishedError):
            answer_unkept(engine, request, lambda _: None)
        with pytest.raises(LabError):
            record(engine, store.router, "Own", [task], [SMALL], ignore)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_run_whose_reader_left_is_the_same_in_the_store_and_in_its_lane(
    store: RunStore, real: list[list[Event]], data: st.DataObject
) -> None:
    events = data.draw(st.sampled_from(real))
    read = data.draw(st.integers(1, len(events) + 1))
    lane = LaneRun(make_request())
    with closing(stream(Replayed(events), store, lane.request, person_id="s")) as told_so_far:
        for event in islice(told_so_far, read):
            lane.take(event)
    lane.stop()
    heard = expected(events[: read - 1])
    kept = store.get(lane.run_id or "")
    assert Seen.of(lane) == Seen.kept(store, kept) == heard
    lane.adopt(kept, store.timeline(kept.id) or Timeline())
    assert Seen.of(lane) == heard
    assert lane.metrics == kept.metrics
