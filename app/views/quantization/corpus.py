"""The lab on a corpus: quality, speed and memory of each precision, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import streamlit as st

from app import resources, units
from app.environment import measured_here
from app.estimates import answer_times
from app.literal import literal
from app.quantization.corpus import measure_corpus
from app.quantization.degradation import alarms
from app.quantization.durations import corpus_seconds, windows_in
from app.runs.invariants import share_faults
from app.runs.verdict import Figure, Noise, Paired, gain
from app.session.labs.quantization import CORPUS
from app.store import AlarmLimits, CorpusResult, LabStore, SpeedResult
from app.views.gears.precisions import choose_precisions, offered_precisions
from app.views.race.noise import machine_noise
from app.views.reports.alarm import show_alarm
from app.views.reports.disturbance import WORD as DISTURBED
from app.views.runs.naming import one_line
from app.views.shared import charts
from app.views.shared.background_job import BackgroundJob
from app.views.shared.errors import errors_shown
from app.views.shared.faults import show_faults
from engine import Corpus, corpus_from, default_corpus
from engine.types import Precision
from engine.untrusted import valid_text

_MIB = 2**20
_TYPES = ("txt", "md", "jsonl", "csv", "json", "py")


@dataclass(frozen=True, slots=True)
class Row:
    """One precision in the table."""

    precision: str
    result: CorpusResult | None
    speed: SpeedResult | None

    @property
    def finished(self) -> bool:
        """Whether nothing is left to measure."""
        return self.result is not None and self.result.stats is not None and self.speed is not None


def read_rows(lab: LabStore, model: str, corpus_sha256: str) -> list[Row]:
    """What is known of each precision offered, under the weights that were measured last.

    Raises:
        StoreError: the run database cannot be read.
    """
    results = lab.corpus_results(model)
    if not results:
        return [Row(str(precision), None, None) for precision in offered_precisions()]
    weights = results[0].weights_sha256
    on_corpus = {r.precision: r for r in results if (r.weights_sha256, r.corpus_sha256) == (weights, corpus_sha256)}
    device = resources.get_engine().status().device
    speeds = {
        speed.precision: speed
        for speed in lab.speeds(model)
        if speed.weights_sha256 == weights and measured_here(speed.environment, device)
    }
    return [Row(str(p), on_corpus.get(p), speeds.get(p)) for p in offered_precisions()]


def show_corpus_lab(model: str, lab: LabStore, limits: AlarmLimits) -> None:
    """What to measure, how far it is, and the figures."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        corpus_sha256, name = _choose_corpus(lab)
        _add_corpus(lab)
    job = BackgroundJob(f"quantization corpus {model} {corpus_sha256}", title=f"Measuring {model} on {name}")
    rows = read_rows(lab, model, corpus_sha256)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = choose_precisions("lab-corpus-precisions", offered_precisions(), disabled=job.running)
        _measure(model, lab, job, corpus_sha256, chosen, rows)
    if not job.running:
        _say_how_long(model, _corpus(lab, corpus_sha256), chosen, rows)

    def finished() -> int:
        return sum(row.finished for row in read_rows(lab, model, corpus_sha256))

    job.follow(finished)
    measured = [row for row in rows if row.result]
    if not any(row.result and row.result.stats for row in measured):
        if not measured and not job.running:
            st.info(
                f"Nothing was measured for {literal(model)} on {literal(name)} yet. Measuring lets the 16-bit model "
                "and each precision read the same texts, and says how far apart they are, how fast each is and what "
                "memory it takes. It runs in the background: leave the page, cancel, come back and go on as you like."
            )
        return
    _show_figures(model, measured, limits)


def _choose_corpus(lab: LabStore) -> tuple[str, str]:
    default = default_corpus()
    names = {default.sha256: f"{default.name} (default)"}
    names |= {kept.sha256: f"{kept.name} · {kept.sha256[:6]}" for kept in lab.corpora() if kept.sha256 not in names}
    CORPUS.prepare(names)
    sha256: str = st.selectbox(
        "Corpus",
        list(names),
        key=CORPUS.key,
        format_func=names.__getitem__,
        help="The default is the project's own prompts with the 16-bit model's answers. Running text is read in "
        "windows of 512 tokens whose second halves are scored, as llama-perplexity does.",
        persist_state="session",
    )
    return sha256, names[sha256]


def _add_corpus(lab: LabStore) -> None:
    with st.popover("Add a corpus", icon=":material/note_add:"), st.form("lab-corpus-form", border=False):
        file = st.file_uploader(
            "Text file", type=_TYPES, help="Running text in UTF-8, or JSON Lines with a `prompt` on each line."
        )
        text = st.text_area("Or paste a text", height=120, key="lab-corpus-text")
        name = st.text_input(
            "Name", placeholder="Pasted text", key="lab-corpus-name", help="Only for pasted text; a file has its own."
        )
        if not st.form_submit_button("Add", key="lab-corpus-add", icon=":material/add:"):
            return
        if file is None and not text.strip():
            st.error("Choose a file or paste a text first.", icon=":material/error:")
            return
        with errors_shown():
            corpus = (
                replace(corpus_from(file.getvalue(), file.name), name=one_line(file.name))
                if file
                else corpus_from(valid_text(text).encode(), _name(name))
            )
            lab.keep_corpus(corpus)
            CORPUS.turn_to(corpus.sha256)
            st.rerun()


def _name(typed: str) -> str:
    return one_line(typed) or "Pasted text"


def _measure(
    model: str, lab: LabStore, job: BackgroundJob, corpus_sha256: str, chosen: Sequence[Precision], rows: Sequence[Row]
) -> None:
    wanted = [row for row in rows if row.precision in chosen]
    again = bool(wanted) and all(row.finished for row in wanted)
    begun = any(row.result and not row.finished for row in wanted)
    if job.start_button(
        "Measure",
        key="lab-corpus-run",
        begun=begun,
        again=again,
        why_not="" if chosen else "Choose a precision to measure.",
        help="All of these were measured already; the earlier figures stay in the database."
        if again
        else "What was measured before is not measured again.",
    ):
        corpus = _corpus(lab, corpus_sha256)
        job.start(partial(measure_corpus, resources.get_engine(), lab, model, chosen, corpus, again=again))


def _say_how_long(model: str, corpus: Corpus, chosen: Sequence[Precision], rows: Sequence[Row]) -> None:
    left = [row for row in rows if row.precision in chosen and not row.finished]
    if not left:
        return
    scored = {row.precision: row.result.scored if row.result else 0 for row in left}
    times = answer_times(resources.get_store(), model, resources.get_engine().status().device)
    seconds = corpus_seconds(corpus, scored, times, answered=any(row.result for row in rows))
    amount = units.counted(windows_in(corpus), "prompt" if corpus.prompts else "window")
    time = (
        "time known once an answer in the Playground or Chat has measured each"
        if seconds is None
        else units.about(seconds)
    )
    st.caption(f"{amount} · {units.counted(len(left), 'precision')} · {time}")


def _corpus(lab: LabStore, sha256: str) -> Corpus:
    default = default_corpus()
    return default if sha256 == default.sha256 else lab.corpus(sha256) or default


def _show_figures(model: str, rows: Sequence[Row], limits: AlarmLimits) -> None:
    raised = alarms([row.result for row in rows if row.result], limits)
    alarm_of = {row.precision: raised.get((row.result.weights_sha256, row.precision)) for row in rows if row.result}
    noise = machine_noise()
    st.dataframe(
        _columns(rows, alarm_of, noise),
        column_config=_column_config(),
        hide_index=True,
        placeholder=units.MISSING,
        alt="Quality, speed and memory by precision",
    )
    for row in rows:
        if stats := row.result.stats if row.result else None:
            shares = {"Top-1 agreement": stats.same_top, "The RMS of Δp": stats.delta_p_rms}
            show_faults(share_faults(shares), of=row.precision)
    for precision, alarm in alarm_of.items():
        show_alarm(alarm, of=precision)
    bubbles = [bubble for row in rows if (bubble := _bubble(row, noise))]
    if len(bubbles) > 1:
        charts.show(
            charts.trade_off(
                bubbles,
                title=f"{model}: quality against speed",
                x="KLD mean from 16 bits, nats (less is better)",
                y="Tokens per second (more is better)",
            ),
            key="lab-corpus-chart",
        )
        st.caption("The size of a mark is the memory of the weights. The dotted line joins what nothing beats in both.")


def _bubble(row: Row, noise: Noise) -> charts.Bubble | None:
    stats, speed = row.result.stats if row.result else None, row.speed
    if stats is None or speed is None:
        return None
    return charts.Bubble(
        name=row.precision,
        x=stats.kld_mean,
        y=speed.tokens_per_second,
        size=speed.weights_bytes,
        details=(
            f"KLD mean {units.divergence(stats.kld_mean)}",
            f"Top-1 agreement {units.percent(stats.same_top, 1)}",
            units.rate(speed.tokens_per_second, noise.spread(Figure.TPOT)),
            *([f"Disturbed: {speed.disturbed}"] if speed.disturbed else []),
            f"Weights {units.memory(speed.weights_bytes)}",
        ),
    )


def _against_16_bits(speed: SpeedResult | None, plain: SpeedResult | None, noise: Noise) -> str | None:
    """A precision's decoding against the 16-bit model's, each the median of runs that were not made in turn: they
    count as one round."""
    if not speed or not plain or speed is plain:
        return None
    return gain(Paired.of_ratios(Figure.TPOT, [speed.tokens_per_second / plain.tokens_per_second], noise))


def _columns(rows: Sequence[Row], alarm_of: Mapping[str, object], noise: Noise) -> dict[str, list[Any]]:
    stats = [row.result.stats if row.result else None for row in rows]
    speeds = [row.speed for row in rows]
    marks = [speed.disturbed if speed else None for speed in speeds]
    plain = next((row.speed for row in rows if row.precision == Precision.BF16), None)
    ttft, tpot = (noise.spread(figure) for figure in (Figure.TTFT, Figure.TPOT))
    return {
        "precision": [row.precision for row in rows],
        "state": [_state(row, alarm_of.get(row.precision)) for row in rows],
        "ratio": [s and f"{s.ppl_ratio:.4f} ± {s.ppl_ratio_se:.4f}" for s in stats],
        "kld": [s and s.kld_mean for s in stats],
        "top": [s and s.same_top * 100 for s in stats],
        "weights": [s and s.weights_bytes / _MIB for s in speeds],
        "against": [_against_16_bits(s, plain, noise) for s in speeds],
        "rate": [s and units.rounded(s.tokens_per_second, tpot) for s in speeds],
        "ttft": [s and units.rounded(s.ttft_s * 1000, ttft) for s in speeds],
        **({"disturbed": marks} if any(marks) else {}),
        "median": [s and s.kld_median for s in stats],
        "p99": [s and s.kld_p99 for s in stats],
        "max": [s and s.kld_max for s in stats],
        "rms": [s and s.delta_p_rms * 100 for s in stats],
        "tokens": [s and s.tokens for s in stats],
    }


def _state(row: Row, alarm: object) -> str:
    if row.result and row.result.stats is None:
        return f"{row.result.scored} of {row.result.windows} windows"
    return "Degraded" if alarm else "OK"


def _column_config() -> dict[str, Any]:
    column = st.column_config
    nats = "%.4f"
    divergence = "Kullback-Leibler divergence from the 16-bit model, in nats a token: "
    return {
        "precision": column.TextColumn("Precision", pinned=True),
        "state": column.TextColumn("Alarm", help="By the limits of the degradation alarm."),
        "ratio": column.TextColumn(
            "PPL ratio ± SE", help="The precision's perplexity over that of 16 bits, and its standard error."
        ),
        "kld": column.NumberColumn("KLD (nats)", format=nats, help=f"{divergence}the mean."),
        "top": column.NumberColumn(
            "Top-1 (%)", format="%.1f", help="Top-1 agreement: tokens at which both hold the same one for likeliest."
        ),
        "weights": column.NumberColumn("Weights (MiB)", format="%.0f", help="Measured in memory."),
        "against": column.TextColumn(
            "Against 16 bits",
            help="Decode rates. Tied where the difference is what single runs differ by on this machine.",
        ),
        "rate": column.NumberColumn(
            "Tok/s",
            format="%.4g",
            help="Median decode rate of three short greedy runs, each made once more if others disturbed it.",
        ),
        "ttft": column.NumberColumn("TTFT (ms)", format="%.4g", help="Median of the same runs, waiting left out."),
        "disturbed": column.TextColumn(
            DISTURBED, width="medium", help="What held up the runs behind both, so that they are not to be relied on."
        ),
        "median": column.NumberColumn("KLD median", format=nats, help=f"{divergence}the median."),
        "p99": column.NumberColumn("KLD p99", format=nats, help=f"{divergence}99 % of the tokens stay below."),
        "max": column.NumberColumn("KLD max", format=nats, help=f"{divergence}the worst token."),
        "rms": column.NumberColumn("RMS Δp (%)", format="%.2f", help="Root of the mean squared change of probability."),
        "tokens": column.NumberColumn("Tokens", format="%d", help="How many were scored."),
    }
