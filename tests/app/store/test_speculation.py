"""What the store keeps of speculative decoding: the report, the check of the answer, the gears in every list."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, replace

import pytest

from app.store import ALL_RUNS, RunNotFoundError, RunOutcome, RunStatus, RunStore
from app.views.runs.naming import configuration_names, run_name
from engine.types import Divergence, Drafter, Losslessness, Precision, SpeculationConfig, SpeculationReport
from tests.support.drafting import make_report
from tests.support.fakes import make_metrics, make_request

NGRAM = SpeculationConfig(drafter=Drafter.NGRAM)
PARTED = Losslessness(
    tokens=6, checked=2, near_ties=1, divergence=Divergence(index=2, written=" red", plain=" blue", gap=0.25)
)


def keep(
    store: RunStore, speculation: SpeculationConfig | None, report: SpeculationReport | None = None, drafted: int = 0
) -> str:
    run_id = store.create_run(
        make_request(precision=Precision.INT4, speculation=speculation), person_id="s", environment={}
    )
    metrics = replace(make_metrics(), drafted_tokens=drafted, accepted_tokens=drafted // 2, verification_steps=drafted)
    store.finish_run(run_id, RunOutcome(RunStatus.FINISHED, "x", metrics=metrics, speculation=report))
    return run_id


def test_a_report_comes_back_as_it_was(store: RunStore) -> None:
    report = make_report(draft_step_s={"m int4": 0.004}, unavailable=("m cannot draft.",))
    run = store.get(keep(store, NGRAM, report, drafted=4))
    assert run.speculation == report
    assert run.metrics is not None
    assert (run.metrics.verification_steps, run.metrics.mean_acceptance_length) == (4, 1.5)


def test_a_run_with_the_gear_off_has_no_report(store: RunStore) -> None:
    run = store.get(keep(store, None))
    assert (run.speculation, run.losslessness) == (None, None)


@pytest.mark.parametrize(
    "found", [PARTED, Losslessness(tokens=6, checked=6, near_ties=0, divergence=None, p_value=0.42)]
)
def test_what_reading_again_showed_is_kept_with_the_run(store: RunStore, found: Losslessness) -> None:
    run_id = keep(store, NGRAM, make_report())
    store.keep_losslessness(run_id, found)
    assert store.get(run_id).losslessness == found
    assert store.get(run_id).speculation == make_report()


def test_a_check_of_a_deleted_run_is_refused(store: RunStore) -> None:
    with pytest.raises(RunNotFoundError):
        store.keep_losslessness("gone", PARTED)


def test_an_export_has_both(store: RunStore) -> None:
    run_id = keep(store, NGRAM, make_report())
    store.keep_losslessness(run_id, PARTED)
    out = io.StringIO()
    store.export_jsonl(ALL_RUNS, out)
    tree = json.loads(out.getvalue())
    assert tree["losslessness"] == asdict(PARTED)
    assert SpeculationReport.from_dict(tree["speculation"]) == make_report()


def test_totals_count_drafted_tokens(store: RunStore) -> None:
    assert store.totals().acceptance_rate is None
    keep(store, NGRAM, make_report(), drafted=8)
    keep(store, None)
    totals = store.totals()
    assert (totals.drafted_tokens, totals.accepted_tokens, totals.acceptance_rate) == (8, 4, 0.5)


def test_runs_that_differ_only_in_who_drafts_read_differently_everywhere(store: RunStore) -> None:
    gears = [None, NGRAM, replace(NGRAM, gamma=4), SpeculationConfig.with_model("small")]
    names = {run_name(store.get(keep(store, gear))) for gear in gears}
    assert names == {
        "smollm2-135m · int4",
        "smollm2-135m · int4 · drafts: n-grams",
        "smollm2-135m · int4 · drafts: n-grams, γ 4",
        "smollm2-135m · int4 · drafts: small int4",
    }
    assert {run_name(run) for run in store.page().rows} == names
    assert set(configuration_names(store.facets().configurations).values()) == names
