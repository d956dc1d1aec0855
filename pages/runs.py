"""Every run that was kept: find one, read it, note what it is worth, take it elsewhere."""

from dataclasses import replace

import streamlit as st

from app import resources
from app.literal import literal
from app.session.compare import of_configurations
from app.store import RunFilter, RunNotFoundError
from app.views.operations.alerts.arrived import named_alert
from app.views.runs.details import show_run
from app.views.runs.filters import choose_filter, choose_order
from app.views.runs.naming import MAX_COMPARED
from app.views.runs.table import (
    confirm_delete,
    export_buttons,
    read_page,
    say_how_far_back,
    say_what_is_not_indexed,
    say_what_was_pruned,
    say_whose,
    select_rows,
    turn_pages,
)

store = resources.get_store()

st.title("Runs", anchor=False)

# One run, by its permalink.
if run_id := st.query_params.get("run"):
    if st.button("All runs", icon=":material/arrow_back:"):
        del st.query_params["run"]
        st.rerun()
    try:
        run = store.get(run_id)
    except RunNotFoundError as error:
        st.warning(literal(str(error)), icon=":material/search_off:")
        st.stop()
    show_run(run, store)
    with st.container(horizontal=True):
        if run.group_id and (group := store.page(RunFilter(group_id=run.group_id), limit=MAX_COMPARED)).rows[1:]:
            newest = [other.id for other in reversed(group.rows)]
            # the run that is read is always among those compared
            together = newest if run.id in newest else [run.id, *newest[1:]]
            which = "" if group.total <= MAX_COMPARED else f"newest {MAX_COMPARED - 1} of {group.total:,} "
            if st.button(f"Compare with the {which}runs that belong to it", icon=":material/compare_arrows:"):
                st.switch_page("pages/compare.py", query_params={"compare": ",".join(together)})
        if st.button("Delete", icon=":material/delete:"):
            confirm_delete(store, [run])
    st.stop()

facets = store.facets()
if not facets.models:
    st.info("No runs yet. Each prompt you send is kept here with its answer and its figures.")
    st.page_link("pages/playground.py", label="Open the playground", icon=":material/play_circle:")
    st.stop()

filter = choose_filter(facets, named_alert(store))
with st.container(horizontal=True, vertical_alignment="bottom"):
    sort, size = choose_order()
    exports = st.container(horizontal=True, width="content")

say_whose(store)
if filter.text.strip():
    say_what_is_not_indexed(store)
say_what_was_pruned(store)
page, page_key = read_page(store, filter, sort, size)
say_how_far_back(page, filter.text)
with exports:
    export_buttons(store, replace(filter, since=page.searched_since) if page.searched_since else filter, page)
if not page.total:
    st.info("No run passes these filters.")
    st.stop()

selected = select_rows(page)
turn_pages(page, size, page_key)

with st.container(horizontal=True, vertical_alignment="center"):
    if st.button(
        "Compare",
        icon=":material/compare_arrows:",
        disabled=not 2 <= len(selected) <= MAX_COMPARED,
        help=f"Select 2 to {MAX_COMPARED} runs.",
    ):
        st.switch_page("pages/compare.py", query_params={"compare": ",".join(run.id for run in selected)})
    configurations = dict.fromkeys(run.config_hash for run in selected)
    if st.button(
        "Compare configurations",
        icon=":material/tune:",
        disabled=not 2 <= len(configurations) <= MAX_COMPARED,
        help=f"Select runs of 2 to {MAX_COMPARED} configurations: they are compared on all prompts that all of them "
        "answered.",
    ):
        st.switch_page("pages/compare.py", query_params=of_configurations(configurations))
    if st.button("Delete", icon=":material/delete:", disabled=not selected, help="Select the runs to delete."):
        confirm_delete(store, selected)
    if not selected:
        st.caption("Select a run to read it.", width="content")

if len(selected) == 1:
    show_run(store.get(selected[0].id), store)
