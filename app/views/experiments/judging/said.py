"""What a judge says, and its audit: never the one without the other."""

from __future__ import annotations

import streamlit as st

from app import units
from app.experiments.judging.audit import Audit, Limits, State
from app.experiments.judging.hearing import Hearing
from app.experiments.judging.judged import judged_rows
from app.literal import literal
from app.store import Judgement, JudgementKind, RunStore

_MOST_READ = 200
_ICONS = {State.PASSED: "✓", State.FAILED: "✗", State.UNKNOWN: "?", State.NOTED: "·"}


def show_scores(heard: Hearing) -> None:
    """By configuration, on prompts with and without a checker."""
    found = heard.results.judged
    assert found is not None
    st.markdown("**What it says**")
    rows = judged_rows(heard.results)
    percent = st.column_config.NumberColumn(format="%.1f")
    title = "Preferred (%)" if found.pairwise else "Score (%)"
    st.dataframe(
        {
            "Configuration": [row.name for row in rows],
            f"{title}, no checker": [_percent(row.unchecked) for row in rows],
            f"{title}, with one": [_percent(row.checked) for row in rows],
            "Judged": [row.prompts for row in rows],
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


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def show_audit(audit: Audit, limits: Limits) -> None:
    """Each figure beside its limit, and the cost."""
    checks = audit.checks(limits)
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
    failed = audit.concerns(limits)
    if failed:
        st.warning(f"It fails its audit: {literal('; '.join(failed))}.", icon=":material/balance:")
    for caution in audit.cautions:
        st.caption(f":orange[:material/warning:] {literal(caution)}")
    st.caption(f"Cost: {audit.cost}.")


def show_texts(store: RunStore, heard: Hearing) -> None:
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
    st.markdown(literal(tasks[one.key.prompt_id].transcript))
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
