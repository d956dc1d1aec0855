"""How runs are named, marked, linked and listed wherever they appear."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any
from urllib.parse import urlencode, urlsplit

import streamlit as st

from app import units
from app.cascade.cascades import cascade_name
from app.speculation.drafters import speculation_name
from app.store import Configuration, Rating, RunSource, RunStatus, RunSummary
from app.views.reports.disturbance import WORD as DISTURBED
from app.views.reports.disturbance import disturbed_mark
from app.views.shared.clock import reader_zone
from engine.types import Backend, CacheMode, GearKind, KVDtype, OptimizationConfig, RunConfig, is_remote

CHAT_PATH = "conversation"
"""The Chat page's place in the URL."""
HISTORY_PATH = "history"
"""The Runs page's place in the URL."""
ROUTER_PATH = "router-lab"
"""The Router lab's place in the URL."""
EXPERIMENTS_PATH = "experiments-lab"
"""The Experiments page's place in the URL."""
COMPARE_PATH = "comparison"
"""The Compare page's place in the URL."""
MAX_COMPARED = 4

RATING_LABELS: dict[Rating, str] = {1: "Up", -1: "Down", 0: ""}
_STATUS_BADGES = {
    RunStatus.RUNNING: (":material/progress_activity:", "blue"),
    RunStatus.FINISHED: (":material/check:", "green"),
    RunStatus.STOPPED: (":material/stop_circle:", "orange"),
    RunStatus.FAILED: (":material/error:", "red"),
    RunStatus.INTERRUPTED: (":material/power_off:", "violet"),
}


_SOURCES = {
    RunSource.PLAYGROUND: "Playground",
    RunSource.CHAT: "Chat",
    RunSource.LAB: "Labs",
    RunSource.EXPERIMENT: "Experiments",
    RunSource.SENTINEL: "Sentinel",
    RunSource.API: "API",
    RunSource.COMMAND_LINE: "Command line",
}
_CACHE_MODES = {CacheMode.PREFIX: " · prefix cache", CacheMode.OFF: " · no KV cache"}


def configuration_name(model: str, backend: str, precision: str, gears: OptimizationConfig | None = None) -> str:
    """A configuration in a few words: the model, its precision (or the backend, if that has but one; neither of a
    server's) and, where the gears are known, the tiers of a cascade, what the KV cache does beyond the usual and who
    drafts."""
    if is_remote(model):
        name = model
    else:
        name = f"{model} · {precision if GearKind.QUANTIZATION in Backend(backend).info.gears else backend}"
    if gears is None:
        return name
    if gears.cascade:
        name = cascade_name(gears.cascade, model if is_remote(model) else f"{model} {precision}")
    in_int8 = " · KV int8" if gears.kv_dtype is KVDtype.INT8 else ""
    window = f" · window {gears.window:,}" if gears.window else ""
    drafts = f" · {speculation_name(gears.speculation)}" if gears.speculation else ""
    return f"{name}{_CACHE_MODES.get(gears.cache_mode, '')}{in_int8}{window}{drafts}"


def config_name(config: RunConfig) -> str:
    """What a run is asked for with: "smollm2-135m · int4 · prefix cache · drafts: n-grams"."""
    return configuration_name(config.model, config.backend, config.precision, config.optimization)


def model_name(config: RunConfig) -> str:
    """The model and its precision alone: "smollm2-135m · int4"."""
    return configuration_name(config.model, config.backend, config.precision)


def run_name(run: RunSummary) -> str:
    """A run by its configuration: "smollm2-135m · int4"."""
    return configuration_name(run.model, run.backend, run.precision, run.gears)


def configuration_names(configurations: Collection[Configuration]) -> dict[str, str]:
    """A name for each configuration by its hash; the hash is added where two would read the same."""
    plain = {c.config_hash: configuration_name(c.model, c.backend, c.precision, c.gears) for c in configurations}
    taken = list(plain.values())
    return {key: name if taken.count(name) == 1 else f"{name} · {key[:6]}" for key, name in plain.items()}


def one_line(text: str, length: int = 60) -> str:
    """The start of a text on one line, with an ellipsis where it was cut."""
    line = " ".join(text[: 4 * length].split())
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"


def source_label(source: RunSource | None) -> str:
    """Where a run was asked for, as a word; empty where nobody knows."""
    return _SOURCES[source] if source else ""


def status_badge(status: RunStatus) -> None:
    """The status as a word with an icon and a colour."""
    icon, colour = _STATUS_BADGES[status]
    st.badge(str(status).capitalize(), icon=icon, color=colour)  # type: ignore[arg-type]


def link_to_run(run_id: str) -> None:
    """The way to a run's own page."""
    st.page_link("pages/runs.py", label="Open this run", icon=":material/history:", query_params={"run": run_id})


def run_url(run_id: str) -> str:
    """The permalink of a run."""
    return page_url(HISTORY_PATH, run=run_id)


def page_url(path: str, **query: str | Sequence[str]) -> str:
    """The address of a page as the reader's browser would open it; several values of a parameter are repeated."""
    here = urlsplit(st.context.url or "")
    origin = f"{here.scheme}://{here.netloc}" if here.netloc else ""
    return f"{origin}/{path}?{urlencode(query, safe=',', doseq=True)}"


def run_columns(runs: Sequence[RunSummary]) -> dict[str, list[Any]]:
    """The columns of a table of runs; :func:`column_config` says how they are written."""
    metrics = [run.metrics for run in runs]
    marks = [disturbed_mark(run.disturbance) for run in runs]
    return {
        "started": [run.created_at for run in runs],
        "status": [str(run.status) for run in runs],
        "source": [source_label(run.source) for run in runs],
        "prompt": [one_line(run.prompt, 120) for run in runs],
        "configuration": [run_name(run) for run in runs],
        "ttft": [m.ttft_s * 1000 if m and m.ttft_s is not None else None for m in metrics],
        "tpot": [m.tpot_s * 1000 if m and m.tpot_s is not None else None for m in metrics],
        "e2e": [m.e2e_s if m else None for m in metrics],
        **({"disturbed": marks} if any(marks) else {}),
        "tokens": [m.completion_tokens if m else None for m in metrics],
        "rating": [RATING_LABELS[run.rating] for run in runs],
        "tags": [list(run.tags) for run in runs],
        "note": [one_line(run.note, 120) for run in runs],
    }


def column_config() -> dict[str, Any]:
    """Headings, units and formats for the columns of :func:`run_columns`."""
    column = st.column_config
    return {
        "started": column.DatetimeColumn("Started", format="YYYY-MM-DD HH:mm:ss", timezone=str(reader_zone())),
        "status": column.TextColumn("Status"),
        "source": column.TextColumn("Source", help="Where the run was asked for."),
        "prompt": column.TextColumn("Prompt", width="medium"),
        "configuration": column.TextColumn("Configuration"),
        "ttft": column.NumberColumn("TTFT (ms)", format="%.0f", help="Time to first token."),
        "tpot": column.NumberColumn("TPOT (ms)", format="%.1f", help="Time per output token after the first."),
        "e2e": column.NumberColumn("E2E (s)", format="%.2f", help="From arrival to the last token."),
        "disturbed": column.TextColumn(
            DISTURBED, width="medium", help="What held this run up, so that its speed is not to be relied on."
        ),
        "tokens": column.NumberColumn("Tokens", format="%d", help="Tokens of the answer."),
        "rating": column.TextColumn("Rating"),
        "tags": column.ListColumn("Tags"),
        "note": column.TextColumn("Note"),
    }


def describe(run: RunSummary) -> str:
    """A run on one line, for pickers: when, what ran, and the start of the prompt."""
    return f"{units.moment(run.created_at, reader_zone())} · {run_name(run)} · {one_line(run.prompt)}"
