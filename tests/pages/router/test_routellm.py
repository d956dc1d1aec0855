"""RouteLLM's strong-call share, taken over in the Router lab."""

from __future__ import annotations

from tests.support.cascade import recorded
from tests.support.router_lab import Open, metrics, words


def test_a_share_sets_the_slider_and_a_threshold_is_refused(open_lab: Open) -> None:
    app = open_lab("Threshold", recorded(150))
    said = "For 20.0% strong model calls, calibrated threshold for mf: 0.18810"
    app.text_area(key="router-routellm").set_value(said).run()
    app.button(key="router-routellm-set").click().run()
    assert not app.exception
    assert metrics(app)["Sent to the large model"] in ("19 %", "20 %", "21 %")
    at = app.slider[0].value
    app.text_area(key="router-routellm").set_value("router-mf-0.1881").run()
    app.button(key="router-routellm-set").click().run()
    assert app.slider[0].value == at
    assert "scores of its own router" in words(app)
