"""What two to four runs look like side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from statistics import median
from typing import Any

import streamlit as st

from app import units
from app.literal import literal
from app.runs.invariants import Measured, pair_fault, run_faults
from app.runs.verdict import Noise, Outcome, Paired, Rounds, gain, judge
from app.store import RunFilter, RunRecord, RunStatus, RunStore, Timeline
from app.views.race.verdict import verdict_body
from app.views.reports.disturbance import WORD, disturbed_mark, show_disturbed
from app.views.reports.metrics import E2E, KV, RUN_MEMORY, TPOT, TTFT, WEIGHTS, Metric
from app.views.shared import charts
from app.views.shared.errors import show_error
from app.views.shared.faults import show_faults
from app.views.shared.text_diff import diff_words, shared_words, show_diff, show_plain
from engine.types import RemoteReport, RunConfig

LETTERS = "ABCD"
"""What compared runs are called, in order."""
_MOST_ROUNDS = 20


@dataclass(frozen=True, slots=True)
class Compared:
    """A run among those compared."""

    letter: str
    name: str
    run: RunRecord
    timeline: Timeline
    others: tuple[RunRecord, ...] = ()
    """The lane's runs of the other rounds of the same race."""

    @property
    def rounds(self) -> tuple[RunRecord, ...]:
        """All runs of its lane, the one that is shown last."""
        return (*self.others, self.run)

    @property
    def title(self) -> str:
        """What the run is called on charts and above its answer: "A · smollm2-135m · int4"."""
        return f"{self.letter} · {self.name}"


@dataclass(frozen=True, slots=True)
class Difference:
    """A key on which mappings differ, with the value of each written out ("off" where it has none)."""

    key: str
    values: tuple[str, ...]


def differences(trees: Sequence[Mapping[str, Any]], *, alike: bool = False) -> tuple[Difference, ...]:
    """The keys on which nested mappings differ, as dotted paths in reading order; ``alike`` also those on which they
    do not."""
    flat = [_flatten(tree) for tree in trees]
    keys = dict.fromkeys(key for tree in flat for key in tree)
    rows = (Difference(key, tuple(tree.get(key, "off") for tree in flat)) for key in keys)
    return tuple(row for row in rows if alike or len(set(row.values)) > 1)


def other_rounds(store: RunStore, runs: Sequence[RunRecord]) -> list[tuple[RunRecord, ...]]:
    """Of each run, those of the other rounds of its race: same group, configuration and prompt, in their order.

    None for any where they cannot be paired: a run has no others or fewer than the rest, two are of the same lane, or
    two of one race are of different rounds.

    Raises:
        StoreError: the run database cannot be read.
    """
    nothing: list[tuple[RunRecord, ...]] = [() for _ in runs]
    if len({(run.group_id, run.config_hash) for run in runs}) < len(runs):
        return nothing
    lanes = [_lane(store, run) for run in runs]
    places = {(run.group_id, lane.index(run.id)) for run, lane in zip(runs, lanes, strict=True)}
    if len({len(lane) for lane in lanes}) > 1 or len(places) > len({run.group_id for run in runs}):
        return nothing
    return [store.get_many([each for each in lane if each != run.id]) for run, lane in zip(runs, lanes, strict=True)]


def _lane(store: RunStore, run: RunRecord) -> list[str]:
    """The ids of a run and of those that asked the same in its group, oldest first."""
    if run.group_id is None:
        return [run.id]
    asked = RunFilter(group_id=run.group_id, config_hashes=(run.config_hash,), statuses=(RunStatus.FINISHED,))
    found = store.get_many([each.id for each in store.page(asked, limit=_MOST_ROUNDS).rows])
    same = sorted(each.id for each in found if each.asked == run.asked)  # ids sort by time
    return same if run.id in same else [run.id]


def compared_metrics(runs: Sequence[RunRecord]) -> tuple[Metric, ...]:
    """The metrics that can be set side by side: E2E, the time of a whole answer, only at equal token counts."""
    lengths = {run.metrics.completion_tokens for run in runs if run.metrics}
    return (*((E2E,) if len(lengths) == 1 else ()), TTFT, TPOT, RUN_MEMORY, WEIGHTS, KV)


def bars(metric: Metric, runs: Sequence[Compared], noise: Noise) -> list[charts.Bar]:
    """One metric of every run in the metric's unit, times as the median of the rounds with their range; all but the
    first say how they compare with the first, unless their figures contradict each other, and those whose speed others
    disturbed say that."""
    values = [_values(metric, item) for item in runs]
    return [
        _bar(
            metric,
            item,
            value,
            values[0],
            noise,
            impossible=metric in (TPOT, E2E) and bool(fault_between(runs[0], item)),
        )
        for item, value in zip(runs, values, strict=True)
    ]


def _values(metric: Metric, item: Compared) -> list[float]:
    remote = RemoteReport.of(item.run.environment)
    if remote and not metric.told(remote):
        return []
    rounds = item.rounds if metric.figure else (item.run,)
    values = [metric.read(run.metrics) for run in rounds if run.metrics]
    return [value for value in values if value]


def _bar(
    metric: Metric, item: Compared, values: Sequence[float], first: Sequence[float], noise: Noise, *, impossible: bool
) -> charts.Bar:
    name = item.letter
    if not values:
        return charts.Bar(name, None, units.MISSING)
    note = ""
    if metric.figure is None:
        written = metric.write(values[0])
        note = metric.share(first[0], values[0]) if first and values is not first else ""
    else:
        rounds = Rounds.of(metric.figure, values, noise)
        written = units.seconds(rounds.median, rounds.spread)
        if values is not first and impossible:
            note = "not a result"
        elif values is not first and len(first) == len(values):
            note = gain(Paired.of(metric.figure, first, values, noise))
    mark = WORD.lower() if metric.figure and disturbed_mark(item.run.disturbance) else ""
    text = " · ".join(filter(None, (written, note, mark)))
    return charts.Bar.over(name, [value / metric.per_unit for value in values], text)


def fault_between(first: Compared, item: Compared) -> str | None:
    """Why two runs cannot be compared; ``None`` where they can."""
    pair = [Measured.of_record(each.run, each.timeline) for each in (first, item)]
    return pair_fault(pair[0], pair[1]) if pair[0] and pair[1] else None


def show_verdicts(runs: Sequence[Compared], noise: Noise) -> None:
    """What each run gains and loses against the first, in words; figures that cannot be are no verdict."""
    for item in runs:
        measured = Measured.of_record(item.run, item.timeline)
        show_faults(run_faults(measured) if measured else (), of=item.letter)
    first = _outcomes(runs[0])
    for item in runs[1:]:
        if fault := fault_between(runs[0], item):
            show_faults([fault], of=f"{item.letter} against {runs[0].letter}")
            continue
        verdict = judge(first, _outcomes(item), noise)
        if verdict.disturbance:
            st.warning(literal(verdict.disturbance), icon=":material/vibration:")
        st.markdown(f"**{literal(verdict.summary)}**")
        st.caption(verdict_body(verdict))


def show_answers(runs: Sequence[Compared], *, marked: bool) -> None:
    """The answers in columns; ``marked`` shows by words how each differs from the first."""
    first = runs[0]
    for column, item in zip(st.columns(len(runs)), runs, strict=True):
        run, key = item.run, f"answer-{item.run.id}"
        with column:
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                st.markdown(f"**{literal(item.title)}**", width="content")
                show_disturbed(run.disturbance)
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


def most_changed(metrics: Sequence[Metric], runs: Sequence[Compared]) -> tuple[Metric, ...]:
    """The metrics, the one first in which a run is farthest from the first one, as a ratio."""

    def change(metric: Metric) -> float:
        found = [median(values) for item in runs if (values := _values(metric, item))]
        return max((abs(log(value / found[0])) for value in found), default=0.0)

    return tuple(sorted(metrics, key=change, reverse=True))


def show_bars(runs: Sequence[Compared], noise: Noise, *, changed_first: bool = False) -> None:
    """A small bar chart for each metric that can be compared, and a word on the one that cannot."""
    metrics = compared_metrics([item.run for item in runs])
    if changed_first:
        metrics = most_changed(metrics, runs)
    with st.grid(2, min_column_width=360):
        for metric in metrics:
            figure = charts.horizontal_bars(
                bars(metric, runs, noise), title=f"{metric.label}, less is better", unit=metric.unit
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


def show_differences(
    titles: Sequence[str], trees: Sequence[Mapping[str, Any]], *, what: str, alike: bool = False
) -> None:
    """A table of what differs, a column each, or a word that nothing does; ``alike`` also of what does not."""
    rows = differences(trees, alike=alike)
    if not rows:
        st.caption(f"The {what} is the same.")
        return
    table = {what.capitalize(): [row.key for row in rows]}
    table |= {title: [row.values[place] for row in rows] for place, title in enumerate(titles)}
    st.dataframe(table, hide_index=True, alt=f"Differences in {what}")


def _outcomes(item: Compared) -> list[Outcome]:
    """Of every round, the run that is shown last."""
    shown = item.run
    return [
        Outcome(
            name=item.letter,
            config=RunConfig.from_dict(run.config),
            status=run.status,
            text=run.text,
            token_ids=item.timeline.token_ids if run is shown else (),
            finish_reason=run.finish_reason,
            metrics=run.metrics,
            tier=run.cascade.tier if run.cascade else None,
            cascade=run.cascade,
            remote=RemoteReport.of(run.environment),
            disturbed=disturbed_mark(run.disturbance),
        )
        for run in item.rounds
    ]


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return flat
