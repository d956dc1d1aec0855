"""What answers cost here, and where machines of one's own are cheaper than an API."""

import streamlit as st

from app import resources, units
from app.costs.pricing import load_prices, prices_path
from app.session import self_hosting as session
from app.views.costs.inputs import choose_speed, enter_figures
from app.views.costs.self_hosting import plan_of, show_plan, show_prices_of_tokens
from app.views.shared.errors import errors_shown

store = resources.get_store()

st.title("Costs", anchor=False)

speeds = store.answer_speeds(store.host)
if not speeds:
    st.info("No run was finished on this machine yet. What answers cost is derived from how long they took here.")
    st.page_link("pages/playground.py", label="Open the playground", icon=":material/play_circle:")
    st.stop()

prices = load_prices(prices_path(resources.get_settings().data_dir))
answer = st.container()
with st.container(border=True):
    speed = choose_speed(speeds)
    session.prepare(per_hour=prices.machines[0].per_hour, target_s=float(max(1, round(3 * speed.e2e_s))))
    enter_figures(prices)

plan = None
with answer, errors_shown():
    plan = plan_of(speed, prices.currency)
    if plan:
        show_plan(plan)
        st.caption("Derived from throughput measured here, and from the prices and hidden costs below.")
    else:
        st.warning(
            f"An answer takes {units.seconds(speed.e2e_s)} by itself: no number of machines has it within "
            f"{units.seconds(session.TARGET_S.value)}. Allow more time, or choose a faster configuration.",
            icon=":material/timer_off:",
        )

if plan:
    st.subheader("A million tokens", anchor=False)
    show_prices_of_tokens(speeds, plan.api, prices.currency)
