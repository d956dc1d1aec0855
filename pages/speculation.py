"""Drafts and their fate: on a prompt of one's own, by category, against γ, and which drafter to take."""

import streamlit as st

from app import resources
from app.session.labs import speculation as lab_session
from app.views.gears.models import choose_model
from app.views.gears.precisions import choose_precision, offered_precisions
from app.views.operations.alerts.arrived import show_runs_of_alert
from app.views.shared.missing_models import show_missing
from app.views.speculation.categories import show_categories
from app.views.speculation.gamma import show_gamma
from app.views.speculation.matchmaker import show_matchmaker
from app.views.speculation.prompt import show_prompt
from engine import list_models

PROMPT, CATEGORIES, GAMMA, MATCHMAKER = "On my prompt", "By category", "Against γ", "Matchmaker"
SECTIONS = {PROMPT: show_prompt, CATEGORIES: show_categories, GAMMA: show_gamma, MATCHMAKER: show_matchmaker}

models = list_models(resources.get_settings().models_dir)
installed = [model.name for model in models if model.installed]
form = lab_session.form(installed)

st.title("Speculation lab", anchor=False)
st.caption("Tokens are drafted cheaply and checked in one pass of the model. The answer stays the model's own.")
with st.container(horizontal=True, vertical_alignment="bottom"):
    model = choose_model(form, installed, width=280, in_address=True)
    choose_precision(form, offered_precisions(), in_address=True)
    section = st.segmented_control(
        "Show", list(SECTIONS), default=PROMPT, required=True, key="speculation", bind="query-params"
    )
show_runs_of_alert(resources.get_store(), lab_session.PROMPT)
if show_missing(models, [model]):
    st.stop()
SECTIONS[section or PROMPT](form, installed)
