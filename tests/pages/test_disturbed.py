"""The mark of a disturbed run wherever its speed is shown, and nowhere else."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from app.session import playground
from app.store import RunStore
from engine.types import Precision
from tests.support.disturbing import DISTURBED, QUIET, WHY
from tests.support.fakes import FakeEngine, make_metrics, make_request
from tests.support.ui import add_run, open_app, texts

BADGE = ":material/vibration: Disturbed"


def badges(app: AppTest) -> int:
    """How many marks are on the page."""
    return sum(BADGE in str(element.value) for element in app.markdown)


def figures(app: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in app.metric}


def test_a_table_of_runs_says_why_in_a_column_that_is_there_only_if_one_was_disturbed(
    monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    add_run(store, disturbance=QUIET)
    add_run(store)
    assert "disturbed" not in open_app(monkeypatch, store, "pages/runs.py").dataframe[0].value
    add_run(store, disturbance=DISTURBED)
    app = open_app(monkeypatch, store, "pages/runs.py")
    assert list(app.dataframe[0].value["disturbed"].fillna("")) == [WHY, "", ""]
    app.selectbox(key="runs-disturbed").set_value(True).run()
    assert len(app.dataframe[0].value) == 1
    app.selectbox(key="runs-disturbed").set_value(False).run()
    assert len(app.dataframe[0].value) == 2
    assert not app.exception


def test_a_disturbed_run_is_marked_with_why_and_all_that_was_measured(
    monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    quiet, disturbed = (add_run(store, disturbance=each) for each in (QUIET, DISTURBED))
    assert badges(open_app(monkeypatch, store, "pages/runs.py", {"run": quiet})) == 0
    app = open_app(monkeypatch, store, "pages/runs.py", {"run": disturbed})
    assert badges(app) == 1
    assert any(WHY in str(element.proto.help) for element in app.markdown)
    app.get_by_key(f"section-{disturbed}").set_value("Environment").run()
    told = str(app.table[-1].value)
    assert "The engine waited for a core" in told
    assert "40.0 %" in told


def test_compared_runs_are_marked_each(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    runs = [add_run(store, make_request(precision=p)) for p in (Precision.BF16, Precision.INT8)]
    runs.append(add_run(store, make_request(precision=Precision.INT4), disturbance=DISTURBED))
    assert badges(open_app(monkeypatch, store, "pages/compare.py", {"compare": ",".join(runs)})) == 1


def test_the_lane_that_was_disturbed_is_marked(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    engine = FakeEngine()
    engine.disturbances = [QUIET, DISTURBED]
    app = open_app(monkeypatch, store, "pages/playground.py", engine=engine)
    app.text_area(key=playground.PROMPT).set_value("Why?")
    app.button(key="playground-run").click().run()
    app.run()
    assert len(engine.requests) == 2
    assert badges(app) == 1


def test_latencies_leave_disturbed_runs_out_say_so_and_can_include_them(
    monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    for tpot_s in (0.01, 0.02, 0.03):
        add_run(store, metrics=make_metrics(tpot_s=tpot_s), disturbance=QUIET)
    app = open_app(monkeypatch, store, "pages/operations.py", {"figures": "Configurations"})
    assert "disturbed" not in texts(app, "caption")
    assert "left_out" not in app.dataframe[0].value
    for _ in range(4):
        add_run(store, metrics=make_metrics(tpot_s=9.0), disturbance=DISTURBED)
    app.run()
    assert (figures(app)["Runs"], figures(app)["TPOT p50"]) == ("7", "20.0 ms")
    assert "4 disturbed runs left out of TTFT, TPOT and E2E" in texts(app, "caption")
    assert list(app.dataframe[0].value["left_out"]) == [4]
    app.toggle(key="ops-disturbed").set_value(True).run()
    assert (figures(app)["Runs"], figures(app)["TPOT p50"]) == ("7", "9.00 s")
    assert "4 disturbed runs included in TTFT, TPOT and E2E" in texts(app, "caption")
    assert not app.exception
