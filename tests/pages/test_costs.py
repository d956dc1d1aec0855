"""The Costs page: what it says first, what it is reckoned from, what it refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app.session import self_hosting as session
from app.store import RunStore
from app.views.costs import inputs
from engine.types import Precision
from tests.support.fakes import make_metrics, make_request
from tests.support.ui import add_run, open_app, texts

PAGE = "pages/costs.py"


def measured(store: RunStore) -> None:
    """Alone two seconds for 50 tokens; in company of eight, four."""
    for e2e_s, batch in ((2.0, None), (2.0, None), (4.0, 8.0)):
        metrics = make_metrics(e2e_s=e2e_s, prompt_tokens=100, completion_tokens=50)
        add_run(store, make_request(precision=Precision.INT4), metrics=replace(metrics, mean_batch_size=batch))


def opened(monkeypatch: pytest.MonkeyPatch, store: RunStore, **figures: float) -> AppTest:
    """The page, with some figures entered."""
    app = open_app(monkeypatch, store, PAGE)
    for name, value in figures.items():
        app.number_input(key=getattr(session, name).key).set_value(value)
    app.run()
    assert not app.exception
    return app


def shown(app: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in app.metric}


def test_without_runs_the_page_shows_the_way_to_the_playground(
    monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    app = open_app(monkeypatch, store, PAGE)
    assert "No run was finished on this machine yet" in app.info[0].value
    assert not app.metric


def test_the_answer_comes_first_in_a_sentence(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    measured(store)
    figures: dict[str, Any] = {
        "TRAFFIC": 10_000, "PEAK_PERCENT": 10.0, "TARGET_S": 1_000.0, "API_INPUT": 1.0, "API_OUTPUT": 4.0,
        "PER_HOUR": 0.1, "UPKEEP_HOURS": 0.0,
    }  # fmt: skip
    app = opened(monkeypatch, store, **figures)
    # the API asks 0.0003 a request, so 3.00 a day; a machine takes nearly 18,000 a day, for 2.40
    said = app.markdown[0].value
    assert "At 10,000 requests a day your own 1 machine cost \\$18.25 a month less than the API" in said
    assert "Your own are cheaper from 8,000 requests a day on" in said
    figures = shown(app)
    assert figures["Machines needed"] == "1"
    assert figures["Own machines, a month"] == "$73.00"
    assert figures["API, a month"] == "$91.25"
    assert figures["Saved a day by your own"] == "$0.60"
    assert "Energy a day" not in figures
    (chart,) = app.get("plotly_chart")
    assert chart.proto.alt == "Cost a month over traffic"
    assert "from here your own are cheaper" in chart.proto.spec


def test_in_company_a_machine_takes_more(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    measured(store)
    app = opened(monkeypatch, store, TRAFFIC=100_000, TARGET_S=8.0)
    alone = int(shown(app)["Machines needed"])
    together = app.selectbox(key=session.SPEED.key).options[1]
    assert together == "smollm2-135m · int4, 8.00 at once: 100 tok/s"
    app.selectbox(key=session.SPEED.key).select_index(1).run()
    assert int(shown(app)["Machines needed"]) * 4 <= alone


def test_hidden_costs_count(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    measured(store)
    app = opened(
        monkeypatch, store, PER_HOUR=0.0, UPKEEP_HOURS=2.0, WAGE=50.0, UPGRADES=20.0, IDLE_WATTS=100.0,
        BUSY_WATTS=100.0, PER_KWH=0.5, TARGET_S=100.0,
    )  # fmt: skip
    assert shown(app)["Own machines, a month"] == "$156.50"  # 100 + 20 + 0.1 kW × 730 h × 0.5
    assert shown(app)["Energy a day"] == "2.40 kWh"
    assert "estimated" in app.dataframe[0].value.columns[-1]


def test_an_answer_that_takes_longer_than_the_target_is_told(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    measured(store)
    app = opened(monkeypatch, store, TARGET_S=1.0)
    assert "An answer takes 2.00 s by itself: no number of machines has it within 1.00 s" in app.warning[0].value
    assert not app.metric


def test_a_figure_that_cannot_be_is_named(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    measured(store)
    app = opened(monkeypatch, store, IDLE_WATTS=100.0, BUSY_WATTS=50.0)
    assert "power while busy, in watts, must be a number of 100 or more" in app.error[0].value


def test_what_was_entered_is_there_when_one_comes_back(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    measured(store)
    app = opened(monkeypatch, store, TRAFFIC=1_234)
    app.switch_page("pages/runs.py").run()
    app.switch_page(PAGE).run()
    assert app.number_input(key=session.TRAFFIC.key).value == 1_234


class Counter:
    """Counts 30 J between two looks."""

    name = "RAPL"

    def __init__(self) -> None:
        self.looks = 0

    def read(self) -> list[float]:
        self.looks += 1
        return [30.0 * self.looks]

    def used(self, before: list[float], after: list[float]) -> float:
        return after[0] - before[0]


def test_a_machine_that_counts_its_energy_is_asked(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    measured(store)
    assert "does not tell how much energy" in texts(opened(monkeypatch, store), "caption")
    monkeypatch.setattr(inputs, "find_counters", lambda: (Counter(),))
    app = opened(monkeypatch, store)
    app.button(key="costs-measure-power").click().run()
    assert "30 W over 1 s, measured, RAPL." in texts(app, "caption")
