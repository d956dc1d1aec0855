"""The measurements of a run: what each is called, what it means, and how it is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import streamlit as st

from app import units
from app.literal import literal
from app.runs.verdict import Figure
from app.store import RunRecord
from engine.types import RemoteReport, RunMetrics

NOT_TOLD = "not told"
"""Instead of a figure that a server keeps to itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One measurement."""

    label: str
    help: str
    read: Callable[[RunMetrics], float | None]
    write: Callable[[float | None], str]
    unit: str = ""
    """The unit of a chart's axis; how many of what :attr:`read` gives make one is :attr:`per_unit`."""
    per_unit: float = 1.0
    figure: Figure | None = None
    """Of a time that runs are compared by, which of them."""

    @property
    def is_time(self) -> bool:
        """Whether it is a duration, and not an amount."""
        return self.unit in ("ms", "s")

    told: Callable[[RemoteReport], bool] = lambda remote: True
    """Whether a server that answered tells it."""

    def text(self, metrics: RunMetrics, remote: RemoteReport | None = None) -> str:
        """The measured value with its unit; of a run on a server, that it is not told where it is not."""
        return NOT_TOLD if remote and not self.told(remote) else self.write(self.read(metrics))

    def hint(self, remote: RemoteReport | None = None) -> str:
        """What it means, and why it is missing."""
        if remote is None or self.told(remote):
            return self.help
        return f"{self.help} {literal(remote.server)} does not tell it."

    def share(self, first: float | None, value: float | None) -> str:
        """How an amount compares with the first: "71 % less"; empty where it cannot be told."""
        if not first or not value:
            return ""
        share = value / first - 1
        return f"{units.percent(abs(share))} {'less' if share < 0 else 'more'}" if abs(share) >= 0.005 else "the same"


def _never(_remote: RemoteReport) -> bool:
    return False


def _tokens(value: float | None) -> str:
    return units.count(None if value is None else round(value))


_MS, _MIB = 1e-3, 2.0**20

TTFT = Metric(
    label="TTFT",
    help="Time to first token: from the request's arrival, queueing included.",
    read=lambda m: m.ttft_s,
    write=units.seconds,
    unit="ms",
    per_unit=_MS,
    figure=Figure.TTFT,
)
TPOT = Metric(
    label="TPOT",
    help="Time per output token after the first: (E2E − TTFT) / (tokens − 1).",
    read=lambda m: m.tpot_s,
    write=units.seconds,
    unit="ms",
    per_unit=_MS,
    figure=Figure.TPOT,
)
DECODE_RATE = Metric(label="Tokens per second", help="1 / TPOT.", read=lambda m: m.tokens_per_second, write=units.rate)
E2E = Metric(
    label="E2E",
    help="From the request's arrival to its last token. Loading is left out.",
    read=lambda m: m.e2e_s,
    write=units.seconds,
    unit="s",
    figure=Figure.E2E,
)
PROMPT_TOKENS = Metric(
    label="Prompt tokens",
    help="Tokens of the whole conversation sent.",
    read=lambda m: m.prompt_tokens,
    write=_tokens,
    told=lambda remote: remote.prompt_counted,
)
CACHED_TOKENS = Metric(
    label="Reused tokens",
    help="Prompt tokens whose keys and values were kept from an earlier run.",
    read=lambda m: m.cached_tokens,
    write=_tokens,
    told=lambda remote: remote.cached_tokens is not None,
)
REPETITION = Metric(
    label="Repetition",
    help="Share of the answer's 4-token sequences that had stood in it before.",
    read=lambda m: m.repetition,
    write=units.percent,
)
COMPLETION_TOKENS = Metric(
    label="Answer tokens",
    help="Tokens the model produced, its end mark included.",
    read=lambda m: m.completion_tokens,
    write=_tokens,
)
ACCEPTANCE_RATE = Metric(
    label="Acceptance rate",
    help="Drafted tokens that stand in the answer, over all that were drafted.",
    read=lambda m: m.acceptance_rate,
    write=units.percent,
)
ACCEPTANCE_LENGTH = Metric(
    label="Acceptance length",
    help="Mean tokens that a pass over a draft gave: 1 + accepted tokens / verification steps.",
    read=lambda m: m.mean_acceptance_length,
    write=units.tokens,
)
DISCARDED_TOKENS = Metric(
    label="Thrown away",
    help="Tokens that smaller models of a cascade wrote before a larger one was asked. TTFT and E2E include them.",
    read=lambda m: m.discarded_tokens,
    write=_tokens,
)
WEIGHTS = Metric(
    label="Weights",
    help="Memory that the weights take of all models that the run kept there: those that may answer, and those that "
    "may draft.",
    read=lambda m: m.weights_bytes,
    write=units.memory,
    told=_never,
    unit="MiB",
    per_unit=_MIB,
)
KV = Metric(
    label="KV cache",
    help="Memory of keys and values in use at the end of the run.",
    read=lambda m: m.kv_bytes,
    write=units.memory,
    told=_never,
    unit="MiB",
    per_unit=_MIB,
)
RUN_MEMORY = Metric(
    label="Weights and KV",
    help="Memory of this run: the weights of its models, drafting ones included, and the keys and values in use at its "
    "end.",
    read=lambda m: m.weights_bytes + m.kv_bytes,
    write=units.memory,
    told=_never,
    unit="MiB",
    per_unit=_MIB,
)
PEAK_MEMORY = Metric(
    label="Peak of the process",
    help="Greatest memory of the whole process while the run lasted: other models, kept KV and the app included. It is "
    "no property of this run.",
    read=lambda m: m.peak_rss_bytes,
    write=units.memory,
    told=_never,
    unit="MiB",
    per_unit=_MIB,
)
BATCH_SIZE = Metric(
    label="Batch size",
    help="Requests that shared a pass of the model, this one included, on average. The answer is the same as alone; "
    "the times are not.",
    read=lambda m: m.mean_batch_size,
    write=units.mean,
)
QUEUE = Metric(
    label="Queued",
    help="Time spent waiting for other runs; part of TTFT.",
    read=lambda m: m.queue_s,
    write=units.seconds,
)
LOAD = Metric(
    label="Loading",
    help="Time to make the model ready; part of no other figure.",
    read=lambda m: m.load_s,
    write=units.seconds,
)

ALL = (
    TTFT,
    TPOT,
    DECODE_RATE,
    E2E,
    PROMPT_TOKENS,
    CACHED_TOKENS,
    COMPLETION_TOKENS,
    REPETITION,
    WEIGHTS,
    KV,
    PEAK_MEMORY,
    QUEUE,
    LOAD,
)
DRAFTING = (ACCEPTANCE_RATE, ACCEPTANCE_LENGTH)
"""Of runs in which something was drafted."""


def gear_metrics(metrics: RunMetrics) -> tuple[Metric, ...]:
    """The figures of gears that did something in a run, and of company that it had."""
    drafting = DRAFTING if metrics.drafted_tokens else ()
    discarding = (DISCARDED_TOKENS,) if metrics.discarded_tokens else ()
    sharing = (BATCH_SIZE,) if metrics.is_shared else ()
    return (*drafting, *discarding, *sharing)


def show_metrics(metrics: RunMetrics, which: Sequence[Metric] = ALL, *, remote: RemoteReport | None = None) -> None:
    """A wrapping row of figures, each with its meaning on hover; those of gears where they did something, and of a run
    on a server (``remote``) the network's part."""
    with st.container(horizontal=True, gap="medium"):
        for metric in (*which, *gear_metrics(metrics)):
            st.metric(metric.label, metric.text(metrics, remote), help=metric.hint(remote), width="content")
        if remote:
            show_network(remote, width="content")


def show_network(remote: RemoteReport, *, width: Literal["stretch", "content"] = "stretch") -> None:
    """How much of TTFT the way to the server and back may be."""
    if remote.first_byte_s is None:
        return
    connecting = "" if remote.connect_s is None else f" {units.seconds(remote.connect_s)} of it a new connection."
    st.metric(
        "Network, at most",
        units.seconds((remote.connect_s or 0.0) + remote.first_byte_s),
        help=f"Of TTFT: up to the first byte of the server's answer, with what it does before that.{connecting}",
        width=width,
    )


def show_server_notes(remote: RemoteReport) -> None:
    """What is to be known of a server's figures: what it was not asked for, and whose counts are told."""
    notes = list(remote.notes)
    if not remote.counted:
        notes.append(f"{remote.server} does not count the answer's tokens: pieces of its text are taken for them.")
    if remote.shared:
        notes.append(f"Others used {remote.server} meanwhile: its counters are not this run's, and not taken for it.")
    for note in notes:
        st.caption(f":material/dns: {literal(note)}")


def cached_tokens(run: RunRecord) -> int | None:
    """Prompt tokens that a run reused; ``None`` where it was not measured, or a server answered that does not tell."""
    remote = RemoteReport.of(run.environment)
    if run.metrics is None or (remote and not CACHED_TOKENS.told(remote)):
        return None
    return run.metrics.cached_tokens


def reused_words(prompt_tokens: int, cached: int | None, saved: str = "") -> tuple[str, ...]:
    """How much of a prompt was reused and computed: "310 tokens reused, saved about 310 ms", "24 tokens computed"."""
    if cached is None:
        return (f"{units.counted(prompt_tokens, 'prompt token')}, reused: {NOT_TOLD}",)
    reused = f"{units.counted(cached, 'token')} reused{f', {saved}' if saved else ''}"
    return reused, f"{units.counted(prompt_tokens - cached, 'token')} computed"
