"""The lab on one prompt: where cheaper weights changed the model's mind."""

from __future__ import annotations

from functools import partial

import streamlit as st

from app import resources, units
from app.jobs import Jobs
from app.literal import literal
from app.quantization.degradation import judge_divergence
from app.quantization.lab import greedy_request
from app.quantization.prompt_check import PromptCheck, check_prompt
from app.session import state
from app.store import AlarmLimits, RunStore
from app.views.gears.precisions import offered_precisions, precision_help
from app.views.reports.alarm import show_alarm
from app.views.reports.divergence_view import describe_parting, show_divergence
from app.views.shared.answer_length import choose_max_tokens
from app.views.shared.errors import show_error
from app.views.shared.job_progress import follow_job
from engine.errors import InvalidRequestError
from engine.types import Precision

_PROMPT, _PRECISION, _MAX_TOKENS = "lab-prompt", "lab-prompt-precision", "lab-prompt-max-tokens"
_FIRST_PROMPT = "Why is the sky blue? Answer in three sentences."


def show_prompt_lab(model: str, store: RunStore, jobs: Jobs, limits: AlarmLimits) -> None:
    """A prompt, a precision, and what came of them."""
    key = f"quantization prompt {state.session_id()}"
    running = (job := jobs.state(key)) is not None and job.running
    st.session_state.setdefault(_PROMPT, _FIRST_PROMPT)
    st.session_state.setdefault(_PRECISION, Precision.INT4)
    st.session_state.setdefault(_MAX_TOKENS, state.DEFAULT_MAX_TOKENS)
    with st.form("lab-prompt-form", border=False):
        # open while a prompt runs: Streamlit discards what a form sends to a widget that its submission disables
        st.text_area("Prompt", key=_PROMPT, height=90, persist_state="session")
        with st.container(horizontal=True, vertical_alignment="bottom"):
            st.segmented_control(
                "Precision",
                [precision for precision in offered_precisions() if precision is not Precision.BF16],
                key=_PRECISION,
                required=True,
                format_func=str,
                help=precision_help(),
                persist_state="session",
            )
            choose_max_tokens(_MAX_TOKENS)
            asked = st.form_submit_button(
                "Run and compare",
                key="lab-prompt-run",
                type="primary",
                icon=":material/play_arrow:",
                disabled=running,
            )
    if asked:
        _start(model, store, jobs, key)
    follow_job(jobs, key, when_cancelled="Cancelled. What was written so far is kept among the runs.")
    checked = state.prompt_check()
    if checked and checked.divergence:
        _show_result(checked, limits)
    elif checked is None:
        st.info(
            "The prompt is answered in the precision chosen. Then the 16-bit model reads the same answer, and each "
            "token is coloured by how far apart the two are."
        )


def _start(model: str, store: RunStore, jobs: Jobs, key: str) -> None:
    precision = Precision(st.session_state[_PRECISION])
    try:
        request = greedy_request(
            model, precision, st.session_state[_PROMPT] or "", max_tokens=st.session_state[_MAX_TOKENS]
        )
    except InvalidRequestError as error:
        show_error(error)
        return
    checked = PromptCheck(request, state.session_id())
    if jobs.submit(key, partial(check_prompt, resources.get_engine(), store, checked)):
        state.set_prompt_check(checked)
        st.rerun()


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
            ("Tokens per second", units.rate(rate), "1 / TPOT, measured while the answer was written."),
        ):
            st.metric(label, value, help=help_text, width="content")
    st.text(describe_parting(divergence, precision))
    show_divergence(divergence, precision, key="lab-prompt")
    if checked.run_id:
        st.page_link(
            "pages/runs.py", label="Open this run", icon=":material/history:", query_params={"run": checked.run_id}
        )
