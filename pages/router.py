"""Which prompts need the large model: bring prompts, record, choose a threshold, use it, watch how it does."""

import streamlit as st

from app import resources
from app.router.way import Step, Way
from app.session.labs import router as lab_session
from app.views.operations.alerts.arrived import show_runs_of_alert
from app.views.router.choose import choose_data_set, choose_study, data_set_on_view
from app.views.router.choosing.calibration import show_calibration
from app.views.router.choosing.consistency import show_consistency
from app.views.router.choosing.curve import show_curve
from app.views.router.choosing.pick import show_picker
from app.views.router.choosing.threshold import show_threshold
from app.views.router.choosing.times import in_costs
from app.views.router.data.bring import show_bring
from app.views.router.data.record import show_record
from app.views.router.operation.profiles import show_profiles
from app.views.router.operation.use import show_use
from app.views.router.operation.watch import show_watch
from app.views.router.steps import choose_step, offer_next

SECTIONS = ("Pick for me", "Threshold", "Curve", "Calibration", "Tier consistency")

lab = resources.get_router_lab()
store = resources.get_store()

st.title("Router lab", anchor=False)
st.caption("A cascade lets a small model answer what it can. Here you see which prompts that is, and what it saves.")
show_runs_of_alert(store)
names = lab.names()
data = data_set_on_view(lab, names)
way = Way.of(data, store.router.profiles())
step = choose_step(way)
file_waits = False
choices = st.grid(4, min_column_width=190)
if step is not Step.WATCH:
    with choices:
        choose_data_set(names)
if step is Step.BRING:
    file_waits = show_bring(store.router, lab)
elif step is Step.RECORD or data is None:
    if not names:
        st.info(
            "No answers are recorded yet. A router is chosen and judged on what a small and a large model answer to "
            "the same prompts: bring your own, or record those of Gearbox below."
        )
    show_record(store.router, lab, data)
elif step is Step.WATCH:
    show_watch(store)
elif study := choose_study(lab, data, choices):
    lab_session.prepare_threshold(study)
    if step is Step.USE:
        show_use(store.router, data, study, in_costs(lab, study))
        show_profiles(store.router, data, study, names)
    else:
        lab_session.SECTION.prepare(SECTIONS)
        section = st.segmented_control(
            "Show",
            SECTIONS,
            required=True,
            key=lab_session.SECTION.key,
            persist_state="session",
            label_visibility="collapsed",
        )
        lab_session.SECTION.into_address()
        match section:
            case "Threshold":
                show_threshold(lab, study)
            case "Curve":
                show_curve(lab, study)
            case "Calibration":
                show_calibration(lab, study, data.id)
            case "Tier consistency":
                show_consistency(lab, data, study)
            case _:
                show_picker(lab, study)
    lab_session.put_threshold_into_address(study)
if not file_waits:
    offer_next(step, way)
