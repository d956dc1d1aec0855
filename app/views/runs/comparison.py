"""What two to four runs look like side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from app import units
from app.literal import literal
from app.runs.invariants import Measured, pair_fault, run_faults
from app.runs.verdict import Outcome, judge
from app.store import RunRecord, Timeline
from app.views.reports.metrics import E2E, KV, PEAK_MEMORY, TPOT, TTFT, WEIGHTS, Metric
from app.views.shared import charts
from app.views.shared.errors import show_error
from app.views.shared.faults import show_faults
from app.views.shared.text_diff import diff_words, shared_words, show_diff, show_plain
from engine.types import RunConfig

LETTERS = "ABCD"
"""What compared runs are called, in order."""


@dataclass(frozen=True, slots=True)
class Compared:
    """A run among those compared."""

    letter: str
    name: str
    run: RunRecord
    timeline: Timeline

    @property
    def title(self) -> str:
        """What the run is called on charts and above its answer: "A · smollm2-135m · int4"."""
        return f"{self.letter} · {self.name}"


@dataclass(frozen=True, slots=True)
class Difference:
    """A key on which mappings differ, with the value of each written out ("off" where it has none)."""

    key: str
    values: tuple[str, ...]


def differences(trees: Sequence[Mapping[str, Any]]) -> tuple[Difference, ...]:
    """The keys on which nested mappings differ, as dotted paths in reading order."""
    flat = [_flatten(tree) for tree in trees]
    keys = dict.fromkeys(key for tree in flat for key in tree)
    rows = (Difference(key, tuple(tree.get(key, "off") for tree in flat)) for key in keys)
    return tuple(row for row in rows if len(set(row.values)) > 1)


def compared_metrics(runs: Sequence[RunRecord]) -> tuple[Metric, ...]:
    """The metrics that can be set side by side: E2E, the time of a whole answer, only at equal token counts."""
    lengths = {run.metrics.completion_tokens for run in runs if run.metrics}
    return (TPOT, TTFT, *((E2E,) if len(lengths) == 1 else ()), WEIGHTS, KV, PEAK_MEMORY)


def bars(metric: Metric, runs: Sequence[Compared]) -> list[charts.Bar]:
    """One metric of every run in the metric's unit; all but the first say how they compare with the first."""
    values = [metric.read(item.run.metrics) if item.run.metrics else None for item in runs]
    notes = [""] + [
        "not a result" if metric in (TPOT, E2E) and fault_between(runs[0], item) else metric.gain(values[0], value)
        for item, value in zip(runs[1:], values[1:], strict=True)
    ]
    return [
        charts.Bar(
            name=item.letter,
            value=None if value is None else value / metric.per_unit,
            text=f"{metric.write(value)} · {note}" if note else metric.write(value),
        )
        for item, value, note in zip(runs, values, notes, strict=True)
    ]


def fault_between(first: Compared, item: Compared) -> str | None:
    """Why two runs cannot be compared; ``None`` where they can."""
    pair = [Measured.of_record(each.run, each.timeline) for each in (first, item)]
    return pair_fault(pair[0], pair[1]) if pair[0] and pair[1] else None


def show_verdicts(runs: Sequence[Compared]) -> None:
    """What each run gains and loses against the first, in words; figures that cannot be are no verdict."""
    for item in runs:
        measured = Measured.of_record(item.run, item.timeline)
        show_faults(run_faults(measured) if measured else (), of=item.letter)
    first = _outcome(runs[0])
    for item in runs[1:]:
        if fault := fault_between(runs[0], item):
            show_faults([fault], of=f"{item.letter} against {runs[0].letter}")
            continue
        verdict = judge(first, _outcome(item))
        st.markdown(f"**{literal(verdict.summary)}**")
        st.caption(literal(" ".join(verdict.details)))


def show_answers(runs: Sequence[Compared], *, marked: bool) -> None:
    """The answers in columns; ``marked`` shows by words how each differs from the first."""
    first = runs[0]
    for column, item in zip(st.columns(len(runs)), runs, strict=True):
        run, key = item.run, f"answer-{item.run.id}"
        with column:
            st.markdown(f"**{literal(item.title)}**")
            if run.error:
                show_error(run.error)
            if not run.text:
                st.caption("This run wrote nothing.")
            elif item is first or not marked or not first.run.text:
                title = "The others are compared with this one" if marked and item is first else str(run.status)
                show_plain(run.text, key=key, label=f"Answer of {item.title}", title=title)
            else:
                parts = diff_words(first.run.text, run.text)
                title = f"{units.percent(shared_words(parts))} of words in common with {first.letter}:"
                show_diff(parts, key=f"{key}-diff", label=f"Answer of {item.title}", title=title)


def show_bars(runs: Sequence[Compared]) -> None:
    """A small bar chart for each metric that can be compared, and a word on the one that cannot."""
    metrics = compared_metrics([item.run for item in runs])
    with st.grid(2, min_column_width=360):
        for metric in metrics:
            figure = charts.horizontal_bars(
                bars(metric, runs), title=f"{metric.label}, less is better", unit=metric.unit
            )
            charts.show(figure, key=f"bars-{metric.label}")
    if E2E not in metrics:
        counts = ", ".join(f"{i.letter} {units.count(i.run.metrics.completion_tokens)}" for i in runs if i.run.metrics)
        st.caption(f"E2E is not compared: the answers differ in length ({counts} tokens).")


def show_timelines(runs: Sequence[Compared]) -> None:
    """Tokens received over time, every run's arrival at zero."""
    lines = [
        charts.Line(item.title, (0.0, *item.timeline.t_s), tuple(range(len(item.timeline) + 1)))
        for item in runs
        if item.timeline
    ]
    if lines:
        charts.show(charts.token_timelines(lines), key="timelines")
    else:
        st.caption("No tokens were kept for these runs.")


def show_differences(runs: Sequence[Compared], trees: Sequence[Mapping[str, Any]], *, what: str) -> None:
    """A table of what differs, one column a run, or a word that nothing does."""
    rows = differences(trees)
    if not rows:
        st.caption(f"The {what} is the same.")
        return
    table = {what.capitalize(): [row.key for row in rows]}
    table |= {item.title: [row.values[place] for row in rows] for place, item in enumerate(runs)}
    st.dataframe(table, hide_index=True, alt=f"Differences in {what}")


def _outcome(item: Compared) -> Outcome:
    run = item.run
    return Outcome(
        name=item.letter,
        config=RunConfig.from_dict(run.config),
        status=run.status,
        text=run.text,
        token_ids=item.timeline.token_ids,
        finish_reason=run.finish_reason,
        metrics=run.metrics,
        tier=run.cascade.tier if run.cascade else None,
    )


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return flat
