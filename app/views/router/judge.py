"""The model that judges answers where no checker can: which it is, and having it judge what was answered in use."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import streamlit as st

from app import resources, units
from app.literal import literal
from app.router.operation.in_use import cascade_by, tiers_of
from app.router.operation.judging import SAMPLE, judge_live, sample_to_judge
from app.router.operation.profiles import installed_weights
from app.router.operation.watch import RECENT_RUNS, Watch
from app.router.recorded.judging import doubts, judge_among
from app.store import KeptProfile, RouterStore
from app.views.shared.background_job import BackgroundJob
from engine import ModelInfo, list_models
from engine.types import Tier

TRUST = (
    "Small models judge not much better than chance, and an answer that tells the judge what to say can sway them: "
    "mark some answers by hand to see how far to trust it."
)
"""What to tell of a judge."""


def judge_here() -> Tier | None:
    """The judge that this machine has; ``None`` without one."""
    return judge_among(_models())


def judge_weights(judge: Tier) -> str | None:
    """The judge's weights as they are installed; ``None`` where nobody can tell."""
    return installed_weights(judge.model, resources.get_settings().models_dir)


def warn_of_judge(judge: Tier, tiers: Collection[Tier]) -> None:
    """Say why its verdicts on these tiers' answers are to be taken with care, where something speaks against them."""
    if why := doubts(judge, _models(), tiers):
        st.caption(f":orange[:material/balance:] {literal(why)}")


def offer_live_judging(store: RouterStore, kept: KeptProfile, found: Watch) -> None:
    """The button that has some of the latest answers judged, and how far that is."""
    judge = judge_here()
    if judge is None:
        return
    job = BackgroundJob(
        f"router judging {cascade_by(kept.profile).profile_key}",
        title=f"Judging live answers · {kept.profile.name}",
    )
    sample = sample_to_judge(found.runs, judge, judge_weights(judge))
    pressed = job.start_button(
        f"Judge {len(sample) or SAMPLE} of the latest",
        key="router-judge",
        icon=":material/gavel:",
        main=False,
        why_not=""
        if sample
        else f"Of the latest {RECENT_RUNS} answers none is left to judge: checked ones, judged ones and turns of "
        "conversations are left out.",
        help="A model says of each whether it is right: by the reference where the prompt is one of a set that has "
        "one, else by what it knows. Each model that answered has its share. It runs in the background.",
    )
    before = f" So far {literal(str(found.judge))} has judged." if found.judge not in (None, judge) else ""
    st.caption(
        f":material/gavel: The judge is {literal(str(judge))}, the largest model installed.{before}",
        help=TRUST,
    )
    warn_of_judge(judge, tiers_of(kept.profile))
    if pressed:
        engine = resources.get_engine()
        job.start(lambda report: judge_live(engine, store, sample, judge, engine.weights_sha256, report))
    ids = [run.id for run in found.runs]
    job.follow(lambda: sum(map(len, store.run_verdicts(ids).values())))


def judged_help(found: Watch) -> str:
    """What stands behind the share of answers judged right."""
    if found.judge is None:
        return "What a model says of answers that nothing else checks."
    return (
        f"What {literal(str(found.judge))} says, a model as judge, of "
        f"{units.counted(len(found.verdicts), 'answer')} that nothing else checks, drawn from the latest. The small "
        f"print is the exact 95 % interval. {TRUST}"
    )


def _models() -> Sequence[ModelInfo]:
    return list_models(resources.get_settings().models_dir)
