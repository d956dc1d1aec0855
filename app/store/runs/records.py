"""What the store hands out of single runs, and how to ask for them: frozen records, never database rows.

Times of day are aware UTC datetimes; durations are seconds; sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from app.store.people.visibility import Viewer
from app.store.runs.reports import Reports
from app.store.runs.timeline import Timeline
from engine.types import (
    Disturbance,
    FinishReason,
    GenerationRequest,
    Losslessness,
    Message,
    OptimizationConfig,
    RunConfig,
    RunMetrics,
)

Rating = Literal[-1, 0, 1]
"""Thumbs down, none, thumbs up."""


class RunStatus(StrEnum):
    """Where a run stands."""

    RUNNING = "running"
    FINISHED = "finished"
    STOPPED = "stopped"
    """Ended by the user, or by the page being closed. The text so far is kept."""
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    """The process that ran it died. The text last saved is kept."""


class RunSource(StrEnum):
    """Where a run was asked for. The command line keeps no runs of its own yet."""

    PLAYGROUND = "playground"
    CHAT = "chat"
    LAB = "lab"
    """By a lab's measurement: made to be compared, often beside other models, and not what people wait for."""
    EXPERIMENT = "experiment"
    """A cell of an experiment: made to be compared, as a lab's are."""
    SENTINEL = "sentinel"
    """A golden prompt replayed: made to be compared, as a lab's are."""
    API = "api"
    COMMAND_LINE = "command line"


_LABS = (RunSource.LAB, RunSource.EXPERIMENT, RunSource.SENTINEL)
WITHOUT_LABS: tuple[RunSource | None, ...] = (None, *(source for source in RunSource if source not in _LABS))
"""The sources that lists and figures cover unless others are asked for: all but those made to be compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """One run as a list shows it: no answer, no timeline, and only the start of the prompt."""

    id: str
    created_at: datetime
    status: RunStatus
    group_id: str | None
    """Shared by runs that belong together: the lanes of a race, the answers to one turn of a chat."""
    person_id: str | None
    """Who asked; ``None`` for the desk."""
    session_id: str
    """The browser session that asked, of runs stored before persons were known; empty since."""
    source: RunSource | None
    """Where it was asked for; ``None`` where nobody knows, as of some runs stored before this was kept."""
    user: str | None = None
    """For whom, of a run of the API: the caller's ``user``, or else the name of their key."""
    prompt: str
    """The user's last message; cut to its first 200 characters in lists, whole in a `RunRecord`."""
    model: str
    backend: str
    precision: str
    gears: OptimizationConfig
    config_hash: str
    seed: int
    finish_reason: FinishReason | None
    error: str | None
    """Why a failed run failed, written for the user."""
    metrics: RunMetrics | None
    """``None`` where the engine never got to report: running, interrupted and most failed runs."""
    disturbance: Disturbance | None
    """What else used the machine meanwhile; ``None`` where nobody knows."""
    note: str
    rating: Rating
    tags: tuple[str, ...]
    """Sorted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord(RunSummary, Reports):
    """All of one run but its timeline, which `RunStore.timeline` reads."""

    messages: tuple[Message, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)
    """What the API's caller noted on it, or which cell of an experiment it is; empty elsewhere."""
    config: Mapping[str, Any]
    """`RunConfig.to_dict`; `RunConfig.from_dict` turns it back."""
    environment: Mapping[str, Any]
    """What the figures hold for: device, threads, CPU, library versions, git commit."""
    error_kind: str | None
    """The class name of the error."""
    losslessness: Losslessness | None
    """What reading the answer again showed; ``None`` until somebody asked."""
    text: str

    @property
    def asked(self) -> tuple[tuple[Message, ...], str]:
        """What was asked: messages, or without any the text that was continued."""
        return self.messages, "" if self.messages else self.prompt

    def asked_again(self, config: RunConfig) -> GenerationRequest:
        """The same, to be asked of a configuration."""
        return GenerationRequest(
            messages=self.messages, completion=None if self.messages else self.prompt, config=config
        )


@dataclass(frozen=True, slots=True)
class RunOutcome(Reports):
    """How a run ended, as it is written into its row."""

    status: RunStatus
    text: str
    finish_reason: FinishReason | None = None
    error: str | None = None
    error_kind: str | None = None
    metrics: RunMetrics | None = None
    environment: Mapping[str, Any] | None = None
    """Added to what was known when the run was created."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedRun:
    """A run that this process has just brought to its end, for whoever counts them."""

    id: str
    created_at: datetime
    config_hash: str
    config: Mapping[str, Any]
    """`RunConfig.to_dict`."""
    messages: Sequence[Mapping[str, str]]
    """What was asked, each with its ``role`` and ``content``; empty where a text was continued."""
    prompt: str
    """That text, or the last message of the user."""
    model: str
    precision: str
    source: RunSource | None
    outcome: RunOutcome
    timeline: Timeline | None
    """Its tokens; ``None`` where there are none."""


# --- what to list ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Which runs are meant. Every part that is set must hold; an empty part asks nothing.

    Within ``models``, ``backends``, ``precisions``, ``config_hashes``, ``statuses``, ``ratings`` and ``sources``
    one match is enough; of ``tags`` a run must carry all.
    """

    text: str = ""
    """Found anywhere in the prompt, the answer, the note or the error (ASCII letters in either case). Like
    :attr:`tags`, it is looked for only in what the viewer may see, also where counts cover everybody."""
    models: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ()
    config_hashes: tuple[str, ...] = ()
    statuses: tuple[RunStatus, ...] = ()
    ratings: tuple[Rating, ...] = ()
    tags: tuple[str, ...] = ()
    sources: tuple[RunSource | None, ...] = ()
    """``None`` among them stands for runs of which nobody knows."""
    key_names: tuple[str | None, ...] = ()
    """What the API's keys are called; ``None`` among them stands for runs without one."""
    finish_reasons: tuple[str, ...] = ()
    error_kinds: tuple[str, ...] = ()
    """Class names of what failed runs failed with."""
    tiers: tuple[str, ...] = ()
    """Who answered, of cascades."""
    disturbed: bool | None = None
    """Whether runs marked as disturbed are meant, or all the others, those of which nobody knows among them."""
    router_profile: str | None = None
    """`CascadeConfig.profile_key` of the cascade that answered."""
    group_id: str | None = None
    person_id: str | None = None
    """Asked by this person."""
    narrowed: bool = False
    """Whether the index over the texts narrows the search; set by the store, which knows. What is found is the same."""
    viewer: Viewer | None = None
    """Who asks; set by a store that is seen by somebody. ``None`` is the application itself."""
    since: datetime | None = None
    """Created at this moment or later."""
    until: datetime | None = None
    """Created before this moment."""


SortColumn = Literal[
    "created_at",
    "status",
    "model",
    "backend",
    "precision",
    "rating",
    "ttft_s",
    "tpot_s",
    "e2e_s",
    "prompt_tokens",
    "completion_tokens",
    "weights_bytes",
    "kv_bytes",
    "peak_rss_bytes",
]


@dataclass(frozen=True, slots=True)
class RunSort:
    """The order of a list. Runs without a value come last either way; ties are broken by newest first."""

    column: SortColumn = "created_at"
    descending: bool = True


ALL_RUNS = RunFilter()
NEWEST_FIRST = RunSort()


@dataclass(frozen=True, slots=True)
class RunPage:
    """A slice of a list."""

    rows: tuple[RunSummary, ...]
    total: int
    """How many runs the filter lets through, on all pages together."""
    more: bool = False
    """Whether there are more than ``total``, not counted: a text that many runs have is not counted to the end."""
    searched_since: datetime | None = None
    """Only runs that were started then or later were searched, for a text too short for the index; ``None`` where all
    were."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """One distinct configuration among the stored runs."""

    config_hash: str
    model: str
    backend: str
    precision: str
    gears: OptimizationConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Facets:
    """The values that filters can offer, each sorted."""

    models: tuple[str, ...]
    backends: tuple[str, ...]
    precisions: tuple[str, ...]
    tags: tuple[str, ...]
    sources: tuple[RunSource, ...]
    """In the order of their definition."""
    configurations: tuple[Configuration, ...]
