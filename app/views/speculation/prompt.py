"""The Speculation lab on one prompt: where each token of the answer came from."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import streamlit as st

from app import resources, units
from app.literal import literal
from app.runs.prompts import SamplePrompt
from app.session import state
from app.speculation.drafted_prompt import DraftedPrompt, draft_prompt
from app.speculation.drafters import NGRAM, drafter_of
from app.speculation.lab import PAIRS, lab_prompts, lab_request
from app.views.gears.drafter import choose_drafter, show_fitness
from app.views.reports.draft_report import show_draft_report
from app.views.reports.losslessness import show_badge, show_speculation_notice
from app.views.runs.naming import configuration_name
from app.views.shared.answer_length import choose_max_tokens
from app.views.shared.errors import show_error
from app.views.shared.job_progress import follow_job
from engine.errors import InvalidRequestError
from engine.types import Precision

_PROMPT, _SAMPLE, _MAX_TOKENS = "speculation-prompt", "speculation-sample", "speculation-max-tokens"
_DRAFTER, _GAMMA = "speculation-drafter", "speculation-gamma"


def show_prompt(model: str, precision: Precision, installed: Sequence[str]) -> None:
    """A prompt, a drafter, and what came of them."""
    jobs = resources.get_jobs()
    key = f"speculation prompt {state.session_id()}"
    running = (job := jobs.state(key)) is not None and job.running
    prompts = lab_prompts()
    for name, value in ((_PROMPT, prompts[0].prompt), (_DRAFTER, NGRAM), (_GAMMA, None), (_MAX_TOKENS, 128)):
        st.session_state.setdefault(name, value)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        drafter = choose_drafter(model, installed, drafter=_DRAFTER, gamma=_GAMMA, disabled=running)
        st.selectbox(
            "Sample prompts",
            prompts,
            index=None,
            format_func=lambda prompt: f"{prompt.category}: {prompt.title}",
            key=_SAMPLE,
            on_change=_use_sample,
            disabled=running,
            placeholder="Choose one",
        )
    show_fitness(drafter, model, precision, follow=not running)
    with st.form("speculation-form", border=False):
        # open while a prompt runs: Streamlit discards what a form sends to a widget that its submission disables
        st.text_area("Prompt", key=_PROMPT, height=140, persist_state="session")
        with st.container(horizontal=True, vertical_alignment="bottom"):
            choose_max_tokens(_MAX_TOKENS, least=2)
            asked = st.form_submit_button(
                "Run both ways",
                key="speculation-run",
                type="primary",
                icon=":material/play_arrow:",
                disabled=running,
                help=f"Plain and drafted by turns, {PAIRS} times each, from a cold start.",
            )
    if asked:
        _start(model, precision, drafter, key)
    follow_job(jobs, key, when_cancelled="Cancelled. What was written so far is kept among the runs.")
    shown = state.drafted_prompt()
    if shown and shown.losslessness:
        _show_result(shown)


def _use_sample() -> None:
    sample: SamplePrompt | None = st.session_state[_SAMPLE]
    if sample:
        st.session_state[_PROMPT] = sample.prompt


def _start(model: str, precision: Precision, drafter: str, key: str) -> None:
    prompt = SamplePrompt(id="own", category="", title="", prompt=st.session_state[_PROMPT] or "")
    max_tokens = st.session_state[_MAX_TOKENS]
    try:
        speculation = drafter_of(drafter, st.session_state[_GAMMA])
        plain, drafted = (
            lab_request(prompt, model, precision, gear, max_tokens=max_tokens) for gear in (None, speculation)
        )
    except InvalidRequestError as error:
        show_error(error)
        return
    shown = DraftedPrompt(plain, drafted, state.session_id())
    work = partial(draft_prompt, resources.get_engine(), resources.get_store(), shown)
    if resources.get_jobs().submit(key, work):
        state.set_drafted_prompt(shown)
        st.rerun()


def _show_result(shown: DraftedPrompt) -> None:
    run, config = shown.drafted_runs[-1], shown.drafted.config
    speculation, timeline = run.reports.speculation, run.timeline
    if not shown.losslessness or not speculation or not run.metrics or not timeline:
        return
    name = configuration_name(config.model, config.backend, config.precision, config.optimization)
    st.subheader(literal(name), anchor=False)
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        plain_s, drafted_s = shown.tpots_s or (None, None)
        medians = f"1 / median TPOT of {PAIRS} runs."
        st.metric(
            "Speed-up",
            units.ratio(plain_s / drafted_s if plain_s and drafted_s else None),
            help="Median plain TPOT / median drafted TPOT. Plain and drafted runs took turns.",
            width="content",
        )
        st.metric("Plain", units.rate(1 / plain_s if plain_s else None), help=medians, width="content")
        st.metric("Drafted", units.rate(1 / drafted_s if drafted_s else None), help=medians, width="content")
        show_badge(shown.losslessness, config.sampling)
    show_speculation_notice(speculation, run.metrics, config)
    show_draft_report(timeline, speculation, run.metrics, key="speculation-prompt")
    if run.run_id:
        st.page_link(
            "pages/runs.py", label="Open this run", icon=":material/history:", query_params={"run": run.run_id}
        )
