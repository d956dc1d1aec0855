"""The engine's reports on a run: kept, read and written out as ever, however many there are."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

from app.store import ALL_RUNS, RunOutcome, RunStatus, RunStore, Timeline
from engine.types import CacheReport, Divergence, Losslessness, MissCause, TokenEvent
from tests.support.cascading import CASCADE, make_cascade_report
from tests.support.disturbing import DISTURBED
from tests.support.drafting import make_report
from tests.support.fakes import make_metrics, make_request

EXPORTED = Path(__file__).with_name("exported_run.jsonl")
"""What an export of the run below was before reports were told of in one place; its id and time left open."""
CACHE = CacheReport(
    cause=MissCause.TURN,
    nearest_tokens=12,
    parted_at=7,
    kept_text=" blue",
    came_text=" red",
    detail="An earlier turn differs.",
    lost_tokens=5,
    verified=True,
)
TOKENS = [
    TokenEvent(5, "Be", 0.25, -0.5, 1.0, margin=0.75),
    TokenEvent(6, "cause", 0.5, -1.5, 2.0, "draft", tier="m bf16"),
]


def keep_run_with_all_reports(store: RunStore) -> str:
    request = make_request("Why?", model="m", cascade=replace(CASCADE, guard=False))
    run_id = store.create_run(request, person_id="s", group_id="g", environment={"git_commit": "abc"})
    outcome = RunOutcome(
        status=RunStatus.FINISHED,
        text="Because",
        finish_reason="stop",
        metrics=replace(
            make_metrics(e2e_s=0.5), drafted_tokens=4, accepted_tokens=2, verification_steps=2, repetition=0.25
        ),
        environment={"device": "cpu", "threads": 2},
        cache=CACHE,
        speculation=make_report(draft_step_s={"m int4": 0.004}, unavailable=("m cannot draft.",)),
        cascade=make_cascade_report(),
        disturbance=DISTURBED,
    )
    store.finish_run(run_id, outcome, Timeline.from_events(TOKENS))
    divergence = Divergence(index=2, written=" red", plain=" blue", gap=0.25)
    store.keep_losslessness(run_id, Losslessness(tokens=6, checked=2, near_ties=1, divergence=divergence))
    store.set_tags(run_id, ["b", "a"])
    return run_id


def exported(store: RunStore) -> str:
    out = io.StringIO()
    store.export_jsonl(ALL_RUNS, out)
    return out.getvalue()


def test_an_export_of_a_run_with_all_reports_is_what_it_was_to_the_byte(store: RunStore) -> None:
    run_id = keep_run_with_all_reports(store)
    told = exported(store).replace(run_id, "ID").replace(store.get(run_id).created_at.isoformat(), "TIME")
    assert told == EXPORTED.read_text()
