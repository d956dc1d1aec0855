"""Drafts and their fate: on a prompt of one's own, by category, against γ, and which drafter to take."""

import streamlit as st

from app import resources
from app.views.gears.precisions import offered_precisions, precision_help
from app.views.speculation.categories import show_categories
from app.views.speculation.gamma import show_gamma
from app.views.speculation.matchmaker import show_matchmaker
from app.views.speculation.prompt import show_prompt
from engine import list_models
from engine.types import Precision

PROMPT, CATEGORIES, GAMMA, MATCHMAKER = "On my prompt", "By category", "Against γ", "Matchmaker"
SECTIONS = {PROMPT: show_prompt, CATEGORIES: show_categories, GAMMA: show_gamma, MATCHMAKER: show_matchmaker}

installed = [model.name for model in list_models(resources.get_settings().models_dir) if model.installed]

st.title("Speculation lab", anchor=False)
st.caption("Tokens are drafted cheaply and checked in one pass of the model. The answer stays the model's own.")
if not installed:
    st.info("No model is installed yet. Install one, and see here how far drafts speed it up.")
    st.page_link("pages/models.py", label="Open Models", icon=":material/deployed_code:")
    st.stop()

st.session_state.setdefault("speculation-precision", Precision.INT4)
with st.container(horizontal=True, vertical_alignment="bottom"):
    model = st.selectbox("Model", installed, key="speculation-model", width=280, persist_state="session")
    precision = st.segmented_control(
        "Precision",
        offered_precisions(),
        key="speculation-precision",
        required=True,
        format_func=str,
        help=precision_help(),
        persist_state="session",
    )
    section = st.segmented_control(
        "Show", list(SECTIONS), default=PROMPT, required=True, key="speculation", bind="query-params"
    )
SECTIONS[section or PROMPT](model, Precision(precision or Precision.INT4), installed)
