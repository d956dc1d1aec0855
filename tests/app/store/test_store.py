import csv
import io
import json
import tempfile
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from app.store import (
    ALL_RUNS,
    RunFilter,
    RunNotFoundError,
    RunOutcome,
    RunSort,
    RunStatus,
    RunStore,
    StoreError,
    Timeline,
)
from app.store.runs import writing
from engine.types import GenerationRequest, Precision, RunConfig, SamplingParams
from engine.untrusted import valid_text
from tests.support.fakes import make_metrics, make_request
from tests.support.stores import new_database

TIMELINE = Timeline(
    token_ids=(5, 6),
    texts=("Be", "cause"),
    t_s=(0.25, 0.5),
    logprob=(-0.5, -1.5),
    entropy=(1.0, 2.0),
    source=("target", "target"),
    tier=(None, None),
)
FINISHED = RunOutcome(
    status=RunStatus.FINISHED,
    text="Because",
    finish_reason="stop",
    metrics=make_metrics(e2e_s=0.5),
    environment={"device": "cpu", "threads": 2},
)


def create(
    store: RunStore,
    request: GenerationRequest | None = None,
    *,
    group_id: str | None = None,
    person_id: str | None = "s",
) -> str:
    return store.create_run(
        request or make_request(), person_id=person_id, group_id=group_id, environment={"git_commit": "abc"}
    )


def finish(store: RunStore, request: GenerationRequest | None = None, outcome: RunOutcome = FINISHED) -> str:
    run_id = create(store, request)
    store.finish_run(run_id, outcome, TIMELINE)
    return run_id


def ids(store: RunStore, filter: RunFilter = ALL_RUNS, sort: RunSort | None = None) -> list[str]:
    page = store.page(filter, sort or RunSort(), limit=1_000)
    assert page.total == len(page.rows)
    return [row.id for row in page.rows]


# --- a run's life ---------------------------------------------------------------------------------


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


# --- reading --------------------------------------------------------------------------------------


def test_an_unknown_run_is_not_found(store: RunStore) -> None:
    for run_id in ("nothing", "", "\ud800", "x" * 10_000):
        with pytest.raises(RunNotFoundError):
            store.get(run_id)
        assert store.timeline(run_id) is None


def test_several_runs_come_in_the_order_asked_for(store: RunStore) -> None:
    first, second, third = (finish(store) for _ in range(3))
    assert [run.id for run in store.get_many([third, "gone", first])] == [third, first]
    assert [run.id for run in store.get_many((first, second))] == [first, second]
    assert store.get_many([]) == ()


def test_pages_cover_all_runs_once_newest_first(store: RunStore) -> None:
    made = [finish(store) for _ in range(7)]
    pages = [store.page(limit=3, offset=offset) for offset in (0, 3, 6, 9)]
    assert [row.id for page in pages for row in page.rows] == made[::-1]
    assert [page.total for page in pages] == [7, 7, 7, 7]


def test_a_list_shows_the_start_of_the_prompt_and_the_record_all_of_it(store: RunStore) -> None:
    prompt = "π" * 5_000
    run_id = finish(store, make_request(prompt))
    assert store.page().rows[0].prompt == prompt[:200]
    assert store.get(run_id).prompt == prompt


def test_text_is_found_in_prompt_answer_note_and_error(store: RunStore) -> None:
    in_prompt = finish(store, make_request("Tell of 100% Zebras"))
    in_answer = finish(store, outcome=replace(FINISHED, text="a zebra_crossing"))
    in_error = finish(store, outcome=RunOutcome(RunStatus.FAILED, "", error="No ZEBRA here."))
    in_note = finish(store)
    store.set_note(in_note, "compare with the zebra run")
    finish(store)
    assert set(ids(store, RunFilter(text="zebra"))) == {in_prompt, in_answer, in_error, in_note}
    assert ids(store, RunFilter(text="100%")) == [in_prompt]
    assert ids(store, RunFilter(text="zebra_")) == [in_answer]
    assert ids(store, RunFilter(text="  zebra_  ")) == [in_answer]
    assert ids(store, RunFilter(text="' OR 1=1 --")) == []
    assert len(ids(store, RunFilter(text="  "))) == 5


def test_filters_narrow_together(store: RunStore) -> None:
    small = finish(store, make_request())
    int4 = finish(store, make_request(precision=Precision.INT4))
    other = finish(store, make_request(model="qwen2.5-coder-0.5b", precision=Precision.INT4))
    failed = finish(store, outcome=RunOutcome(RunStatus.FAILED, "", error="No."))
    store.rate(int4, 1)
    store.set_tags(int4, ["demo", "kept"])
    store.set_tags(other, ["demo"])
    assert set(ids(store, RunFilter(models=("smollm2-135m",)))) == {small, int4, failed}
    assert set(ids(store, RunFilter(precisions=("int4",)))) == {int4, other}
    assert ids(store, RunFilter(models=("smollm2-135m",), precisions=("int4",))) == [int4]
    assert ids(store, RunFilter(statuses=(RunStatus.FAILED, RunStatus.RUNNING))) == [failed]
    assert ids(store, RunFilter(ratings=(1, -1))) == [int4]
    assert set(ids(store, RunFilter(tags=("demo",)))) == {int4, other}
    assert ids(store, RunFilter(tags=("demo", "kept"))) == [int4]
    assert ids(store, RunFilter(backends=("reference",))) == []
    assert ids(store, RunFilter(config_hashes=(store.get(other).config_hash,))) == [other]


def test_runs_of_a_group_a_session_and_a_time_are_found(store: RunStore) -> None:
    first = create(store, group_id="g", person_id="a")
    second = create(store, group_id="g", person_id="b")
    third = create(store, person_id="b")
    assert ids(store, RunFilter(group_id="g")) == [second, first]
    assert ids(store, RunFilter(person_id="b")) == [third, second]
    moment = store.get(second).created_at
    assert ids(store, RunFilter(since=moment)) == [third, second]
    assert ids(store, RunFilter(until=moment)) == [first]
    elsewhere = moment.astimezone(tz=None) + timedelta(microseconds=1)
    assert ids(store, RunFilter(since=moment, until=elsewhere)) == [second]


@pytest.mark.parametrize("descending", [True, False])
def test_runs_without_the_figure_are_sorted_last(store: RunStore, descending: bool) -> None:
    slow = finish(store, outcome=replace(FINISHED, metrics=make_metrics(e2e_s=9.0)))
    running = create(store)
    quick = finish(store, outcome=replace(FINISHED, metrics=make_metrics(e2e_s=1.0)))
    expected = [slow, quick] if descending else [quick, slow]
    assert ids(store, sort=RunSort("e2e_s", descending=descending)) == [*expected, running]


def test_equal_runs_are_sorted_newest_first(store: RunStore) -> None:
    made = [finish(store) for _ in range(4)]
    assert ids(store, sort=RunSort("model", descending=False)) == made[::-1]


def test_facets_are_what_is_there(store: RunStore) -> None:
    assert store.facets().models == ()
    finish(store, make_request(precision=Precision.NF4))
    finish(store, make_request(precision=Precision.NF4))
    tagged = finish(store, make_request(model="qwen2.5-coder-0.5b"))
    store.set_tags(tagged, ["b", "a"])
    facets = store.facets()
    assert facets.models == ("qwen2.5-coder-0.5b", "smollm2-135m")
    assert facets.backends == ("local",)
    assert facets.precisions == ("bf16", "nf4")
    assert facets.tags == ("a", "b")
    assert [(one.model, one.precision) for one in facets.configurations] == [
        ("smollm2-135m", "nf4"),
        ("qwen2.5-coder-0.5b", "bf16"),
    ]


# --- what people say about runs -------------------------------------------------------------------


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


# --- writing out ----------------------------------------------------------------------------------


def exported_jsonl(store: RunStore, filter: RunFilter = ALL_RUNS) -> list[dict[str, object]]:
    out = io.StringIO()
    count = store.export_jsonl(filter, out)
    rows = [json.loads(line) for line in out.getvalue().splitlines()]
    assert count == len(rows)
    return rows


def test_jsonl_carries_everything(store: RunStore) -> None:
    request = make_request("Γειά\n\u2028'\"", system="Be brief.")
    run_id = finish(store, request)
    store.set_tags(run_id, ["a", "b"])
    store.set_note(run_id, "n")
    store.rate(run_id, 1)
    out = io.StringIO()
    store.export_jsonl(ALL_RUNS, out)
    (row,) = [json.loads(line) for line in out.getvalue().split("\n") if line]
    run = store.get(run_id)
    assert datetime.fromisoformat(row["created_at"]) == run.created_at
    assert row["messages"] == [{"role": m.role, "content": m.content} for m in request.messages]
    assert RunConfig.from_dict(row["config"]) == request.config
    assert (row["text"], row["environment"], row["tags"]) == ("Because", run.environment, ["a", "b"])
    assert (row["note"], row["rating"], row["status"], row["finish_reason"]) == ("n", 1, "finished", "stop")
    assert (row["ttft_s"], row["kv_bytes"]) == (run.metrics.ttft_s, run.metrics.kv_bytes)  # type: ignore[union-attr]
    assert row["timeline"]["texts"] == ["Be", "cause"]
    assert row["timeline"]["t_s"] == [0.25, 0.5]


def test_csv_and_jsonl_agree_on_every_column_but_the_long_ones(store: RunStore) -> None:
    finish(store, make_request('one, two\n"three"'))
    create(store)
    out = io.StringIO(newline="")
    assert store.export_csv(ALL_RUNS, out) == 2
    rows = list(csv.DictReader(io.StringIO(out.getvalue(), newline="")))
    trees = exported_jsonl(store)
    only_in_jsonl = {"timeline", "cache", "speculation", "cascade", "disturbance", "losslessness"}
    assert [set(row) | only_in_jsonl for row in rows] == [set(tree) for tree in trees]
    assert [row["prompt"] for row in rows] == [tree["prompt"] for tree in trees]
    assert [row["e2e_s"] for row in rows] == ["0.5", ""]


def test_an_export_of_nothing_still_names_the_columns(store: RunStore) -> None:
    out = io.StringIO()
    assert store.export_csv(ALL_RUNS, out) == 0
    assert out.getvalue().startswith("id,created_at,status")
    assert exported_jsonl(store) == []


def test_an_export_is_filtered_oldest_first_and_whole_over_many_chunks(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.store.runs.export._CHUNK", 3)
    made = [finish(store) for _ in range(10)]
    finish(store, make_request(model="other"))
    assert [row["id"] for row in exported_jsonl(store, RunFilter(models=("smollm2-135m",)))] == made
    assert all(row["timeline"] for row in exported_jsonl(store))


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_a_prompt_that_looks_like_a_formula_is_harmless_in_a_spreadsheet(store: RunStore, start: str) -> None:
    finish(store, make_request(f"{start}HYPERLINK(1)"))
    out = io.StringIO(newline="")
    store.export_csv(ALL_RUNS, out)
    (row,) = csv.DictReader(io.StringIO(out.getvalue(), newline=""))
    assert row["prompt"] == f"'{start}HYPERLINK(1)"


# --- whatever comes -------------------------------------------------------------------------------

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
