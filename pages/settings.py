"""How others come in, how long runs are kept, and where they are sent."""

import streamlit as st

from app import resources
from app.secrets import Secrets
from app.session.identity import person_id
from app.views.settings.api import show_api
from app.views.settings.keys import show_keys
from app.views.settings.login import show_login
from app.views.settings.retention import show_retention
from app.views.settings.secrets import show_secrets
from app.views.settings.telemetry import show_telemetry
from app.views.shared.errors import errors_shown

settings = resources.get_settings()
only_this_machine = resources.only_this_machine(settings)

st.title("Settings", anchor=False)
show_api(settings, only_this_machine=only_this_machine)
with errors_shown():
    show_keys(resources.get_store().keys, person_id())
with errors_shown():
    show_retention(resources.get_store())
show_secrets(Secrets.of(settings))
show_telemetry(resources.get_telemetry())
show_login(only_this_machine=only_this_machine)
