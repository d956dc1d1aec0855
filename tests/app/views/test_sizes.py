"""The sizes of a measurement: what they say before it, and that what is chosen stays chosen."""

from __future__ import annotations

from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app.views.shared.sizes import Size
from tests.support.ui import texts


def page() -> None:
    import streamlit as st

    from app.views.shared.sizes import choose_size

    size = choose_size(st.session_state["sizes"], key="size", first="Full")
    st.text(f"{size.name}: {size.count}")


def opened(*sizes: Size) -> Any:
    app = AppTest.from_function(page, default_timeout=60)
    app.session_state["sizes"] = sizes
    app.run()
    assert not app.exception
    return app


def size(name: str, count: int, seconds: float | None, left: int | None = None) -> Size:
    return Size(name, count, "prompt", count if left is None else left, seconds)


@pytest.mark.parametrize(
    ("offered", "label"),
    [
        (size("Quick", 30, 41.0), "Quick · 30 prompts · about 40 s"),
        (size("Quick", 1, 3.0), "Quick · 1 prompt · a few seconds"),
        (size("Full", 5000, 7_400.0), "Full · 5,000 prompts · about 2 h"),
        (size("Full", 500, 77.0, left=0), "Full · 500 prompts · measured"),
        (size("Full", 500, None), "Full · 500 prompts"),
    ],
)
def test_a_size_says_how_much_it_is_and_takes(offered: Size, label: str) -> None:
    assert offered.label == label


def test_a_size_that_is_no_larger_is_not_offered() -> None:
    app = opened(size("Quick", 3, 1.0), size("Standard", 3, 1.0), size("Full", 3, 1.0))
    assert app.segmented_control(key="size").options == ["Full · 3 prompts · a few seconds"]
    assert texts(app, "text") == "Full: 3"


def test_what_is_chosen_stays_while_its_label_changes() -> None:
    app = opened(size("Quick", 3, 20.0), size("Full", 9, 60.0))
    assert texts(app, "text") == "Full: 9"
    app.segmented_control(key="size").set_value("Quick").run()
    app.session_state["sizes"] = (size("Quick", 3, 0.0, left=0), size("Full", 9, 40.0, left=6))
    app.run()
    assert texts(app, "text") == "Quick: 3"
    assert app.segmented_control(key="size").options[0] == "Quick · 3 prompts · measured"


def test_where_nobody_knows_the_time_it_says_when_it_will_be_known() -> None:
    assert "Times are told once" in texts(opened(size("Quick", 3, None)), "caption")
    assert texts(opened(size("Quick", 3, None, left=0)), "caption") == ""
