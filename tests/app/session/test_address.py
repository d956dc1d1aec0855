from __future__ import annotations

from streamlit.testing.v1 import AppTest


def page() -> None:
    import streamlit as st

    from app.session import address

    address.arrive("operations")
    st.text(address.here())
    for query in ("model=a", "model=b&model=a", "range=day&model=b", "model=c", "model=a&key=x"):
        st.text(address.is_here(f"operations?{query}"))


def test_an_address_names_all_that_is_chosen_of_one_thing() -> None:
    app = AppTest.from_function(page)
    app.query_params["range"] = "day"
    app.query_params["model"] = ["a", "b"]
    app.run()
    here, *shown = (each.value for each in app.text)
    assert here == "operations?range=day&model=a&model=b"
    assert shown == ["True", "True", "True", "False", "False"]
