"""What somebody has to look at: both texts side by side, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from app import units
from app.literal import literal
from app.operations.sentinel.standing import FLIPS, Standing
from app.store import GoldenAnswer, RunStore
from app.views.operations.sentinel.words import MARKS
from app.views.runs.naming import model_name, run_url
from app.views.shared.clock import reader_zone
from app.views.shared.errors import errors_shown
from app.views.shared.text_diff import diff_words, show_diff, show_plain

_MOST = 10
"""That are shown at once."""


def show_open(store: RunStore, found: Sequence[Standing]) -> None:
    """One after the other, the worst first."""
    for each in found[:_MOST]:
        with st.container(border=True):
            show_difference(store, each)
    if len(found) > _MOST:
        st.caption(f"{len(found) - _MOST:,} more stand in the table below.")


def show_difference(store: RunStore, each: Standing) -> None:
    """One golden prompt whose last replay is not as accepted."""
    assert each.latest is not None
    mark, latest = MARKS[each.state], each.latest
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(mark.label, icon=mark.icon, color=mark.colour)
        st.markdown(f"**{literal(each.golden.name)}**", width="content")
        st.caption(literal(_settings(each)), width="content")
    for words in each.words:
        st.markdown(f"- {literal(words)}")
    if latest.note:
        st.caption(f":material/bookmark: {literal(latest.note)}")
    if each.changes:
        st.caption(f"Changed since it was accepted: {literal('; '.join(each.changes))}.")
    else:
        st.caption("Weights, kernels, version and machine are as they were when it was accepted.")
    if FLIPS & set(latest.deviations) and latest.failure is None:
        _show_texts(each.accepted, latest, key=each.golden.id)
    with st.expander("Prompt", icon=":material/chat:"):
        st.code(each.golden.prompt, language=None, wrap_lines=True)
    _show_actions(store, each, latest)


def _settings(each: Standing) -> str:
    config = each.golden.run_config
    sampled = f" · temperature {config.sampling.temperature:g}, seed {config.sampling.seed}"
    return f"{model_name(config)}{sampled if config.sampling.temperature else ''}"


def _show_texts(accepted: GoldenAnswer, now: GoldenAnswer, *, key: str) -> None:
    before, after = st.columns(2)
    zone = reader_zone()
    with before:
        st.markdown(f"**Accepted** · {units.moment(accepted.created_at, zone)}")
        show_plain(accepted.text or "(no text)", key=f"accepted-{key}", label="Accepted answer")
    with after:
        st.markdown(f"**Now** · {units.moment(now.created_at, zone)}")
        show_diff(diff_words(accepted.text, now.text), key=f"now-{key}", label="Answer of the last replay")


def _show_actions(store: RunStore, each: Standing, latest: GoldenAnswer) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        if latest.failure is None and st.button(
            "Accept",
            key=f"accept-{latest.id}",
            icon=":material/check:",
            help="This answer, with its times and its KLD, is what later ones are held against.",
        ):
            with errors_shown():
                store.sentinel.accept(latest.id)
                st.rerun()
        if latest.known_at is None:
            with st.popover("File as known", icon=":material/bookmark:"), st.form(f"file-{latest.id}", border=False):
                note = st.text_area("Note", placeholder="Why it differs, and what is done about it", max_chars=2000)
                if st.form_submit_button("File"):
                    with errors_shown():
                        store.sentinel.file(latest.id, note.strip())
                        st.rerun()
        for label, answer in (("Accepted run", each.accepted), ("Its run", latest)):
            if answer.run_id:
                st.link_button(label, run_url(answer.run_id), icon=":material/history:", type="tertiary")
