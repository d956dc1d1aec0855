"""All of one run: its answer, its figures, its tokens, and what people noted about it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import streamlit as st

from app import units
from app.literal import literal
from app.operations.sentinel.picking import pick, why_not
from app.quantization.degradation import Alarms
from app.runs.invariants import Measured, run_faults
from app.runs.repetition import repetition_warning
from app.store import Rating, RunRecord, RunStore, Timeline
from app.views.reports.alarm import show_alarm
from app.views.reports.cache_report import show_cache_report
from app.views.reports.cascade_receipt import answered_by, show_cascade_notices, show_receipt
from app.views.reports.disturbance import interference, show_disturbed
from app.views.reports.draft_report import show_draft_report
from app.views.reports.losslessness import show_losslessness, show_speculation_notice
from app.views.reports.metrics import show_metrics, show_server_notes
from app.views.reports.sampling import sampling_summary
from app.views.reports.token_stream import show_tokens
from app.views.runs.naming import run_name, run_url, source_label, status_badge
from app.views.shared.clock import reader_zone
from app.views.shared.errors import errors_shown, show_error
from app.views.shared.faults import show_faults
from engine.types import RemoteReport, RunConfig, Tier

_THUMBS: dict[int | None, Rating] = {None: 0, 0: -1, 1: 1}
"""What `st.feedback` answers, and the rating it stands for."""


class Section(StrEnum):
    """The parts of a run that are shown one at a time."""

    ANSWER = "Answer"
    TOKENS = "Tokens"
    CACHE = "Cache"
    SPECULATION = "Speculation"
    CASCADE = "Cascade"
    CONFIGURATION = "Configuration"
    ENVIRONMENT = "Environment"


def show_run(run: RunRecord, store: RunStore) -> None:
    """The whole panel. Ratings, tags and notes are written to the store as they change."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(literal(run_name(run)), width="content", anchor=False)
        status_badge(run.status)
        show_disturbed(run.disturbance)
        if run.cascade:
            answered_by(run.cascade)
        if run.source:
            st.caption(source_label(run.source), width="content", help="Where this run was asked for.")
        if run.user:
            st.caption(literal(run.user), width="content", help="The user that the API's caller named, or their key.")
        st.caption(units.moment(run.created_at, reader_zone()), width="content")
    config = RunConfig.from_dict(run.config)
    st.caption(literal(sampling_summary(config.sampling)))
    if run.error:
        show_error(run.error)
    precision = str(Tier.from_text(run.cascade.tier).precision) if run.cascade else run.precision
    show_alarm(Alarms.read(store.lab).of_run(run.environment, run.backend, precision))
    if warning := repetition_warning(run.metrics, config):
        st.warning(warning, icon=":material/repeat:")
    if measured := Measured.of_record(run, store.timeline(run.id) or Timeline()):
        show_faults(run_faults(measured))
        remote = RemoteReport.of(run.environment)
        show_metrics(measured.metrics, remote=remote)
        if remote:
            show_server_notes(remote)
    else:
        st.caption("No figures: the engine did not get to report them for this run.")
    section = st.segmented_control(
        "Show",
        list(Section),
        default=Section.ANSWER,
        required=True,
        key=f"section-{run.id}",
        label_visibility="collapsed",
    )
    _SECTIONS[Section(section or Section.ANSWER)](run, store)
    _show_annotations(run, store)
    _show_golden(run, store)
    st.caption("Link to this run")
    st.code(run_url(run.id), language=None)


def _show_answer(run: RunRecord, _store: RunStore) -> None:
    for message in run.messages[:-1]:
        st.caption(message.role.capitalize())
        st.code(message.content, language=None, wrap_lines=True)
    st.caption("Prompt" if run.messages else "Text to be continued")
    st.code(run.prompt, language=None, wrap_lines=True)
    st.caption("Answer")
    if run.text:
        st.code(run.text, language=None, wrap_lines=True)
    else:
        st.caption("The run ended before it had written anything.")


def _show_tokens(run: RunRecord, store: RunStore) -> None:
    timeline = store.timeline(run.id)
    if timeline:
        show_tokens(timeline, key=f"tokens-{run.id}")
    else:
        st.caption("No tokens were kept for this run.")


def _show_cache(run: RunRecord, _store: RunStore) -> None:
    if run.cache and run.metrics:
        show_cache_report(run.cache, run.metrics)
    elif RemoteReport.of(run.environment):
        st.caption("A server answered: what it keeps, and why it reused no more, is its own to know.")
    else:
        st.caption("This run did not ask the prefix cache: its KV caching gear was off, or reused nothing by design.")


def _show_speculation(run: RunRecord, store: RunStore) -> None:
    timeline = store.timeline(run.id)
    if RemoteReport.of(run.environment):
        st.caption("A server answered: whether it drafts is set where it runs, and what it drafted is not told.")
        return
    if not run.speculation or not run.metrics or not timeline:
        st.caption("Nothing drafted for this run: its speculation gear was off, or it wrote nothing.")
        return
    show_speculation_notice(run.speculation, run.metrics, RunConfig.from_dict(run.config))
    show_losslessness(run)
    show_draft_report(timeline, run.speculation, run.metrics, key=f"drafts-{run.id}")


def _show_cascade(run: RunRecord, store: RunStore) -> None:
    if run.cascade:
        config = RunConfig.from_dict(run.config)
        show_cascade_notices(run.cascade, run.speculation, run.metrics, run.cache, config, run.messages)
        show_receipt(run, run.cascade, store)
    else:
        st.caption("One model answered: this run's cascade gear was off, or the run did not come to its end.")


def _show_configuration(run: RunRecord, _store: RunStore) -> None:
    st.caption(f"Configuration {run.config_hash}")
    st.json(dict(run.config))
    if schema := RunConfig.from_dict(run.config).sampling.json_schema:
        st.caption("The answer was held to this JSON schema")
        st.json(schema)
    if run.metadata:
        st.caption("Metadata that the API's caller sent")
        st.table(_written_out(run.metadata), border="horizontal", width="content", alt="Metadata of the run")


def _show_environment(run: RunRecord, _store: RunStore) -> None:
    if run.environment:
        st.table(_written_out(run.environment), border="horizontal", width="content", alt="Environment of the run")
    else:
        st.caption("Nothing was recorded about the environment.")
    if run.disturbance:
        st.caption("What else used the machine meanwhile")
        st.table(interference(run.disturbance), border="horizontal", width="content", alt="What else used the machine")


_SECTIONS = {
    Section.ANSWER: _show_answer,
    Section.TOKENS: _show_tokens,
    Section.CACHE: _show_cache,
    Section.SPECULATION: _show_speculation,
    Section.CASCADE: _show_cascade,
    Section.CONFIGURATION: _show_configuration,
    Section.ENVIRONMENT: _show_environment,
}


def _show_annotations(run: RunRecord, store: RunStore) -> None:
    rating_key, tags_key, note_key = (f"{name}-{run.id}" for name in ("rating", "tags", "note"))

    def rate() -> None:
        with errors_shown():
            store.rate(run.id, _THUMBS[st.session_state[rating_key]])

    def tag() -> None:
        with errors_shown():
            store.set_tags(run.id, st.session_state[tags_key])

    def annotate() -> None:
        with errors_shown():
            store.set_note(run.id, st.session_state[note_key])

    known_tags = sorted({*store.facets().tags, *run.tags})
    thumb = {rating: choice for choice, rating in _THUMBS.items()}[run.rating]
    left, middle, right = st.columns([1, 3, 4])
    with left:
        st.caption("Rating")
        st.feedback("thumbs", key=rating_key, default=thumb, on_change=rate)
    middle.multiselect(
        "Tags",
        known_tags,
        default=list(run.tags),
        accept_new_options=True,
        placeholder="Choose or type a tag",
        key=tags_key,
        on_change=tag,
    )
    right.text_area("Note", value=run.note, height=80, key=note_key, on_change=annotate)


def _show_golden(run: RunRecord, store: RunStore) -> None:
    """That it is a golden prompt, or the button that makes it one."""
    if store.sentinel.of_run(run.id):
        st.page_link("pages/sentinel.py", label="It is a golden prompt", icon=":material/verified_user:")
        return
    refusal = why_not(run, store.timeline(run.id))
    if st.button(
        "Golden prompt",
        key=f"golden-{run.id}",
        icon=":material/verified_user:",
        disabled=refusal is not None,
        help=refusal
        or "Accept this answer: it is replayed with its settings after every change of weights, kernels "
        "or version, and differences are shown on the Sentinel page.",
    ):
        with errors_shown():
            pick(store, run.id)
            st.rerun()


def _written_out(environment: Mapping[str, Any]) -> dict[str, str]:
    return {literal(key): literal(str(value)) for key, value in environment.items()}
