"""What the stored runs say about load, latency, errors and memory."""

import streamlit as st

from app import resources
from app.costs.pricing import load_prices, prices_path
from app.runs.invariants import totals_faults
from app.store import RunFilter, RunSort
from app.views.operations.alerts.standing import show_standing
from app.views.operations.cascades import show_cascades
from app.views.operations.charts import show_configurations, show_over_time, show_slowest, show_totals, whole_stretch
from app.views.reports.cache_report import show_verification
from app.views.runs.naming import configuration_names
from app.views.runs.sources import choose_sources
from app.views.runs.table import say_whose
from app.views.shared.clock import TimeRange, now
from app.views.shared.errors import errors_shown
from app.views.shared.faults import show_faults

REFRESH_EVERY = "10s"

store = resources.get_store()


def rerun_when_there_are_runs() -> None:
    """Draw the whole page as soon as there is something to draw."""
    with errors_shown():
        if store.facets().models:
            st.rerun()


st.title("Operations", anchor=False)
with errors_shown():
    show_standing(store)

facets = store.facets()
if not facets.models:
    st.info("No runs yet. Load, latency and errors appear here as prompts are answered.")
    st.page_link("pages/playground.py", label="Open the playground", icon=":material/play_circle:")
    st.fragment(rerun_when_there_are_runs, run_every=REFRESH_EVERY)()
    st.stop()

names = configuration_names(facets.configurations)
with st.container(horizontal=True, vertical_alignment="bottom"):
    time_range = st.segmented_control(
        "Runs started",
        list(TimeRange),
        format_func=lambda choice: TimeRange(choice).label,
        default=TimeRange.WEEK,
        required=True,
        key="range",
        bind="query-params",
    )
    sources = choose_sources(facets, key="ops-source")
    live = st.toggle("Refresh every 10 s", value=True, key="ops-live", persist_state="session")
    with_disturbed = st.toggle(
        "Include disturbed runs",
        key="ops-disturbed",
        persist_state="session",
        help="Latencies leave out runs that others held up, by taking the processor. Counts never do.",
    )
with st.container(horizontal=True):
    models = st.multiselect("Model", facets.models, placeholder="All models", key="model", bind="query-params")
    hashes = st.multiselect(
        "Configuration",
        list(names),
        format_func=names.__getitem__,
        placeholder="All configurations",
        key="configuration",
        bind="query-params",
    )


def dashboard() -> None:
    """Everything below the filters, read anew each time it is drawn."""
    with errors_shown():
        span = TimeRange(time_range or TimeRange.WEEK)
        until = now()
        since = span.since(until)
        chosen = RunFilter(models=tuple(models), config_hashes=tuple(hashes), sources=sources, since=since)
        seen = store.overview(chosen, span.bucket, with_disturbed=with_disturbed)
        if not seen.totals.runs:
            st.info("No run was started in this time, or none passes the filters.")
            return
        show_faults(totals_faults(seen.totals, seen.latency))
        show_totals(seen.totals, seen.latency)
        show_verification(resources.get_engine().cache_status())
        show_over_time(whole_stretch(seen.over_time, span.bucket, since, until))
        st.subheader("Configurations", anchor=False)
        show_configurations(seen.by_configuration, names, total=seen.configurations)
        with errors_shown():  # of the price file
            prices = load_prices(prices_path(resources.get_settings().data_dir))
            show_cascades(store.cascades(chosen), names, prices.machines[0], prices.currency)
        st.subheader("Slowest runs", anchor=False)
        say_whose(store)
        show_slowest(store.page(chosen, RunSort("e2e_s", descending=True), limit=10))


st.fragment(dashboard, run_every=REFRESH_EVERY if live else None)()
