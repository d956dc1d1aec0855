"""What configurations are compared by: whose runs, which of them, and what stands for a prompt."""

from __future__ import annotations

from dataclasses import replace

from app.store import Pass, RunFilter, RunScore, RunSource, RunStatus, RunStore, Viewer
from engine.types import GenerationRequest, Message, Precision, RunConfig, SamplingParams
from tests.support.experiments import AnsweringEngine, design, keep, quality, run
from tests.support.fakes import make_metrics, make_request
from tests.support.ui import add_run


def asked(store: RunStore, run_id: str) -> str:
    return {each.id: each.asked_sha256 for each in store.answered()}[run_id]


def test_runs_that_are_over_are_given_with_their_figures_the_oldest_first(store: RunStore) -> None:
    metrics = make_metrics(completion_tokens=4)
    done = add_run(store, metrics=replace(metrics, mean_batch_size=3.0))
    failed = add_run(store, words=(), status=RunStatus.FAILED, error="No.")
    add_run(store, status=RunStatus.STOPPED)
    store.create_run(make_request(), person_id="tests", environment={})
    first, second = store.answered()
    assert (first.id, first.failed, first.shared, first.disturbed) == (done, False, True, False)
    assert (first.e2e_s, first.ttft_s, first.tpot_s) == (metrics.e2e_s, metrics.ttft_s, metrics.tpot_s)
    assert (first.completion_tokens, first.weights_bytes, first.kv_bytes) == (
        4, metrics.weights_bytes, metrics.kv_bytes,
    )  # fmt: skip
    assert (second.id, second.failed, second.shared, second.e2e_s) == (failed, True, False, None)


def test_the_whole_conversation_stands_for_a_prompt_and_no_text_for_a_conversation(store: RunStore) -> None:
    plain, again = add_run(store), add_run(store, make_request(precision=Precision.INT4))
    in_character = add_run(store, make_request(system="You are a pirate."))
    turns = (Message("user", "Hi"), Message("assistant", "Hello."), Message("user", "Why is the sky blue?"))
    later = add_run(store, replace(make_request(), messages=turns))
    config = make_request().config
    continued = [
        add_run(store, GenerationRequest(messages=(), completion=text, config=config))
        for text in ("Why is the sky blue?", "The sky is blue, for")
    ]
    assert asked(store, plain) == asked(store, again)
    assert len({asked(store, id) for id in (plain, in_character, later, *continued)}) == 5


def test_configurations_are_told_with_all_their_settings_the_most_used_first(store: RunStore) -> None:
    often = make_request(sampling=SamplingParams(max_tokens=7, seed=3))
    add_run(store)
    for seed in (3, 4):
        add_run(store, replace(often, config=replace(often.config, sampling=SamplingParams(max_tokens=7, seed=seed))))
    first, second = store.used_configurations()
    assert (first.config_hash, first.runs, second.runs) == (often.config.hash, 2, 1)
    assert first.config["sampling"]["max_tokens"] == 7
    assert RunConfig.from_dict(second.config) == make_request().config
    only = RunFilter(config_hashes=(second.config_hash,))
    assert store.used_configurations(only) == (second,)
    assert [each.config_hash for each in store.answered(only)] == [second.config_hash]


def test_what_others_asked_is_in_neither(store: RunStore) -> None:
    mine = add_run(store, person_id="me")
    add_run(store, make_request(precision=Precision.INT4), person_id="you")
    seen = store.seen_by(Viewer("me", sees_all=False))
    assert [each.id for each in seen.answered()] == [mine]
    assert [each.runs for each in seen.used_configurations()] == [1]


def test_scores_are_by_the_run_that_a_cell_is(store: RunStore) -> None:
    experiment = run(AnsweringEngine(), store, design())
    add_run(store)
    scores = store.experiments.scores(RunFilter(group_id=experiment))
    assert scores.keys() == {each.id for each in store.answered(RunFilter(sources=(RunSource.EXPERIMENT,)))}
    found = {(each.prompt_id, each.score) for each in scores.values()}
    assert {("sky", 1.0), ("moon", 0.0), ("open", None)} <= found


def test_scores_of_others_runs_are_kept_from_the_viewer(store: RunStore) -> None:
    yours = add_run(store, person_id="you")
    keep(store, design(), quality(0, "sky", 1.0, run_id=yours))
    assert store.experiments.scores(RunFilter()) == {yours: RunScore(Pass.QUALITY, "sky", 1.0)}
    assert store.seen_by(Viewer("me", sees_all=False)).experiments.scores(RunFilter()) == {}
