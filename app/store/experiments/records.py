"""What the experiments' side of the store hands out and takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from app.store.leases.records import UnderWay


class Pass(StrEnum):
    """What a cell was answered for."""

    QUALITY = "quality"
    """For its text: answers share the engine's passes, and their times are not their own."""
    SPEED = "speed"
    """For its times: it has the engine alone."""


class ExperimentState(StrEnum):
    """How an experiment stands, as far as it was written; one whose server was killed still says that it runs."""

    NEW = "new"
    RUNNING = "running"
    PAUSED = "paused"
    FAILED = "failed"
    """It stopped at something that somebody has to look at; it goes on where it was once that is done."""
    DONE = "done"


@dataclass(frozen=True, slots=True, order=True)
class CellKey:
    """Which cell of an experiment."""

    kind: Pass
    configuration: int
    """Its place among the experiment's configurations, from 0."""
    prompt_id: str
    repeat: int
    """From 0."""

    def to_metadata(self) -> dict[str, str]:
        """As its run has it, as texts by name."""
        return {
            "pass": str(self.kind),
            "configuration": str(self.configuration),
            "prompt": self.prompt_id,
            "repeat": str(self.repeat),
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Self | None:
        """The inverse of :meth:`to_metadata`; ``None`` where a run has something else."""
        try:
            kind, place, repeat = Pass(metadata["pass"]), int(metadata["configuration"]), int(metadata["repeat"])
            return cls(kind, place, metadata["prompt"], repeat)
        except (KeyError, ValueError):
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell: what one configuration made of one prompt, once. Times are seconds, sizes bytes."""

    key: CellKey
    run_id: str | None
    """The run that it is; ``None`` once that was deleted, and its figures stay."""
    weights_sha256: str
    """Of all models of the configuration together."""
    failure: str | None = None
    """Why there is no answer, for the user; ``None`` where there is one."""
    score: float | None = None
    """The checker's, 0 to 1; ``None`` where there is no checker, or it could not tell."""
    same_text: bool | None = None
    """Whether the answer is the baseline's, but for space around it; ``None`` where a checker says what is right, or
    the baseline has no answer."""
    word_f1: float | None = None
    """F1 of its words with those of the baseline's answer, 0 to 1; ``None`` in the same cases."""
    kld: float | None = None
    """KLD from the 16-bit baseline, in nats, a mean over the tokens of the baseline's answer; ``None`` where it was not
    measured."""
    kld_tokens: int | None = None
    """Tokens of that answer."""
    no_kld: str | None = None
    """Why it could not be measured though it was tried, for the user."""
    answer_sha256: str | None = None
    """Of the answer's text."""
    disturbed: bool | None = None
    """Whether others took so much of the processor that its times are not to be relied on."""
    e2e_s: float | None = None
    ttft_s: float | None = None
    tpot_s: float | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    weights_bytes: int | None = None
    kv_bytes: int | None = None
    peak_rss_bytes: int | None = None
    mean_batch_size: float | None = None
    energy_j: float | None = None
    """Joules of the machine while it answered alone; ``None`` where nothing counts them."""
    energy_by: str | None = None
    """What counted them: "RAPL"."""

    @property
    def failed(self) -> bool:
        """Whether the configuration gave no answer."""
        return self.failure is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptExperiment:
    """An experiment without its prompts and cells."""

    id: str
    """The group of its runs too."""
    name: str
    question: str
    person_id: str | None
    created_at: datetime
    state: ExperimentState
    error: str | None
    """Why it stopped, for the user, where it failed."""
    design: Mapping[str, Any]
    """`Design.to_dict`."""
    design_sha256: str
    """Identity of the design with its prompts: the same file asked for again goes on with the same experiment."""
    prompts: int
    cells: int
    """Kept so far."""
    failed: int
    """Of these, without an answer."""
    under_way: UnderWay | None
    """The job that goes on with it right now, wherever it does; ``None`` where none does."""
    of_autopilot: bool
    """Whether it is a measurement of an autopilot, which reads its figures again whenever it is looked at."""
    judging: Mapping[str, Any] | None = None
    """`Judging.to_dict`; ``None`` until somebody has set it."""


class JudgementKind(StrEnum):
    """What a judge is asked."""

    SCORE = "score"
    """How good one answer is, 0 to 1."""
    PAIR = "pair"
    """Which of two answers is better."""


class NoVerdict(StrEnum):
    """Why nothing is known of what a judge thinks of an answer."""

    UNREADABLE = "unreadable"
    """It wrote something else than a verdict."""
    EMPTY = "empty"
    """It wrote nothing."""
    REFUSED = "refused"
    """It cannot take so long a text."""
    NO_ANSWER = "no answer"
    """It could not be reached, or broke down: it is asked again the next time."""


@dataclass(frozen=True, slots=True, order=True)
class JudgeId:
    """Who judges, and by which prompts: verdicts of two of them are never mixed."""

    name: str
    """A tier as ``model@precision``, or a model and the server that has it."""
    weights_sha256: str
    """Empty where nobody can tell: on a server."""
    version: int
    """Of the judge's prompts."""


@dataclass(frozen=True, slots=True, order=True)
class JudgementKey:
    """Which texts a judge was asked about: the same text of two configurations is judged once."""

    judge: JudgeId
    kind: JudgementKind
    prompt_id: str
    first_sha256: str
    """:func:`answer_sha256` of the answer, of two answers the one shown first."""
    second_sha256: str = ""
    """Of the one shown second; empty where there is but one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a judge says of an answer, or that it says nothing."""

    key: JudgementKey
    score: float | None
    """0 to 1; of two answers, 1 for the first, 0 for the second, 0.5 for neither. ``None`` without a verdict."""
    reason: str = ""
    """In the judge's words."""
    no_verdict: NoVerdict | None = None
    detail: str = ""
    """What it wrote instead of a verdict, or what went wrong, cut short."""
    seconds: float = 0.0
    """What it added to the time of the job: several are asked about at once."""
    prompt_tokens: int | None = None
    """``None`` where a server does not tell, like the following."""
    completion_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class RunScore:
    """What a run scored as a cell."""

    kind: Pass
    prompt_id: str
    score: float | None
    """The checker's, 0 to 1; ``None`` where there is no checker, it could not tell, or another run's text counts."""


@dataclass(frozen=True, slots=True)
class LostCell:
    """A run of an experiment that no cell has: the server ended between the two."""

    key: CellKey
    run_id: str
    again: bool
    """Whether it is the second one of a cell that was disturbed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAutopilot:
    """An autopilot without its prompts and what it measured."""

    id: str
    name: str
    person_id: str | None
    created_at: datetime
    state: ExperimentState
    error: str | None
    """Why it stopped, for the user, where it failed."""
    plan: Mapping[str, Any]
    """`Plan.to_dict`."""
    under_way: UnderWay | None
    """The job that goes on with it right now, wherever it does; ``None`` where none does."""


@dataclass(frozen=True, slots=True)
class KeptHeat:
    """An experiment that an autopilot made."""

    experiment_id: str
    design_sha256: str
    seconds: float
    """What it took of the time budget so far."""
