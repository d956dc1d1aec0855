"""The lab on one prompt: where cheaper weights changed the model's mind."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import streamlit as st

from app import resources, units
from app.literal import literal
from app.quantization.degradation import judge_divergence
from app.quantization.lab import greedy_request
from app.quantization.prompt_check import PromptCheck, check_prompt
from app.runs.verdict import Figure
from app.session.configuration import Form
from app.session.identity import person_id
from app.session.labs import quantization as lab_session
from app.store import AlarmLimits, RunStore
from app.views.gears.precisions import choose_precision, quantized_precisions
from app.views.gears.sampling import choose_max_tokens
from app.views.quantization.divergence import describe_parting, show_divergence
from app.views.race.noise import machine_noise
from app.views.reports.alarm import show_alarm
from app.views.reports.disturbance import show_disturbed
from app.views.runs.naming import link_to_run
from app.views.shared.background_job import BackgroundJob
from app.views.shared.errors import show_error
from engine.errors import InvalidRequestError


def show_prompt_lab(form: Form, store: RunStore, limits: AlarmLimits) -> None:
    """A prompt, a precision, and what came of them."""
    job = BackgroundJob(f"quantization prompt {person_id()}", "What was written so far is kept among the runs.")
    prompt = lab_session.prompt()
    with st.form("lab-prompt-form", border=False):
        # open while a prompt runs: Streamlit discards what a form sends to a widget that its submission disables
        st.text_area("Prompt", key=lab_session.PROMPT, height=90, persist_state="session")
        with st.container(horizontal=True, vertical_alignment="bottom"):
            choose_precision(form, quantized_precisions())
            choose_max_tokens(form)
            asked = job.start_button("Run and compare", key="lab-prompt-run", in_form=True)
    if asked:
        _start(form, prompt, store, job)
    job.follow()
    checked = lab_session.prompt_check()
    if checked and checked.divergence:
        _show_result(checked, limits)
    elif checked is None:
        st.info(
            "The prompt is answered in the precision chosen. Then the 16-bit model reads the same answer, and each "
            "token is coloured by how far apart the two are."
        )


def _start(form: Form, prompt: str, store: RunStore, job: BackgroundJob) -> None:
    try:
        request = greedy_request(form.model, form.precision, prompt, max_tokens=form.value("max-tokens"))
    except InvalidRequestError as error:
        show_error(error)
        return
    checked = PromptCheck(request, person_id())
    lab_session.set_prompt_check(checked)
    title = f"Comparing {form.model} {form.precision} with 16 bits"
    replace(job, title=title).start(partial(check_prompt, resources.get_engine(), store, checked))


def _show_result(checked: PromptCheck, limits: AlarmLimits) -> None:
    divergence, config = checked.divergence, checked.request.config
    if divergence is None:
        return
    tokens, precision = divergence.tokens, config.precision
    flips = sum(token.flip for token in tokens)
    kld_mean = sum(token.kld for token in tokens) / len(tokens)
    same_top = 1 - flips / len(tokens)
    st.subheader(f"{literal(config.model)} in {precision}", anchor=False)
    show_alarm(judge_divergence(kld_mean, same_top, limits, measured_on="this answer"))
    with st.container(horizontal=True, gap="medium"):
        worst = max(token.kld for token in tokens)
        rate = checked.metrics.tokens_per_second if checked.metrics else None
        for label, value, help_text in (
            ("KLD mean", units.divergence(kld_mean), "From the 16-bit model, over the tokens of this answer."),
            ("KLD max", units.divergence(worst), "The token at which the two are farthest apart."),
            ("Top-1 agreement", units.percent(same_top, 1), "Tokens at which both hold the same one for likeliest."),
            ("Top-1 flips", f"{flips} of {len(tokens)}", "Tokens at which they do not."),
            (
                "Tokens per second",
                units.rate(rate, machine_noise().spread(Figure.TPOT)),
                "1 / TPOT, measured while the answer was written.",
            ),
        ):
            st.metric(label, value, help=help_text, width="content")
        show_disturbed(checked.reports.disturbance)
    st.text(describe_parting(divergence, precision))
    show_divergence(divergence, precision, key="lab-prompt")
    if checked.run_id:
        link_to_run(checked.run_id)
