"""What a judge says, and its audit: never the one without the other."""

from __future__ import annotations

import numpy as np
import streamlit as st

from app import units
from app.experiments.judging.audit import Audit, State
from app.experiments.results.arrays import Bools, Floats, Measure
from app.literal import literal
from app.store import Judgement, JudgementKind, RunStore
from app.views.experiments.judging.heard import Heard, limits

_MOST_READ = 200
_ICONS = {State.PASSED: "✓", State.FAILED: "✗", State.UNKNOWN: "?", State.NOTED: "·"}


def show_scores(heard: Heard) -> None:
    """By configuration, on prompts with and without a checker."""
    results, found = heard.results, heard.results.judged
    assert found is not None
    unchecked = results.applies(Measure.JUDGE)
    st.markdown("**What it says**")
    rows = [
        (name, _mean(found.scores[place], unchecked), _mean(found.scores[place], ~unchecked))
        for place, name in enumerate(results.names)
    ]
    percent = st.column_config.NumberColumn(format="%.1f")
    title = "Preferred (%)" if found.pairwise else "Score (%)"
    st.dataframe(
        {
            "Configuration": [
                f"{name} (baseline)" if place == results.design.baseline else name
                for place, (name, *_) in enumerate(rows)
            ],
            f"{title}, no checker": [open for _, open, _ in rows],
            f"{title}, with one": [checked for *_, checked in rows],
            "Judged": [int(np.isfinite(found.scores[place]).sum()) for place in range(len(rows))],
        },
        column_config={f"{title}, no checker": percent, f"{title}, with one": percent},
        hide_index=True,
        placeholder=units.MISSING,
        alt="What the judge says",
    )
    how = (
        "Share of the two orders in which an answer was preferred to the baseline's; 50 % is a draw."
        if found.pairwise
        else "Mean score, 0 to 100 %; a failure counts as 0. Questions without a verdict are no scores."
    )
    st.caption(f"{how} Only prompts without a checker count in the decision; the others are for the audit.")


def _mean(scores: Floats, which: Bools) -> float | None:
    chosen = scores[which]
    return 100 * float(np.nanmean(chosen)) if np.isfinite(chosen).any() else None


def show_audit(audit: Audit) -> None:
    """Each figure beside its limit, and the cost."""
    checks = audit.checks(limits())
    st.markdown("**Its audit**")
    st.dataframe(
        {
            "": [_ICONS[each.state] for each in checks],
            "Figure": [each.name for each in checks],
            "Found": [each.value for each in checks],
            "Limit": [each.limit for each in checks],
            "On": [each.detail for each in checks],
        },
        hide_index=True,
        alt="The judge's audit",
    )
    failed = audit.concerns(limits())
    if failed:
        st.warning(f"It fails its audit: {literal('; '.join(failed))}.", icon=":material/balance:")
    for caution in audit.cautions:
        st.caption(f":orange[:material/warning:] {literal(caution)}")
    counted = f"{audit.prompt_tokens:,} tokens read, {audit.completion_tokens:,} written"
    uncounted = f" ({units.counted(audit.uncounted, 'question')} without a count)" if audit.uncounted else ""
    st.caption(f"Cost: {units.counted(audit.asked, 'question')}, {units.seconds(audit.seconds)}, {counted}{uncounted}.")


def show_texts(store: RunStore, heard: Heard) -> None:
    """One judgement at a time, to read: what it said of which texts."""
    assert heard.opinions is not None
    said = heard.opinions.of_kind(heard.kind)[-_MOST_READ:]
    tasks = {task.id: task for task in heard.results.design.prompts}
    st.subheader("Judgements", anchor=False)
    place = st.selectbox(
        "Judgement",
        range(len(said)),
        format_func=lambda place: f"{_verdict(said[place])} · {said[place].key.prompt_id}",
        key="experiments-judging-read",
    )
    one = said[place]
    st.markdown(literal(tasks[one.key.prompt_id].prompt))
    st.markdown(f"**{_verdict(one)}** {literal(one.reason or one.detail)}")
    runs = {
        cell.answer_sha256: cell.run_id
        for cell in heard.results.scored_cells
        if cell.key.prompt_id == one.key.prompt_id and cell.run_id
    }
    shown = [each for each in (one.key.first_sha256, one.key.second_sha256) if each]
    texts = store.experiments.answers([id for each in shown if (id := runs.get(each))])
    for column, (label, sha256) in zip(st.columns(len(shown)), zip("AB", shown, strict=False), strict=True):
        with column, st.container(border=True):
            if len(shown) > 1:
                st.markdown(f"**{label}**")
            st.text(texts.get(runs.get(sha256) or "", "The run of this answer was deleted."))


def _verdict(said: Judgement) -> str:
    if said.score is None:
        return f"No verdict ({said.no_verdict})"
    if said.key.kind is JudgementKind.PAIR:
        return {1.0: "A is better", 0.0: "B is better"}.get(said.score, "Neither is better")
    return units.percent(said.score)
