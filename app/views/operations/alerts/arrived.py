"""The very runs of an alert, where its link led: at the top of a lab, with a prompt of theirs in its box."""

from __future__ import annotations

import streamlit as st

from app.literal import literal
from app.store import Alert, GoneError, RunStore, RunSummary
from app.units import MISSING, counted
from app.views.runs.filters import ALERT_QUERY
from app.views.runs.naming import column_config, one_line, run_columns, run_url

_SHOWN = 10
_CHOICE = "alert-prompt"


def named_alert(store: RunStore) -> Alert | None:
    """The alert that the address names; ``None`` if it names none that is kept.

    Raises:
        StoreError: the run database cannot be read.
    """
    alert_id = st.query_params.get(ALERT_QUERY)
    if not alert_id:
        return None
    try:
        return store.alerts.get(alert_id)
    except GoneError:
        return None


def show_runs_of_alert(store: RunStore, prompt_key: str | None = None) -> None:
    """Where the address names an alert, its runs.

    Args:
        store: as the viewer sees it.
        prompt_key: of the box that takes one of their prompts; ``None`` where the lab has none.

    Raises:
        StoreError: the run database cannot be read.
    """
    alert = named_alert(store)
    if alert is None:
        return
    page = store.page(alert.runs, limit=_SHOWN)
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f":material/notifications_active: **{literal(alert.title)}**", width="stretch")
            if st.button("Leave the alert", icon=":material/close:", type="tertiary", key="leave-alert"):
                del st.query_params[ALERT_QUERY]
                st.rerun()
        st.markdown(literal(alert.words))
        if not page.rows:
            st.caption("Its runs were deleted, or belong to somebody else.")
            return
        shown = "its" if page.total <= _SHOWN else f"the latest {len(page.rows)} of its"
        with st.expander(f"Open {shown} {counted(page.total, 'run')}", icon=":material/history:"):
            columns = {"run": [run_url(run.id) for run in page.rows], **run_columns(page.rows)}
            st.dataframe(
                columns,
                column_config={"run": st.column_config.LinkColumn("Run", display_text="Open"), **column_config()},
                column_order=("run", "started", "configuration", "ttft", "tpot", "e2e", "tokens", "prompt", "status"),
                hide_index=True,
                placeholder=MISSING,
                alt="Runs of the alert",
            )
        if prompt_key is not None:
            _offer_prompts(page.rows, prompt_key)


def _offer_prompts(rows: tuple[RunSummary, ...], prompt_key: str) -> None:
    """A choice of their prompts, each once; the one that is chosen goes into the box."""
    newest = {run.prompt: run.id for run in reversed(rows)}
    prompts = [prompt for prompt in newest if prompt.strip()]
    if not prompts:
        return

    def put() -> None:
        if chosen := st.session_state[_CHOICE]:
            st.session_state[prompt_key] = chosen

    st.selectbox(
        "Measure a prompt of its runs",
        prompts,
        index=None,
        format_func=lambda prompt: one_line(prompt, 100),
        placeholder="Choose one",
        key=_CHOICE,
        on_change=put,
    )
