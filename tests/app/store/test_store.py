"""A run's life in the store, what people say of it, and whatever texts come."""

from __future__ import annotations

import io
import tempfile
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from app.store import ALL_RUNS, RunFilter, RunNotFoundError, RunOutcome, RunStatus, RunStore, StoreError
from app.store.runs import writing
from engine.types import Precision, RunConfig, SamplingParams
from engine.untrusted import valid_text
from tests.support.fakes import make_metrics, make_request
from tests.support.kept_runs import FINISHED, TIMELINE, create, finish, ids
from tests.support.stores import new_database


def test_a_created_run_is_running_and_complete(store: RunStore) -> None:
    request = make_request("Why?", system="Be brief.", precision=Precision.INT4, sampling=SamplingParams(seed=7))
    before = datetime.now(UTC)
    run_id = create(store, request, group_id="g")
    run = store.get(run_id)
    assert run.status is RunStatus.RUNNING
    assert before <= run.created_at <= datetime.now(UTC)
    assert (run.prompt, run.messages) == ("Why?", request.messages)
    assert (run.model, run.backend, run.precision, run.seed) == ("smollm2-135m", "local", "int4", 7)
    assert run.config_hash == request.config.hash
    assert RunConfig.from_dict(run.config) == request.config
    assert (run.person_id, run.group_id, run.environment) == ("s", "g", {"git_commit": "abc"})
    assert (run.text, run.metrics, run.error, run.note, run.rating, run.tags) == ("", None, None, "", 0, ())


def test_progress_is_kept_while_the_run_goes_on(store: RunStore) -> None:
    run_id = create(store)
    store.save_progress(run_id, "Be")
    assert (store.get(run_id).text, store.timeline(run_id)) == ("Be", None)
    store.save_progress(run_id, "Because", TIMELINE)
    store.save_progress(run_id, "Because", TIMELINE)
    assert (store.get(run_id).text, store.timeline(run_id)) == ("Because", TIMELINE)
    assert store.get(run_id).status is RunStatus.RUNNING


def test_a_finished_run_has_all_that_was_measured(store: RunStore) -> None:
    run_id = finish(store)
    run = store.get(run_id)
    assert (run.status, run.text, run.finish_reason) == (RunStatus.FINISHED, "Because", "stop")
    assert run.metrics == FINISHED.metrics
    assert run.environment == {"git_commit": "abc", "device": "cpu", "threads": 2}
    assert store.timeline(run_id) == TIMELINE


def test_a_run_stopped_before_its_first_token_has_metrics_without_ttft(store: RunStore) -> None:
    metrics = make_metrics(ttft_s=None, tpot_s=None, completion_tokens=0)
    run_id = finish(store, outcome=RunOutcome(RunStatus.STOPPED, "", finish_reason="abort", metrics=metrics))
    assert store.get(run_id).metrics == metrics


def test_a_failed_run_keeps_the_error_and_the_text_so_far(store: RunStore) -> None:
    outcome = RunOutcome(RunStatus.FAILED, "Beca", error="Out of memory.", error_kind="InsufficientMemoryError")
    run = store.get(finish(store, outcome=outcome))
    assert (run.status, run.text) == (RunStatus.FAILED, "Beca")
    assert (run.error, run.error_kind) == ("Out of memory.", "InsufficientMemoryError")


def test_late_progress_does_not_touch_a_run_that_is_over(store: RunStore) -> None:
    run_id = finish(store)
    with pytest.raises(RunNotFoundError):
        store.save_progress(run_id, "something else")
    assert (store.get(run_id).text, store.get(run_id).status) == ("Because", RunStatus.FINISHED)


def test_a_run_deleted_while_it_ran_is_reported(store: RunStore) -> None:
    run_id = create(store)
    assert store.delete([run_id]) == 1
    with pytest.raises(RunNotFoundError, match=run_id):
        store.save_progress(run_id, "Be")
    with pytest.raises(RunNotFoundError, match=run_id):
        store.finish_run(run_id, FINISHED, TIMELINE)
    assert ids(store) == []


def test_runs_outlive_the_process_that_made_them(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'gearbox.db'}"
    first = RunStore.open(url)
    run_id = finish(first)
    kept = first.get(run_id)
    first.close()
    again = RunStore.open(url)
    assert again.get(run_id) == kept
    again.close()


def test_tags_are_trimmed_sorted_and_replaced(store: RunStore) -> None:
    run_id = finish(store)
    store.set_tags(run_id, [" b ", "a", "", "a", "  "])
    assert store.get(run_id).tags == store.page().rows[0].tags == ("a", "b")
    store.set_tags(run_id, ["c"])
    assert store.get(run_id).tags == ("c",)
    store.set_tags(run_id, [])
    assert store.facets().tags == ()


def test_a_tag_that_is_too_long_is_refused_and_the_old_ones_stay(store: RunStore) -> None:
    run_id = finish(store)
    store.set_tags(run_id, ["kept"])
    with pytest.raises(StoreError, match="60 characters"):
        store.set_tags(run_id, ["x" * 61])
    assert store.get(run_id).tags == ("kept",)


def test_notes_and_ratings_are_kept(store: RunStore) -> None:
    run_id = finish(store)
    store.set_note(run_id, "good enough")
    store.rate(run_id, -1)
    assert (store.get(run_id).note, store.get(run_id).rating) == ("good enough", -1)
    store.rate(run_id, 0)
    assert store.get(run_id).rating == 0


def test_nothing_can_be_said_of_a_run_that_is_not_there(store: RunStore) -> None:
    for say in (lambda: store.set_tags("x", ["a"]), lambda: store.set_note("x", "n"), lambda: store.rate("x", 1)):
        with pytest.raises(RunNotFoundError):
            say()


def test_deleting_takes_all_that_belongs_to_the_run_and_nothing_else(store: RunStore, tmp_path: Path) -> None:
    kept, gone = finish(store), finish(store)
    store.set_tags(kept, ["a"])
    store.set_tags(gone, ["b"])
    assert store.delete([gone, "never was"]) == 1
    assert ids(store) == [kept]
    assert (store.timeline(kept), store.timeline(gone)) == (TIMELINE, None)
    assert store.facets().tags == ("a",)
    assert store.delete([]) == 0


def test_more_runs_than_a_statement_takes_parameters_can_be_deleted(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "_IDS_AT_ONCE", 2)
    made = [finish(store) for _ in range(5)]
    assert store.delete(made) == 5


any_text = st.text(st.characters(), max_size=20)


@settings(deadline=None, max_examples=30)
@given(prompt=any_text.filter(lambda text: text.strip()), answer=any_text, note=any_text, tag=any_text)
def test_any_text_comes_back_as_it_was_or_with_the_unstorable_replaced(
    tmp_path_factory: pytest.TempPathFactory, prompt: str, answer: str, note: str, tag: str
) -> None:
    store = RunStore.open(new_database(tmp_path_factory.mktemp("any") / "gearbox.db"))
    run_id = finish(store, make_request(prompt), replace(FINISHED, text=answer))
    store.set_note(run_id, note)
    store.set_tags(run_id, [tag])
    run = store.get(run_id)
    assert (run.prompt, run.messages[0].content) == (valid_text(prompt), valid_text(prompt))
    assert (run.text, run.note) == (valid_text(answer), valid_text(note))
    assert run.tags == tuple(valid_text(part) for part in [tag.strip()] if part)
    assert ids(store, RunFilter(text=prompt)) == [run_id]
    exported_jsonl_bytes = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    assert store.export_jsonl(ALL_RUNS, exported_jsonl_bytes) == 1
    store.close()


def test_only_what_cannot_be_stored_is_replaced() -> None:
    assert valid_text("a\0b\ud83dc\udc00d") == "a\ufffdb\ufffdc\ufffdd"
    assert valid_text("πλήρες 🐘\n\t\u2028\ufffd") == "πλήρες 🐘\n\t\u2028\ufffd"


class KeptRuns(RuleBasedStateMachine):
    """Whatever is done to runs, in whatever order, the store holds what a dict would."""

    runs = Bundle("runs")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.url = new_database(Path(self.folder.name, "gearbox.db"))
        self.store = RunStore.open(self.url)
        self.kept: dict[str, tuple[RunStatus, str, tuple[str, ...]]] = {}

    @rule(target=runs)
    def create(self) -> str:
        run_id = create(self.store)
        self.kept[run_id] = (RunStatus.RUNNING, "", ())
        return run_id

    @rule(run_id=runs, text=st.text("ab", max_size=3))
    def progress(self, run_id: str, text: str) -> None:
        status, _, tags = self.kept.get(run_id, (None, "", ()))
        with self.refused_unless(status is RunStatus.RUNNING):
            self.store.save_progress(run_id, text, TIMELINE)
            self.kept[run_id] = (RunStatus.RUNNING, text, tags)

    @rule(run_id=runs, status=st.sampled_from([RunStatus.FINISHED, RunStatus.STOPPED, RunStatus.FAILED]))
    def finish(self, run_id: str, status: RunStatus) -> None:
        with self.refused_unless(run_id in self.kept):
            self.store.finish_run(run_id, RunOutcome(status, "end"), TIMELINE)
            self.kept[run_id] = (status, "end", self.kept[run_id][2])

    @rule(run_id=runs, tags=st.sets(st.sampled_from("xyz")))
    def tag(self, run_id: str, tags: set[str]) -> None:
        with self.refused_unless(run_id in self.kept):
            self.store.set_tags(run_id, tags)
            self.kept[run_id] = (*self.kept[run_id][:2], tuple(sorted(tags)))

    @rule(run_id=runs)
    def delete(self, run_id: str) -> None:
        assert self.store.delete([run_id]) == (run_id in self.kept)
        self.kept.pop(run_id, None)

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = RunStore.open(self.url)

    def refused_unless(self, possible: bool) -> AbstractContextManager[object]:
        return nullcontext() if possible else pytest.raises(RunNotFoundError)

    @invariant()
    def nothing_is_lost(self) -> None:
        found = {run.id: (run.status, run.text, run.tags) for run in self.store.get_many(list(self.kept))}
        assert found == self.kept
        assert self.store.page().total == self.store.totals().runs == len(self.kept)

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()


KeptRuns.TestCase.settings = settings(deadline=None, max_examples=12, stateful_step_count=15)
TestKeptRuns = KeptRuns.TestCase
