"""A sample of the traffic, graded by a model: the trend, how far to trust it, and where opinions part."""

import streamlit as st

from app import resources
from app.operations.judging.options import JudgingOptions
from app.views.operations.judging.choose import show_choice, show_state
from app.views.operations.judging.disagreements import show_disagreements
from app.views.operations.judging.trend import show_audits, show_trend
from app.views.shared.clock import TimeRange, now
from app.views.shared.desk import show_read_only
from app.views.shared.errors import errors_shown

store = resources.get_store()
st.title("Judging", anchor=False)
st.caption("Is the quality of what people get slipping? A model grades a sample of the runs, while nobody waits.")

options = JudgingOptions.kept(store.options)
show_state(store, options)
if store.may_administer:
    with errors_shown():
        show_choice(store, options)
else:
    show_read_only("the judge and its budget")

if not store.judging.counts():
    asks = store.may_administer and not options.on
    choose = "Choose a judge and a budget above; the" if asks else "The"
    st.info(f"Nothing was judged yet. {choose} first scores come once the server has been idle for a while.")
    st.stop()

span = TimeRange(
    st.segmented_control(
        "Runs started",
        [TimeRange.DAY, TimeRange.WEEK, TimeRange.MONTH, TimeRange.ALL],
        format_func=lambda choice: TimeRange(choice).label,
        default=TimeRange.MONTH,
        required=True,
        key="judging-range",
        bind="query-params",
    )
    or TimeRange.MONTH
)
since = span.since(now())
sums = store.judging.sums(since)
show_trend(sums)
show_audits(store, sums, since)
show_disagreements(store.judging.disagreements(since=since))
