"""The Speculation lab on one prompt: where each token of the answer came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import streamlit as st

from app import resources, units
from app.literal import literal
from app.runs.answers import disturbed_by
from app.runs.invariants import Measured, run_faults, speedup_fault
from app.runs.prompts import SamplePrompt
from app.runs.verdict import Figure, ranged_gain
from app.session.configuration import Form
from app.session.identity import person_id
from app.session.labs import speculation as lab_session
from app.speculation.drafted_prompt import DraftedPrompt, draft_prompt
from app.speculation.drafters import drafter_of
from app.speculation.lab import PAIRS, lab_prompts, lab_request
from app.views.gears.drafter import choose_drafter
from app.views.gears.sampling import choose_max_tokens
from app.views.race.noise import machine_noise
from app.views.reports.disturbance import ICON, show_mark
from app.views.reports.draft_report import show_draft_report
from app.views.reports.losslessness import show_badge, show_speculation_notice
from app.views.runs.naming import config_name, link_to_run
from app.views.shared.background_job import BackgroundJob
from app.views.shared.errors import show_error
from app.views.shared.faults import show_faults
from engine.errors import InvalidRequestError

_SAMPLE = "speculation-sample"


def show_prompt(form: Form, installed: Sequence[str]) -> None:
    """A prompt, a drafter, and what came of them."""
    job = BackgroundJob(f"speculation prompt {person_id()}", "What was written so far is kept among the runs.")
    prompts = lab_prompts()
    prompt = lab_session.prompt(prompts[0].prompt)
    with st.container(horizontal=True):
        with st.container(width=480):
            choose_drafter(form, installed, disabled=job.running)
        st.selectbox(
            "Sample prompts",
            prompts,
            index=None,
            format_func=lambda prompt: f"{prompt.category}: {prompt.title}",
            key=_SAMPLE,
            on_change=_use_sample,
            disabled=job.running,
            placeholder="Choose one",
        )
    with st.form("speculation-form", border=False):
        # open while a prompt runs: Streamlit discards what a form sends to a widget that its submission disables
        st.text_area("Prompt", key=lab_session.PROMPT, height=140, persist_state="session")
        with st.container(horizontal=True, vertical_alignment="bottom"):
            choose_max_tokens(form, least=2)
            asked = job.start_button(
                "Run both ways",
                key="speculation-run",
                help=f"Plain and drafted by turns, {PAIRS} times each, from a cold start.",
                in_form=True,
            )
    if asked:
        _start(form, prompt, job)
    job.follow()
    shown = lab_session.drafted_prompt()
    if shown and shown.losslessness:
        _show_result(shown)


def _use_sample() -> None:
    sample: SamplePrompt | None = st.session_state[_SAMPLE]
    if sample:
        lab_session.use_prompt(sample.prompt)


def _start(form: Form, text: str, job: BackgroundJob) -> None:
    prompt = SamplePrompt(id="own", category="", title="", prompt=text)
    max_tokens = form.value("max-tokens")
    try:
        speculation = drafter_of(form.value("drafter"), form.value("gamma"))
        plain, drafted = (
            lab_request(prompt, form.model, form.precision, gear, max_tokens=max_tokens) for gear in (None, speculation)
        )
    except InvalidRequestError as error:
        show_error(error)
        return
    shown = DraftedPrompt(plain, drafted, person_id())
    lab_session.set_drafted_prompt(shown)
    title = f"Drafting for {form.model} {form.precision} on a prompt"
    replace(job, title=title).start(partial(draft_prompt, resources.get_engine(), resources.get_store(), shown))


def _show_result(shown: DraftedPrompt) -> None:
    run, config = shown.drafted_runs[-1], shown.drafted.config
    speculation, timeline = run.reports.speculation, run.timeline
    if not shown.losslessness or not speculation or not run.metrics or not timeline:
        return
    st.subheader(literal(config_name(config)), anchor=False)
    plain_s, drafted_s = shown.tpots_s or (None, None)
    noise = machine_noise()
    paired, spread = shown.paired(noise), noise.spread(Figure.TPOT)
    measured = Measured.of_lane(run)
    most = measured.tokens_per_pass if measured else None
    fault = speedup_fault(paired.ratio, most) if paired and most else None
    show_faults([*([fault] if fault else []), *(run_faults(measured) if measured else ())])
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        medians = f"1 / median TPOT of {PAIRS} runs, disturbed ones left out where there are others."
        st.metric(
            "Speed-up",
            units.ratio(paired.ratio, paired.spread) if paired and not fault else units.MISSING,
            help="Median over the pairs of plain TPOT / drafted TPOT. Plain and drafted runs took turns.",
            width="content",
        )
        st.metric("Plain", units.rate(1 / plain_s if plain_s else None, spread), help=medians, width="content")
        st.metric("Drafted", units.rate(1 / drafted_s if drafted_s else None, spread), help=medians, width="content")
        runs = (*shown.plain_runs, *shown.drafted_runs)
        show_mark(disturbed_by(shown.plain_runs) or disturbed_by(shown.drafted_runs))
        if left_out := sum(map(bool, (run.disturbed for run in runs))):
            st.caption(f"{ICON} {left_out} of {len(runs)} runs disturbed", width="content")
        show_badge(shown.losslessness)
    if paired and not fault:
        st.caption(f"Drafted against plain, per token: {ranged_gain(paired, 'pairs')}.")
    show_speculation_notice(speculation, run.metrics, config)
    show_draft_report(timeline, speculation, run.metrics, key="speculation-prompt")
    if run.run_id:
        link_to_run(run.run_id)
