"""What all sessions share, built once. The only place with ``st.cache_resource``.

Each of these may raise a `GearboxError` written for the user; nothing is cached then.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import streamlit as st
from streamlit import config
from streamlit.runtime.scriptrunner import get_script_run_ctx

from app.attendance import Attendance
from app.background.jobs import Jobs, Report
from app.cache.simulations import Simulations
from app.costs.pricing import load_prices, prices_path
from app.doors.person import person_id
from app.engines import open_engine
from app.models.hub import HubModels
from app.models.machine import MachineFacts
from app.models.own import OwnModels
from app.models.remote.offered import Offers
from app.models.remote.registry import RemoteModels
from app.operations.alerts.watch import AlertWatch
from app.operations.idle.duties import Duty, IdleWork
from app.operations.judging.duty import JudgingDuty
from app.operations.judging.running import Judging
from app.operations.sentinel.duty import SentinelDuty
from app.operations.sentinel.replaying import replay
from app.quantization.estimates import WeightEstimates
from app.router.lab import RouterLab
from app.router.recorded.recordings import Recordings
from app.router.recorded.sizes import model_sizes
from app.runs.metrics import Metrics
from app.runs.races import Races
from app.secrets import Secrets
from app.settings import Settings
from app.speculation.drafter_choices import DrafterChoices
from app.store import RetentionRule, RunStore, SentinelRound, Viewer
from app.telemetry.options import TelemetryOptions
from app.telemetry.telemetry import Telemetry
from engine import Engine

SWITCH_INTERVAL_S = 0.001
"""Python's own 5 ms is how long the engine's thread waits for the GIL each time it needs it while a page renders."""


@st.cache_resource(show_spinner=False)
def get_settings() -> Settings:
    """The installation's paths and options.

    Raises:
        SettingsError: an environment variable cannot be used.
    """
    return Settings.from_env()


@st.cache_resource(show_spinner=False, on_release=lambda store: store.close())
def get_whole_store() -> RunStore:
    """All that is kept, whoever asks.

    Raises:
        StoreError: the database cannot be opened.
    """
    settings = get_settings()
    store = RunStore.of(settings)
    store.observers += [get_metrics().observe, get_telemetry().observe]
    store.retention.prune_in_background(RetentionRule(settings.keep_days, settings.keep_runs) or None)
    return store


@st.cache_resource(show_spinner=False)
def get_metrics() -> Metrics:
    """The runs counted since the server started, and how busy the engine is."""
    return Metrics(lambda: get_engine().status())


@st.cache_resource(show_spinner=False, on_release=lambda telemetry: telemetry.close())
def get_telemetry() -> Telemetry:
    """Runs as traces and metrics, for a collector that the environment names."""
    return Telemetry(TelemetryOptions.from_env())


@st.cache_resource(show_spinner=False, on_release=lambda watch: watch.close())
def get_alert_watch() -> AlertWatch:
    """The server's own look at the alert rules, from the first time that this is called."""
    return AlertWatch(get_whole_store, get_settings().data_dir)


def get_store() -> RunStore:
    """What is kept, as whoever looks at the page may see it.

    Raises:
        StoreError: the database cannot be opened.
    """
    return get_whole_store().seen_by(viewer())


def viewer() -> Viewer | None:
    """Whoever looks at the page; ``None`` where no page is drawn, on a thread of the application's own.

    They see everything where nobody comes in from outside, or where the administrator says that the desk is shared.
    """
    if get_script_run_ctx(suppress_warning=True) is None:
        return None
    settings = get_settings()
    return Viewer(person_id(), sees_all=settings.shared_desk or only_this_machine(settings))


def only_this_machine(settings: Settings) -> bool:
    """Whether nobody from outside is meant to come in, as the server was started."""
    return settings.allowed_hosts.only_this_machine(config.get_option("server.address"))


@st.cache_resource(show_spinner=False, on_release=lambda engine: engine.close())
def get_engine() -> Engine:
    """The one engine, which serves every session in turn."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    return open_engine(get_settings(), get_remote_models().resolve)


@st.cache_resource(show_spinner=False)
def get_remote_models() -> RemoteModels:
    """The models of servers, with the keys that are kept in this server's memory alone."""
    return RemoteModels(lambda: get_store().remotes, Secrets.of(get_settings()))


@st.cache_resource(show_spinner=False)
def get_offers() -> Offers:
    """What servers say that they have, looked up in the background."""
    return Offers(get_jobs())


@st.cache_resource(show_spinner=False, on_release=lambda attendance: attendance.close())
def get_attendance() -> Attendance:
    """Who is here; the KV of those who have been away for long is let go of."""
    return Attendance(lambda person: get_engine().forget_session(person), away_s=get_settings().away_s)


@st.cache_resource(show_spinner=False, scope="session", on_release=lambda leave: leave())
def hold_kv_for(person: str) -> Callable[[], None]:
    """Say that a session of somebody is there: the KV kept for them goes a while after the last of them has ended."""
    return get_attendance().arrive(person)


@st.cache_resource(show_spinner=False, on_release=lambda jobs: jobs.close())
def get_jobs() -> Jobs:
    """Work in the background, such as installing models; one job for each key, whoever asked."""
    return Jobs()


@st.cache_resource(show_spinner=False, on_release=lambda work: work.close())
def get_idle_work() -> IdleWork:
    """What this server does by itself while nobody asks anything of it."""
    duties: list[Duty] = [SentinelDuty(get_engine, get_whole_store), JudgingDuty(get_judging)]
    return IdleWork(get_jobs(), get_engine, lambda: duties)


def replay_golden_prompts(golden_ids: Sequence[str], report: Report) -> SentinelRound:
    """Replay golden prompts as the application itself, whoever asks for it; see `app.operations.sentinel.replaying`."""
    return replay(get_engine(), get_whole_store(), report, golden_ids=golden_ids)


def get_judging() -> Judging:
    """What judges live traffic.

    Raises:
        StoreError: the database cannot be opened.
        PricesError: the price file cannot be read.
    """
    settings, engine = get_settings(), get_engine()
    return Judging(
        engine=engine,
        store=get_whole_store(),
        open=lambda judge: judge.opened(engine, settings.judge_url, settings.judge_key, get_remote_models().resolve),
        prices=get_remote_models().prices,
        per_hour=load_prices(prices_path(settings.data_dir)).machines[0].per_hour,
    )


@st.cache_resource(show_spinner=False, on_release=lambda races: races.close())
def get_races() -> Races:
    """The races and the chat answers that run, whoever looks at them."""
    return Races(unwatched_s=get_settings().unwatched_s)


@st.cache_resource(show_spinner=False)
def _whole_router_lab() -> RouterLab:
    models_dir = get_settings().models_dir
    return RouterLab(get_whole_store(), sizes=lambda: model_sizes(models_dir))


def get_router_lab() -> RouterLab:
    """What was recorded for routers, and what was worked out of it, as whoever looks at the page may see it.

    Raises:
        StoreError: the database cannot be opened.
    """
    return _whole_router_lab().seen_by(get_store())


@st.cache_resource(show_spinner=False)
def get_recordings() -> Recordings:
    """What is being recorded for routers, whoever asked."""
    return Recordings()


@st.cache_resource(show_spinner=False)
def get_simulations() -> Simulations:
    """What the prefix cache would make of logs."""
    return Simulations(get_jobs())


@st.cache_resource(show_spinner=False)
def get_estimates() -> WeightEstimates:
    """What models will take in memory, reckoned in the background."""
    settings = get_settings()
    return WeightEstimates(settings.models_dir, get_jobs(), settings.device)


@st.cache_resource(show_spinner=False)
def get_own_models() -> OwnModels:
    """GGUF files that somebody may add, looked at in the background."""
    return OwnModels(get_jobs(), get_settings().device)


@st.cache_resource(show_spinner=False)
def get_hub_models() -> HubModels:
    """The model hub, asked in the background."""
    settings = get_settings()
    return HubModels(get_jobs(), settings.models_dir, settings.device)


@st.cache_resource(show_spinner=False)
def get_machine_facts() -> MachineFacts:
    """What is known of this machine, for what models would be on it."""
    settings = get_settings()
    return MachineFacts(get_jobs(), settings.models_dir, get_estimates(), settings.threads)


@st.cache_resource(show_spinner=False)
def get_drafter_choices() -> DrafterChoices:
    """Which drafters suit a model, asked in the background."""
    return DrafterChoices(get_engine(), get_jobs(), get_settings().models_dir)
