"""What people have asked here, as prompts of an experiment."""

from __future__ import annotations

from dataclasses import replace

from app.experiments.planning.prompt_sets import asked_in, prompt_sets
from app.store import ALL_RUNS, RunOutcome, RunSource, RunStatus, RunStore
from engine.types import GenerationRequest, Message, SamplingParams
from tests.support.fakes import make_request


def keep(store: RunStore, request: GenerationRequest, source: RunSource = RunSource.API) -> str:
    run_id = store.create_run(request, person_id=None, source=source, environment={})
    store.finish_run(run_id, RunOutcome(RunStatus.FINISHED, "An answer."), None)
    return run_id


def test_each_prompt_comes_once_the_newest_first_with_the_length_it_was_given(store: RunStore) -> None:
    keep(store, make_request("Older", sampling=SamplingParams(max_tokens=7)))
    keep(store, make_request("Twice"))
    newest = keep(store, make_request("Twice", sampling=SamplingParams(max_tokens=9)))
    tasks = asked_in(store, ALL_RUNS)
    assert [(task.prompt, task.max_tokens) for task in tasks] == [("Twice", 9), ("Older", 7)]
    assert tasks[0].id == newest
    assert tasks[0].checker is None


def test_a_system_prompt_comes_first_and_later_turns_are_left_out(store: RunStore) -> None:
    keep(store, make_request("Why?", system="Be brief."))
    first = make_request("Hello")
    turns = (*first.messages, Message("assistant", "Hi."), Message("user", "And then?"))
    keep(store, replace(first, messages=turns))
    keep(store, replace(first, messages=(), completion="Once upon"))
    assert [task.prompt for task in asked_in(store, ALL_RUNS)] == ["Be brief.\n\nWhy?"]


def test_sets_of_runs_have_what_was_asked_there(store: RunStore) -> None:
    run_id = keep(store, make_request())
    asked = {name: [task.id for task in read()] for name, read in prompt_sets(store).items() if "Gearbox" not in name}
    assert asked == {
        "Rated runs": [],
        "Asked over the API, last 7 days": [run_id],
        "Asked here, last 7 days": [run_id],
    }
    store.rate(run_id, 1)
    assert [task.id for task in prompt_sets(store)["Rated runs"]()] == [run_id]
