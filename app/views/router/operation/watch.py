"""The Router lab's step of watching: what profiles in use do, against what they promised."""

from __future__ import annotations

from datetime import UTC, datetime

import plotly.graph_objects as go
import streamlit as st

from app import resources, units
from app.costs.pricing import cost, load_prices, prices_path
from app.literal import literal
from app.quantization.tasks import tasks_sha256
from app.router.operation.watch import FEWEST_RUNS, MOST_RUNS, RECENT_RUNS, Watch, WatchedRun, live_tasks, watch
from app.router.way import Step
from app.session import playground
from app.session.labs import router as lab_session
from app.session.labs.router import DATA_SET, WATCHED
from app.store import KeptProfile, RouterStore, RunStore
from app.views.router.judge import judged_help, offer_live_judging
from app.views.router.operation.use import show_promise
from app.views.router.words import metric, signed_percent
from app.views.runs.naming import one_line, run_url
from app.views.shared.charts import LEGEND_BELOW, finish, show
from app.views.shared.clock import reader_zone
from app.views.shared.errors import errors_shown
from engine import Task
from engine.types import TierAttempt

_ESCALATIONS = 10


def show_watch(store: RunStore) -> None:
    """The profile chosen among those in use: its alarm, its figures over time, the latest runs sent up."""
    in_use = {kept.id: kept for kept in store.router.profiles() if kept.active}
    if not in_use:
        st.info(
            "No profile is in use. Put one to use, and this shows how it does: the share sent up against the promised "
            "one, what it saves, whether answers are right, and an alarm when its promise no longer holds.",
            icon=":material/visibility:",
        )
        return
    WATCHED.prepare(in_use)
    chosen = in_use[
        st.selectbox(
            "Profile in use",
            list(in_use),
            key=WATCHED.key,
            format_func=lambda id: f"{in_use[id].profile.name} · version {in_use[id].version} · {in_use[id].ladder}",
            persist_state="session",
        )
    ]
    show_promise(chosen.profile)
    tasks = checkable_prompts(store.router)
    found = watch(store, chosen.profile, store.router.evidence(chosen.id), tasks)
    if not found.runs:
        st.info(
            "No run has gone by it yet. Answers in the Playground and in chats count as soon as they are finished; "
            "runs of the labs never do.",
            icon=":material/hourglass_empty:",
        )
        with st.container(horizontal=True):
            st.page_link("pages/playground.py", label="Open the playground", icon=":material/play_circle:")
            st.page_link("pages/chat.py", label="Open the chat", icon=":material/forum:")
        return
    _show_alarms(found)
    _show_figures(found)
    offer_live_judging(store.router, chosen, found)
    _show_share(found)
    _show_escalations(found)
    _offer_recalibration(store.router, chosen, found, tasks)


def checkable_prompts(store: RouterStore) -> dict[str, Task]:
    """Prompts of the kept sets that have a checker, by the prompt; of two sets the newer one's."""
    found: dict[str, Task] = {}
    for kept in reversed(store.sets()):
        found |= _checkable_of(kept.sha256, store)
    return found


@st.cache_resource(show_spinner=False, max_entries=50)
def _checkable_of(sha256: str, _store: RouterStore) -> dict[str, Task]:
    """Of one set, which never changes under its hash; whoever asks may see it."""
    return {task.prompt: task for task in _store.tasks(sha256) if task.checker and not task.history}


def _show_alarms(found: Watch) -> None:
    runs = len(found.runs)
    broken = "The promise no longer holds." if found.word == "promised" else "It does not do as expected."
    if alarms := found.alarms():
        st.error(f"**{broken}** {' '.join(literal(alarm) for alarm in alarms)}", icon=":material/notifications_active:")
    elif runs < FEWEST_RUNS:
        st.info(
            f"{units.counted(runs, 'run')} so far: too few to say whether the promise holds. It takes {FEWEST_RUNS}.",
            icon=":material/hourglass_top:",
        )
    else:
        st.success(
            f"Nothing in the last {min(runs, RECENT_RUNS):,} runs speaks against what was {found.word}.",
            icon=":material/check_circle:",
        )


def _show_figures(found: Watch) -> None:
    prices = load_prices(prices_path(resources.get_settings().data_dir))
    per_hour = playground.price_per_hour(prices.machines[0].per_hour)
    took, alone, known = found.saved_s
    up, down = found.thumbs
    drift = found.drift()
    with st.container(horizontal=True):
        st.metric("Runs", units.count(len(found.runs)), help=f"The latest, {MOST_RUNS:,} at most.")
        promised = found.promised.get("share")
        metric(
            "Sent up",
            found.share,
            units.percent,
            help="The small print is the 95 % interval. "
            + (
                f"{found.word.capitalize()}: {units.percent(promised.value)}, {units.percent(promised.low)} to "
                f"{units.percent(promised.high)}."
                if promised
                else "The profile tells of none."
            ),
        )
        st.metric(
            "Time saved",
            signed_percent(1 - took / alone) if alone else units.MISSING,
            f"{units.seconds(alone - took)}, {found.derived:,} of {known:,} derived" if known else "not known yet",
            delta_color="off",
            delta_arrow="off",
            help="Against the large model alone: measured where it answered, derived from its step and prefill times "
            "where it did not. Below 0 the cascade costs time.",
        )
        st.metric(
            "Money saved",
            literal(units.money((alone - took) * cost(per_hour, 1), prices.currency)) if alone else units.MISSING,
            help=f"Derived: the time saved at {literal(prices.currency)}{per_hour:g} per hour, the Playground's price.",
        )
        metric(
            "Right answers",
            found.correct,
            units.percent,
            help=f"Of {found.checked:,} answers to prompts of a kept set, which can be checked.",
            missing="none can be checked",
        )
        metric(
            "Judged right",
            found.judged,
            units.percent,
            help=judged_help(found),
            missing="none judged",
        )
        st.metric("Thumbs", f"{up:,} up, {down:,} down", help="What people thought of the answers.")
        st.metric(
            "Drift",
            units.MISSING if drift is None or drift.ks_statistic is None else units.percent(drift.ks_statistic),
            "no scores" if drift is None or not drift.live else f"{drift.live:,} scores",
            delta_color="off",
            delta_arrow="off",
            help="Greatest distance between the distributions of the live scores and of those that the threshold was "
            "chosen on (Kolmogorov–Smirnov).",
        )
    for guard in found.runs[-1].report.guards:
        if guard.stepped_aside:
            st.warning(
                f"The break-even guard passes over {literal(guard.tier)}: too few of its answers are kept for the "
                f"cascade to pay. One prompt in {guard.probe_every or 1:,} is still tried.",
                icon=":material/pause_circle:",
            )


def _show_share(found: Watch) -> None:
    points, zone = found.shares(), reader_zone()
    figure = go.Figure()
    if promised := found.promised.get("share"):
        figure.add_hrect(
            y0=100 * promised.low,
            y1=100 * promised.high,
            fillcolor="gray",
            opacity=0.15,
            line_width=0,
        )
        figure.add_scatter(
            x=[points[0].since.astimezone(zone), points[-1].until.astimezone(zone)],
            y=[100 * promised.value] * 2,
            name=f"{found.word}, with its 95 % interval",
            mode="lines",
            line={"dash": "dot", "color": "gray"},
            hoverinfo="skip",
        )
    figure.add_scatter(
        x=[point.until.astimezone(zone) for point in points],
        y=[100 * point.share.value for point in points],
        name="sent up, with its 95 % interval",
        mode="lines+markers",
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [100 * (point.share.high - point.share.value) for point in points],
            "arrayminus": [100 * (point.share.value - point.share.low) for point in points],
        },
        customdata=[
            f"{units.percent(point.share.value)} of {units.counted(point.runs, 'run')}<br>"
            f"{units.percent(point.share.low)} to {units.percent(point.share.high)}"
            for point in points
        ],
        hovertemplate="%{customdata}<extra></extra>",
    )
    figure = finish(figure, "Sent up over time", x="Time", y="Sent to a larger tier")
    figure.update_layout(height=380, legend={**LEGEND_BELOW, "y": -0.3})
    figure.update_yaxes(range=[-4, 104], rangemode="normal", ticksuffix=" %")
    show(figure, key="router-watch-share")


def _show_escalations(found: Watch) -> None:
    sent = [run for run in reversed(found.runs) if run.went_up][:_ESCALATIONS]
    st.subheader("Latest sent up", anchor=False)
    if not sent:
        st.caption("None of these runs was sent up.")
        return
    column = st.column_config
    st.dataframe(
        {
            "Prompt": [one_line(run.prompt) for run in sent],
            "Asked": [run.at for run in sent],
            "Score": [_score(run.report.attempts[0]) for run in sent],
            "Answered by": [run.report.tier for run in sent],
            "Took": [run.seconds for run in sent],
            "Right": [_word(run, found) for run in sent],
            "Receipt": [run_url(run.id) for run in sent],
        },
        hide_index=True,
        placeholder=units.MISSING,
        column_config={
            "Prompt": column.TextColumn(pinned=True, width="large"),
            "Asked": column.DatetimeColumn(format="YYYY-MM-DD HH:mm", timezone=str(reader_zone())),
            "Score": column.NumberColumn(format="%.3f", help="At or above the threshold, the next tier answers."),
            "Took": column.NumberColumn(format="%.2f s", help="E2E, waiting left out."),
            "Receipt": column.LinkColumn(display_text="Open"),
        },
        alt="Latest runs sent up",
    )


def _score(attempt: TierAttempt) -> float | None:
    return attempt.prompt_score if attempt.answer_score is None else attempt.answer_score


def _word(run: WatchedRun, found: Watch) -> str | None:
    if run.correct is not None:
        return "✓ right" if run.correct else "✗ wrong"
    judged = run.judged_by(found.judge)
    return None if judged is None else "✓ judged right" if judged else "✗ judged wrong"


def _offer_recalibration(store: RouterStore, kept: KeptProfile, found: Watch, known: dict[str, Task]) -> None:
    tasks = live_tasks(found.runs, known)
    if st.button(
        "Recalibrate on these prompts",
        key="router-recalibrate",
        icon=":material/autorenew:",
        disabled=not tasks,
        help=f"Keeps the {units.counted(len(tasks), 'prompt')} asked in use as a new data set, to be recorded and "
        "chosen on. Turns of conversations and prompts with a system prompt are left out.",
    ):
        with errors_shown():
            sha256 = tasks_sha256(tasks)
            day = datetime.now(UTC).astimezone(reader_zone()).date().isoformat()
            store.keep_set(sha256, f"Live prompts of {kept.profile.name}, {day}", tasks)
            DATA_SET.turn_to(sha256)
            lab_session.turn_to(Step.RECORD)
            st.rerun()
