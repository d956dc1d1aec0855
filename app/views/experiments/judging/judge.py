"""The judge of an experiment's answers: asking one, and below what it says, its audit always beside it."""

from __future__ import annotations

from functools import partial

import streamlit as st

from app import resources, units
from app.cascade.pairs import by_size
from app.estimates import answer_times
from app.experiments.judging.budget import FIRST_JUDGEMENTS, FIRST_MINUTES, MOST_JUDGEMENTS, Budget
from app.experiments.judging.hearing import Hearing
from app.experiments.judging.judge import LONGEST_MODEL, Judge, LocalJudge, ServerJudge
from app.experiments.judging.judged import seconds_of
from app.experiments.judging.prompts import VERSION
from app.experiments.judging.running import job_key, judge_experiment, still_to_ask
from app.experiments.results.arrays import Measure
from app.literal import literal
from app.models.remote.registry import RemoteModels
from app.router.operation.profiles import installed_weights
from app.runs.together import sooner_on
from app.store import JudgeId, JudgementKind, KeptRemote, RunStore
from app.views.experiments.judging.heard import choose_limits, choose_whose
from app.views.experiments.judging.said import show_audit, show_scores, show_texts
from app.views.gears.precisions import offered_precisions
from app.views.shared.background_job import BackgroundJob
from engine import list_models
from engine.types import Precision, Tier

_KEY = "experiments-judging"
_SERVER = "A model of a server"
_KINDS = {
    JudgementKind.SCORE: "Grade each answer, 0 to 1",
    JudgementKind.PAIR: "Compare with the baseline's, in both orders",
}
_MOST_MINUTES = 10_000
_REDRAWN = 25
"""Judgements after which what they come to is drawn anew."""


def show_judge(store: RunStore, heard: Hearing) -> None:
    """The section."""
    st.caption(
        "Where no checker can tell, a model can say how good answers are. It is one more opinion: its audit tells how "
        "far to trust it, and a judge that fails marks the decision."
    )
    if not heard.results.applies(Measure.JUDGE).any():
        st.info("Every prompt here has a checker: a judge changes nothing in the decision. It can be audited by them.")
    _ask_one(store, heard)
    if heard.opinions is None or heard.audit is None:
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        choose_whose(store, heard)
        with st.popover("Limits", icon=":material/rule:"):
            choose_limits(store, heard)
    show_scores(heard)
    show_audit(heard.audit, heard.judging.limits)
    show_texts(store, heard)


def _ask_one(store: RunStore, heard: Hearing) -> None:
    """The judge, how it judges, what it may take with the time of that, and the button."""
    id = heard.results.kept.id
    job = BackgroundJob(
        job_key(id), title=f"Judging “{heard.results.kept.name}”", when_cancelled="What was judged is kept."
    )
    tiers, settings, remotes = _tiers(), resources.get_settings(), resources.get_remote_models()
    added = {remote.name: remote for remote in remotes.all()}
    offered = [*tiers, *added, *([_SERVER] if settings.judge_url else [])]
    if not offered:
        st.info("No model is here that could judge: install one, or add a server, on the Models page.")
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.selectbox("Judge", offered, key=f"{_KEY}-who", persist_state="session")
        model = ""
        if name == _SERVER:
            model = st.text_input(
                "Its model", key=f"{_KEY}-model", max_chars=LONGEST_MODEL, persist_state="session"
            ).strip()
        kind = st.selectbox(
            "How", list(_KINDS), format_func=lambda each: _KINDS[each], key=f"{_KEY}-how", persist_state="session"
        )
        most = st.number_input(
            "Judgements at most",
            min_value=1,
            max_value=MOST_JUDGEMENTS,
            value=FIRST_JUDGEMENTS,
            step=50,
            key=f"{_KEY}-most",
            persist_state="session",
        )
        minutes = st.number_input(
            "Minutes at most",
            min_value=1,
            max_value=_MOST_MINUTES,
            value=FIRST_MINUTES,
            step=5,
            key=f"{_KEY}-minutes",
            persist_state="session",
        )
    if name == _SERVER and not model:
        st.caption("Name the server's model, as the server calls it.")
        job.follow()
        return
    if name == _SERVER and settings.judge_url:
        asked = ServerJudge(settings.judge_url, model, settings.judge_key)
        judge, make = asked.id, partial(_server, asked)
        _say_where(asked)
    elif name in added:
        asked = ServerJudge(added[name].url, added[name].served_name)
        judge, make = asked.id, partial(_added, remotes, added[name])
        _say_where(asked)
    else:
        tier = tiers[name]
        weights = installed_weights(tier.model, settings.models_dir) or ""
        judge, make = JudgeId(tier.key, weights, VERSION), partial(_local, tier, f"judge {id}")
    waiting = still_to_ask(heard.results, kind, judge, heard.said)
    budget = min(int(most), len(waiting))
    _say_time(store, heard, judge, tiers.get(name), budget, len(waiting), minutes)
    begun = any(each.key.judge == judge and each.key.kind is kind for each in heard.said)
    pressed = job.start_button(
        "Judge",
        key=f"{_KEY}-start",
        begun=begun and bool(waiting),
        icon=":material/gavel:",
        main=not heard.said,
        why_not="" if waiting else "Of what is answered so far, this judge has been asked about everything.",
        help="It runs in the background. Every verdict is kept at once; cancelled, it goes on from there.",
    )
    if pressed:
        limit = Budget(budget, 60.0 * minutes)
        job.start(lambda report: judge_experiment(make(), store, id, kind, limit, report))
    job.follow(lambda: store.experiments.judged_until(id)[0] // _REDRAWN)


def _local(tier: Tier, salt: str) -> Judge:
    return LocalJudge.installed(resources.get_engine(), tier, salt)


def _server(judge: ServerJudge) -> Judge:
    return judge


def _added(remotes: RemoteModels, remote: KeptRemote) -> Judge:
    return ServerJudge.of(remotes.opened(remote))


def _say_where(judge: ServerJudge) -> None:
    st.caption(f":orange[:material/public: Prompts and answers are sent to {literal(judge.host)}.]")


def _tiers() -> dict[str, Tier]:
    """The models of this machine that can judge, the largest first."""
    offered = offered_precisions()
    precision = Precision.INT4 if Precision.INT4 in offered else offered[0]
    models = by_size(list_models(resources.get_settings().models_dir))
    tiers = [Tier(model=model.name, precision=precision) for model in reversed(models)]
    return {str(tier): tier for tier in tiers}


def _say_time(
    store: RunStore, heard: Hearing, judge: JudgeId, tier: Tier | None, budget: int, waiting: int, minutes: int
) -> None:
    if not budget:
        return
    device = resources.get_engine().status().device
    times = answer_times(store, tier.model, device) if tier else {}
    takes = seconds_of(budget, judge, heard.said, times, sooner_on(device))
    asked = f"{units.counted(budget, 'question')} of {waiting:,} that are left"
    if takes is None:
        st.caption(f"{asked}. How long they take is told once some are answered; no more than {minutes:,} min.")
    elif takes > 60 * minutes:
        st.caption(f"{asked} would take {units.about(takes)}: after {minutes:,} min it stops, and can be resumed.")
    else:
        st.caption(f"{asked} · {units.about(takes)}.")
