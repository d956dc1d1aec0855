"""Judgements of live runs, as a judge would give them."""

from __future__ import annotations

from dataclasses import replace

from app.store import Candidate, JudgeId, LiveJudgement, RunStore

ONE, TWO = JudgeId("a@int4", "a" * 64, 1), JudgeId("b at host", "", 1)


def say(store: RunStore, run_id: str, score: float | None, judge: JudgeId = ONE, **given: object) -> None:
    """A judge gives a run a score, or ``None``."""
    run = store.get(run_id)
    candidate = Candidate(
        run_id=run_id, created_at=run.created_at, config_hash=run.config_hash, model=run.model,
        precision=run.precision, tier=f"{run.model} {run.precision}",
    )  # fmt: skip
    judgement = LiveJudgement(
        run=candidate, judge=judge, score=score, reason="So it is.", no_verdict=None, detail="", seconds=0.5,
        prompt_tokens=100, completion_tokens=10, cost=0.25,
    )  # fmt: skip
    store.judging.keep(replace(judgement, **given))  # type: ignore[arg-type]
