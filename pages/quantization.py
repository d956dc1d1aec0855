"""What fewer bits cost: on a prompt of one's own, on a corpus, on tasks."""

import streamlit as st

from app import resources
from app.literal import literal
from app.session.labs import quantization as lab_session
from app.views.gears.models import choose_model
from app.views.operations.alerts.arrived import show_runs_of_alert
from app.views.quantization.corpus import show_corpus_lab
from app.views.quantization.prompt import show_prompt_lab
from app.views.quantization.tasks import show_task_lab
from app.views.reports.alarm import edit_limits
from app.views.shared.missing_models import show_missing
from engine import list_models

PROMPT, CORPUS, TASKS = "On my prompt", "On a corpus", "On tasks"

store = resources.get_store()
models = list_models(resources.get_settings().models_dir)
installed = {model.name: model for model in models if model.installed}
form = lab_session.form(list(installed))

st.title("Quantization lab", anchor=False)
st.caption("Fewer bits make a model smaller and faster. Here you see what they change in its answers.")
with st.container(horizontal=True, vertical_alignment="bottom"):
    name = choose_model(form, list(installed), width=320, in_address=True)
    section = st.segmented_control(
        "Measure",
        (PROMPT, CORPUS, TASKS),
        default=PROMPT,
        required=True,
        key="measure",
        bind="query-params",
    )
    limits = edit_limits(store.lab)
show_runs_of_alert(store, lab_session.PROMPT)
if show_missing(models, [name]):
    st.stop()
st.caption(
    f":material/info: “16-bit” of {literal(name)} is what the others are compared with: "
    f"{literal(installed[name].provenance)}. "
    + ("What that file's own quantization had cost before does not show." if installed[name].quantized_before else "")
)

if section == CORPUS:
    show_corpus_lab(name, store.lab, limits)
elif section == TASKS:
    show_task_lab(name, store.lab)
else:
    show_prompt_lab(form, store, limits)
