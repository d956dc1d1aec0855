"""What fewer bits cost: on a prompt of one's own, on a corpus, on tasks."""

import streamlit as st

from app import resources
from app.literal import literal
from app.views.quantization.corpus import show_corpus_lab
from app.views.quantization.prompt import show_prompt_lab
from app.views.quantization.tasks import show_task_lab
from app.views.reports.alarm import edit_limits
from engine import list_models

PROMPT, CORPUS, TASKS = "On my prompt", "On a corpus", "On tasks"

store = resources.get_store()
jobs = resources.get_jobs()
models = {model.name: model for model in list_models(resources.get_settings().models_dir) if model.installed}

st.title("Quantization lab", anchor=False)
st.caption("Fewer bits make a model smaller and faster. Here you see what they change in its answers.")
if not models:
    st.info("No model is installed yet. Install one, and measure here what fewer bits cost it.")
    st.page_link("pages/models.py", label="Open Models", icon=":material/deployed_code:")
    st.stop()

with st.container(horizontal=True, vertical_alignment="bottom"):
    name = st.selectbox("Model", list(models), key="lab-model", width=320, persist_state="session")
    section = st.segmented_control(
        "Measure",
        (PROMPT, CORPUS, TASKS),
        default=PROMPT,
        required=True,
        key="measure",
        bind="query-params",
    )
    limits = edit_limits(store.lab)
st.caption(
    f":material/info: “16-bit” of {literal(name)} is what the others are compared with: "
    f"{literal(models[name].provenance)}. "
    + ("What that file's own quantization had cost before does not show." if models[name].in_catalog else "")
)

if section == CORPUS:
    show_corpus_lab(name, store.lab, jobs, limits)
elif section == TASKS:
    show_task_lab(name, store.lab, jobs)
else:
    show_prompt_lab(name, store, jobs, limits)
