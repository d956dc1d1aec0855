"""The entry: page config, navigation, and what every page shares."""

from pathlib import Path

import streamlit as st
from streamlit import config

from app import resources
from app.session.address import arrive
from app.session.identity import known_person, person_id
from app.session.kept import widgets_kept
from app.views.shared.errors import errors_shown
from app.views.shared.job_strip import show_jobs
from app.views.sidebar.engine_status import show_engine_status
from app.views.sidebar.store_status import show_store_status

# A file of its own: a named icon would be fetched from the internet.
ICON = Path(__file__).parent / "app" / "views" / "gearbox.svg"

st.set_page_config(page_title="Gearbox", page_icon=ICON, layout="wide")

if config._server_mode == "starlette-managed":  # this script was served by itself, with no doors before it
    st.error("Start Gearbox with `make run` or `gearbox run`: here it would answer to anybody.")
    st.stop()

page = st.navigation(
    sections := {
        "Try": [
            st.Page(
                "pages/playground.py",
                title="Playground",
                icon=":material/play_circle:",
                default=True,
                help="One prompt, two lanes, side by side.",
            ),
            st.Page(
                "pages/chat.py",
                title="Chat",
                icon=":material/forum:",
                url_path="conversation",
                help="Many turns: how long each waits for its first token, and what is reused.",
            ),
        ],
        "Labs": [
            st.Page(
                "pages/quantization.py",
                title="Quantization lab",
                icon=":material/compress:",
                url_path="quantization-lab",
                help="What fewer bits change, on your prompt, on a corpus and on tasks.",
            ),
            st.Page(
                "pages/speculation.py",
                title="Speculation lab",
                icon=":material/fast_forward:",
                url_path="speculation-lab",
                help="Who drafts best, for what, and whether the answers stay the same.",
            ),
            st.Page(
                "pages/router.py",
                title="Router lab",
                icon=":material/alt_route:",
                url_path="router-lab",
                help="Which prompts need the large model, and what it saves to send only those.",
            ),
            st.Page(
                "pages/cache.py",
                title="Cache lab",
                icon=":material/memory:",
                url_path="cache-lab",
                help="What is kept of earlier runs, what it saved, and why a prompt was not reused.",
            ),
        ],
        "Decide": [
            st.Page(
                "pages/experiments.py",
                title="Experiments",
                icon=":material/science:",
                url_path="experiments-lab",
                help="Is the cheaper configuration good enough? Prompts × configurations, with a verdict.",
            ),
        ],
        "Look back": [
            st.Page(
                "pages/runs.py",
                title="Runs",
                icon=":material/history:",
                url_path="history",
                help="Every run that was kept: find, tag, rate, export.",
            ),
            st.Page(
                "pages/compare.py",
                title="Compare",
                icon=":material/compare_arrows:",
                url_path="comparison",
                help="Two to four runs side by side.",
            ),
        ],
        "Operate": [
            st.Page(
                "pages/operations.py",
                title="Operations",
                icon=":material/monitoring:",
                url_path="ops",
                help="Load, latency, errors and memory over time.",
            ),
            st.Page(
                "pages/alerts.py",
                title="Alerts",
                icon=":material/notifications:",
                url_path="on-call",
                help="What was promised, whether it is kept, what fires, and who is told.",
            ),
            st.Page(
                "pages/sentinel.py",
                title="Sentinel",
                icon=":material/verified_user:",
                url_path="sentinel",
                help="Golden prompts: are they answered as they were?",
            ),
            st.Page(
                "pages/judging.py",
                title="Judging",
                icon=":material/balance:",
                url_path="judging",
                help="A model grades a sample of the traffic.",
            ),
            st.Page(
                "pages/costs.py",
                title="Costs",
                icon=":material/payments:",
                url_path="self-hosting",
                help="What a million tokens cost here, and where your own machines are cheaper than an API.",
            ),
        ],
        "Set up": [
            st.Page(
                "pages/models.py",
                title="Models",
                icon=":material/deployed_code:",
                url_path="model-library",
                help="What is installed, and what can be.",
            ),
            st.Page(
                "pages/settings.py",
                title="Settings",
                icon=":material/settings:",
                url_path="server-settings",
                help="The API's address and keys, how long runs are kept, and where they are sent.",
            ),
        ],
    },
    expanded=True,
)

with st.sidebar:
    show_engine_status()
    show_store_status()
resources.hold_kv_for(person_id())

arrive(page.url_path)
show_jobs({each.url_path: each for pages in sections.values() for each in pages})
with errors_shown(), widgets_kept(known_person()):
    page.run()
