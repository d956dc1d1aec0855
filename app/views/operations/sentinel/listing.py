"""All golden prompts, and one of them with its history."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

import streamlit as st

from app import units
from app.literal import literal
from app.operations.sentinel.comparing import drifts
from app.operations.sentinel.picking import LONGEST_NAME, set_checker
from app.operations.sentinel.standing import Standing
from app.store import GoldenAnswer, GoldenPrompt, RunStore, SentinelRound
from app.views.operations.sentinel.words import CAUSES, FINDINGS, MARKS, drift_words
from app.views.runs.naming import model_name, run_url
from app.views.shared.clock import reader_zone
from app.views.shared.errors import errors_shown

_CHECKERS = {
    None: "Nothing",
    "contains": "It contains this text",
    "exact": "It is this text",
    "number": "It comes to this number",
    "regex": "It matches this regular expression",
}


def show_table(found: Sequence[Standing]) -> None:
    """One row each, the worst first."""
    column = st.column_config
    held = [drifts(each.accepted, each.latest) if each.latest and each.is_held_against else {} for each in found]
    st.dataframe(
        {
            "state": [MARKS[each.state].label for each in found],
            "name": [each.golden.name for each in found],
            "configuration": [model_name(each.golden.run_config) for each in found],
            "tpot": [drift_words(each.get("TPOT")) for each in held],
            "ttft": [drift_words(each.get("TTFT")) for each in held],
            "kld": [each.latest.kld if each.latest else None for each in found],
            "before": [each.accepted.kld for each in found],
            "replayed": [each.latest.created_at if each.latest else None for each in found],
        },
        column_config={
            "state": column.TextColumn("State"),
            "name": column.TextColumn("Golden prompt"),
            "configuration": column.TextColumn("Configuration"),
            "tpot": column.TextColumn(
                "TPOT now / accepted", help="Of the medians, with the interval. Above 1 it is slower."
            ),
            "ttft": column.TextColumn("TTFT now / accepted"),
            "kld": column.NumberColumn("KLD (nats)", format="%.4f", help="From 16 bits, along the accepted tokens."),
            "before": column.NumberColumn("KLD accepted (nats)", format="%.4f"),
            "replayed": column.DatetimeColumn("Replayed", format="YYYY-MM-DD HH:mm", timezone=str(reader_zone())),
        },
        hide_index=True,
        placeholder=units.MISSING,
        alt="Golden prompts",
    )


def show_one(store: RunStore, found: Sequence[Standing]) -> None:
    """One that is chosen: its history, its checker, its name."""
    by_id = {each.golden.id: each for each in found}
    id = st.selectbox(
        "Golden prompt",
        list(by_id),
        format_func=lambda id: f"{MARKS[by_id[id].state].label} · {by_id[id].golden.name}",
        key="sentinel-golden",
    )
    each = by_id[id]
    with st.expander("Prompt and accepted answer", icon=":material/chat:"):
        st.code(each.golden.prompt, language=None, wrap_lines=True)
        st.code(each.accepted.text, language=None, wrap_lines=True)
    _show_history(store.sentinel.history(id), each.accepted.id)
    with st.container(horizontal=True, vertical_alignment="center"):
        with st.popover("Checker", icon=":material/rule:"), errors_shown():
            _choose_checker(store, each)
        with st.popover("Rename", icon=":material/edit:"), st.form(f"rename-{id}", border=False), errors_shown():
            name = st.text_input("Name", each.golden.name, max_chars=LONGEST_NAME)
            if st.form_submit_button("Rename") and name.strip():
                store.sentinel.rename(id, name.strip())
                st.rerun()
        with st.popover("Remove", icon=":material/delete:"), errors_shown():
            st.caption("All its replays go with it. The runs stay.")
            if st.button("Remove", key=f"remove-{id}", type="primary"):
                store.sentinel.delete(id)
                st.rerun()


def _show_history(answers: Sequence[GoldenAnswer], accepted_id: str) -> None:
    column = st.column_config
    st.dataframe(
        {
            "run": [run_url(each.run_id) if each.run_id else None for each in answers],
            "when": [each.created_at for each in answers],
            "what": [_what(each, accepted_id) for each in answers],
            "text": [each.text or each.failure or "" for each in answers],
            "score": [each.score for each in answers],
            "tpot": [_median_ms(each.tpot_s) for each in answers],
            "kld": [each.kld for each in answers],
            "disturbed": [each.disturbed for each in answers],
            "note": [each.note for each in answers],
        },
        column_config={
            "run": column.LinkColumn("", display_text="Open", width="small"),
            "when": column.DatetimeColumn("Answered", format="YYYY-MM-DD HH:mm", timezone=str(reader_zone())),
            "what": column.TextColumn("Against the accepted one"),
            "text": column.TextColumn("Answer", width="medium"),
            "score": column.NumberColumn("Checker", format="%d", help="1 right, 0 wrong."),
            "tpot": column.NumberColumn("TPOT (ms)", format="%.2f", help="Median of undisturbed timed answers."),
            "kld": column.NumberColumn("KLD (nats)", format="%.4f"),
            "disturbed": column.NumberColumn("Disturbed", format="%d", help="Timed answers that others held up."),
            "note": column.TextColumn("Note"),
        },
        hide_index=True,
        placeholder=units.MISSING,
        alt="History of this golden prompt",
    )


def _what(answer: GoldenAnswer, accepted_id: str) -> str:
    if answer.id == accepted_id:
        return "The accepted one"
    if answer.accepted_at:
        return "Accepted earlier"
    found = ", ".join(FINDINGS[each] for each in answer.deviations) or "the same"
    return f"{found} (known)" if answer.known_at else found


def _median_ms(times_s: Sequence[float]) -> float | None:
    return 1000 * median(times_s) if times_s else None


def _choose_checker(store: RunStore, each: Standing) -> None:
    golden = each.golden
    if golden.checker not in _CHECKERS:
        st.caption(f"It is scored by the checker {literal(str(golden.checker))} of its experiment.")
        return
    with st.form(f"checker-{golden.id}", border=False):
        names = list(_CHECKERS)
        checker = st.selectbox(
            "An answer is right if",
            names,
            index=names.index(golden.checker),
            format_func=lambda name: _CHECKERS[name],
        )
        expected = st.text_input("Expected", _shown(golden))
        if st.form_submit_button("Save", icon=":material/save:"):
            with errors_shown():
                set_checker(store, golden, checker, _typed(checker, expected.strip()))
                st.rerun()


def _typed(checker: str | None, expected: str) -> Any:
    """What a checker compares with, of what was typed."""
    return {"pattern": expected} if checker == "regex" else expected


def _shown(golden: GoldenPrompt) -> str:
    """The inverse."""
    match golden.expected:
        case None:
            return ""
        case {"pattern": str(pattern)}:
            return pattern
        case other:
            return str(other)


def show_rounds(rounds: Sequence[SentinelRound]) -> None:
    """The last replays."""
    column = st.column_config
    st.dataframe(
        {
            "begun": [each.created_at for each in rounds],
            "why": [CAUSES[each.cause] for each in rounds],
            "changed": ["; ".join(each.changes) for each in rounds],
            "answered": [f"{each.answered:,} of {len(each.golden_ids):,}" for each in rounds],
            "ended": [each.ended_at for each in rounds],
        },
        column_config={
            "begun": column.DatetimeColumn("Begun", format="YYYY-MM-DD HH:mm", timezone=str(reader_zone())),
            "why": column.TextColumn("Why"),
            "changed": column.TextColumn("What had changed", width="large"),
            "answered": column.TextColumn("Replayed"),
            "ended": column.DatetimeColumn("Ended", format="YYYY-MM-DD HH:mm", timezone=str(reader_zone())),
        },
        hide_index=True,
        placeholder=units.MISSING,
        alt="Replays",
    )
