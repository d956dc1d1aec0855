"""What all sessions share, built once. The only place with ``st.cache_resource``.

Each of these may raise a `GearboxError` written for the user; nothing is cached then.
"""

from __future__ import annotations

import sys

import streamlit as st

from app.cache.simulations import Simulations
from app.jobs import Jobs
from app.quantization.estimates import WeightEstimates
from app.router.lab import RouterLab
from app.runs.races import Races
from app.settings import Settings
from app.speculation.drafter_choices import DrafterChoices
from app.store import RunStore
from engine import Engine

_SWITCH_INTERVAL_S = 0.001
"""Python's own 5 ms is how long the engine's thread waits for the GIL each time it needs it while a page renders."""


@st.cache_resource(show_spinner=False)
def get_settings() -> Settings:
    """The installation's paths and options.

    Raises:
        SettingsError: an environment variable cannot be used.
    """
    return Settings.from_env()


@st.cache_resource(show_spinner="Opening the run database", on_release=lambda store: store.close())
def get_store() -> RunStore:
    """The runs kept.

    Raises:
        StoreError: the database cannot be opened.
    """
    settings = get_settings()
    return RunStore.open(settings.database_url, [settings.data_dir])


@st.cache_resource(show_spinner=False, on_release=lambda engine: engine.close())
def get_engine() -> Engine:
    """The one engine, which serves every session in turn."""
    settings = get_settings()
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    return Engine(
        settings.models_dir,
        threads=settings.threads,
        model_memory_bytes=settings.model_memory_bytes,
        device=settings.device,
        kv_cache_bytes=settings.kv_cache_bytes,
        verify_cache=settings.verify_cache,
        shared_prompts=settings.shared_prompts,
    )


@st.cache_resource(show_spinner=False, scope="session", on_release=lambda salt: get_engine().forget_session(salt))
def hold_kv_for(salt: str) -> str:
    """Say that a session is there: the KV kept for it goes when it ends."""
    return salt


@st.cache_resource(show_spinner=False, on_release=lambda jobs: jobs.close())
def get_jobs() -> Jobs:
    """Work in the background, such as installing models; one job for each key, whoever asked."""
    return Jobs()


@st.cache_resource(show_spinner=False, on_release=lambda races: races.close())
def get_races() -> Races:
    """The races and the chat answers that run, whoever looks at them."""
    return Races(unwatched_s=get_settings().unwatched_s)


@st.cache_resource(show_spinner=False)
def get_router_lab() -> RouterLab:
    """What was recorded for routers, and what was worked out of it.

    Raises:
        StoreError: the database cannot be opened.
    """
    return RouterLab(get_store())


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
def get_drafter_choices() -> DrafterChoices:
    """Which drafters suit a model, asked in the background."""
    return DrafterChoices(get_engine(), get_jobs(), get_settings().models_dir)
