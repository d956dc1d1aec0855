"""Runs written out: complete, and harmless in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime

import pytest

from app.store import ALL_RUNS, RunFilter, RunStore
from engine.types import RunConfig
from tests.support.fakes import make_request
from tests.support.kept_runs import create, finish

MARK = "\ufeff"
"""By which Excel knows that a file is UTF-8."""


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
    rows = list(csv.DictReader(io.StringIO(out.getvalue().removeprefix(MARK), newline="")))
    trees = exported_jsonl(store)
    only_in_jsonl = {"timeline", "cache", "speculation", "cascade", "disturbance", "losslessness"}
    assert [set(row) | only_in_jsonl for row in rows] == [set(tree) for tree in trees]
    assert [row["prompt"] for row in rows] == [tree["prompt"] for tree in trees]
    assert [row["e2e_s"] for row in rows] == ["0.5", ""]


def test_an_export_of_nothing_still_names_the_columns(store: RunStore) -> None:
    out = io.StringIO()
    assert store.export_csv(ALL_RUNS, out) == 0
    assert out.getvalue().startswith(f"{MARK}id,created_at,status")
    assert exported_jsonl(store) == []


def test_an_export_is_filtered_oldest_first_and_whole_over_many_chunks(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.store.runs.export._CHUNK", 3)
    made = [finish(store) for _ in range(10)]
    finish(store, make_request(model="other"))
    assert [row["id"] for row in exported_jsonl(store, RunFilter(models=("smollm2-135m",)))] == made
    assert all(row["timeline"] for row in exported_jsonl(store))


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "＝"])
def test_a_prompt_that_looks_like_a_formula_is_harmless_in_a_spreadsheet(store: RunStore, start: str) -> None:
    finish(store, make_request(f"{start}HYPERLINK(1)"))
    out = io.StringIO(newline="")
    store.export_csv(ALL_RUNS, out)
    (row,) = csv.DictReader(io.StringIO(out.getvalue(), newline=""))
    assert row["prompt"] == f"'{start}HYPERLINK(1)"


def test_parquet_has_a_typed_column_for_each_of_csv_s(store: RunStore) -> None:
    import pyarrow
    from pyarrow import parquet

    finish(store, make_request("=SUM(A1)\n\u2028"))
    create(store)
    out = io.BytesIO()
    assert store.export_parquet(ALL_RUNS, out) == 2
    table = parquet.read_table(out)
    text = io.StringIO()
    store.export_csv(ALL_RUNS, text)
    assert table.column_names == text.getvalue().removeprefix(MARK).splitlines()[0].split(",")
    first, second = table.to_pylist()
    assert (first["prompt"], first["e2e_s"], first["tags"]) == ("=SUM(A1)\n\u2028", 0.5, [])
    assert (second["e2e_s"], second["prompt_tokens"]) == (None, None)
    assert first["created_at"] == store.get(first["id"]).created_at
    assert json.loads(first["config"]) == store.get(first["id"]).config
    assert table.schema.field("e2e_s").type == pyarrow.float64()


def test_parquet_is_written_a_few_runs_at_a_time(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyarrow import parquet

    monkeypatch.setattr("app.store.runs.parquet._ROWS_AT_ONCE", 2)
    made = [finish(store) for _ in range(5)]
    out = io.BytesIO()
    assert store.export_parquet(ALL_RUNS, out) == 5
    file = parquet.ParquetFile(out)
    assert file.num_row_groups == 3
    assert file.read().column("id").to_pylist() == made
