"""Which prompts need the large model: record, choose a threshold, look what it costs, keep it."""

import streamlit as st

from app import resources
from app.views.router.calibration import show_calibration
from app.views.router.choose import choose_data_set, choose_study
from app.views.router.consistency import show_consistency
from app.views.router.curve import show_curve
from app.views.router.data import show_data
from app.views.router.pick import show_picker
from app.views.router.profiles import show_profiles
from app.views.router.threshold import show_threshold

DATA, THRESHOLD, CURVE, PICK = "Data", "Threshold", "Curve", "Pick for me"
CALIBRATION, PROFILES, CONSISTENCY = "Calibration", "Profiles", "Tier consistency"

lab = resources.get_router_lab()

st.title("Router lab", anchor=False)
st.caption("A cascade lets a small model answer what it can. Here you see which prompts that is, and what it saves.")
section = st.segmented_control(
    "Show",
    (DATA, THRESHOLD, CURVE, PICK, CALIBRATION, PROFILES, CONSISTENCY),
    default=THRESHOLD,
    required=True,
    key="router-section",
    bind="query-params",
    label_visibility="collapsed",
)
choices = st.grid(4, min_column_width=190)
with choices:
    names = lab.names()
    data = choose_data_set(lab, names)
if section == DATA or data is None:
    show_data(resources.get_store().router, data, any_set=bool(names))
elif study := choose_study(lab, data, choices):
    match section:
        case "Curve":
            show_curve(lab, study)
        case "Pick for me":
            show_picker(lab, study)
        case "Calibration":
            show_calibration(lab, study, data.id)
        case "Profiles":
            show_profiles(resources.get_store().router, data, study)
        case "Tier consistency":
            show_consistency(lab, data, study)
        case _:
            show_threshold(lab, study)
