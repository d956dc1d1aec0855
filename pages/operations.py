"""Whether all is well, what the runs say about load, latency, errors and memory, and what the gears saved."""

from dataclasses import replace
from datetime import timedelta

import streamlit as st

from app import resources
from app.costs.pricing import load_prices, prices_path
from app.costs.savings import savings
from app.runs.invariants import totals_faults
from app.session.options import ChosenOption
from app.store import RunFilter, RunSort
from app.views.operations.alerts.standing import show_standing
from app.views.operations.breakdown import show_configurations, show_groups, show_slowest
from app.views.operations.cascades import show_cascades
from app.views.operations.charts import Timeline
from app.views.operations.goodput import good_requests
from app.views.operations.live import LIVE_EVERY, show_now
from app.views.operations.savings import show_savings
from app.views.operations.span import choose_span, span_of
from app.views.operations.top import show_top
from app.views.runs.naming import configuration_names
from app.views.runs.sources import choose_sources
from app.views.runs.table import say_whose
from app.views.shared.chosen import choose_named
from app.views.shared.clock import now
from app.views.shared.errors import errors_shown
from app.views.shared.faults import show_faults

REFRESH_EVERY = "10s"
LATELY = timedelta(hours=1)
INCOMPLETE = "ops-incomplete"  # key of whether runs are still to be summed up: drawn anew until none is
SECTIONS = ("Load", "Latency", "Gears", "Configurations", "Groups", "Savings", "Slowest")

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
choose_span()
with st.expander("Filters", icon=":material/filter_alt:"):
    sources = choose_sources(facets, key="ops-source")
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
        key_names = sorted({key.name for key in store.keys.list()})
        keys = (
            st.multiselect("API key", key_names, placeholder="All callers", key="api-key", bind="query-params")
            if key_names
            else []
        )
    with_disturbed = st.toggle(
        "Include disturbed runs",
        key="ops-disturbed",
        persist_state="session",
        help="Latencies leave out runs that others held up, by taking the processor. Counts never do.",
    )
    live = st.toggle("Refresh every 10 s", value=True, key="ops-live", persist_state="session")

chosen = RunFilter(models=tuple(models), config_hashes=tuple(hashes), sources=sources, key_names=tuple(keys))


def dashboard() -> None:
    """Everything below the filters, read anew each time it is drawn."""
    with errors_shown():
        span = span_of(store)
        seen = store.overview(chosen, span.edges, with_disturbed=with_disturbed)
        these = replace(chosen, since=span.since, until=span.until)
        lately = store.overview(chosen, (now() - LATELY, now()), with_disturbed=with_disturbed)
        show_faults(totals_faults(seen.totals, seen.latency))
        show_top(store, seen, lately)
        if (incomplete := seen.missing is not None) != st.session_state.get(INCOMPLETE, False):
            st.session_state[INCOMPLETE] = incomplete
            if not live:
                st.rerun()
        if not seen.totals.runs and not incomplete:
            st.info("No run was started in this time, or none passes the filters.")
            return
        if not seen.totals.runs:
            return
        section = choose_named("Figures", SECTIONS, ChosenOption("ops-section", "figures"))
        if section in ("Load", "Latency", "Gears"):
            above = st.container()
            timeline = Timeline(seen)
            if section == "Load":
                timeline.show_load(good_requests(store, chosen, seen))
            elif section == "Latency":
                timeline.show_latency()
            else:
                timeline.show_gears()
            with above:
                timeline.offer_runs(these)
        elif section == "Configurations":
            show_configurations(seen, names, these)
        elif section == "Groups":
            show_groups(seen, these)
        elif section == "Savings":
            prices = load_prices(prices_path(resources.get_settings().data_dir))
            show_savings(savings(seen.by_kind), prices.machines[0], prices.currency)
            cascades = store.cascades(seen.by_configuration)
            show_cascades(cascades, names, prices.machines[0], prices.currency, of=seen.work.cascades)
        else:
            say_whose(store)
            show_slowest(store.page(these, RunSort("e2e_s", descending=True), limit=10))


st.fragment(show_now, run_every=LIVE_EVERY if live else None)()
refreshed = live or st.session_state.get(INCOMPLETE, False)
st.fragment(dashboard, run_every=REFRESH_EVERY if refreshed else None)()
