from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from streamlit.testing.v1 import AppTest

from app import units
from app.doors.keys import KeyLimits
from app.store import Metric, RunOutcome, RunSource, RunStatus, RunStore
from app.store.database.identity import now
from app.store.runs import reading
from app.store.runs.rollups import reading as sums
from app.store.runs.statistics import overview
from app.views.operations import charts, span, top
from engine.types import GuardState, Precision
from tests.support.cascading import CASCADE, make_cascade_report
from tests.support.fakes import make_metrics, make_request
from tests.support.past_traffic import PastTraffic
from tests.support.ui import add_run, open_app, texts

PAGE = "pages/operations.py"


def figures(app: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in app.metric}


def test_without_runs_the_page_shows_the_way_to_the_playground(
    monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    app = open_app(monkeypatch, store, PAGE)
    assert "No runs yet" in app.info[0].value
    assert not app.metric


def test_the_figures_are_those_of_the_stored_runs(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    for ttft_s in (0.1, 0.2, 0.9):
        add_run(store, metrics=make_metrics(ttft_s=ttft_s, completion_tokens=10))
    add_run(store, words=(), status=RunStatus.FAILED, error="No.")
    shown = figures(open_app(monkeypatch, store, PAGE))
    assert shown["Runs"] == "4"
    assert shown["Answer tokens"] == "30"
    assert shown["Error rate"] == "25.0 %"
    assert shown["TTFT p50"] == "200 ms"


def test_latencies_that_were_never_measured_are_a_dash(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    add_run(store, words=(), status=RunStatus.FAILED, error="No.")
    add_run(store, make_request(cascade=CASCADE), words=(), status=RunStatus.STOPPED, cascade=make_cascade_report())
    app = open_app(monkeypatch, store, PAGE, {"figures": "Configurations"})
    shown = figures(app)
    assert {shown[f"{name} p50"] for name in ("TTFT", "TPOT", "E2E")} == {units.MISSING}
    assert any(frame.value.isna().any(axis=None) for frame in app.dataframe)
    assert {frame.proto.placeholder for frame in app.dataframe} == {units.MISSING}


def test_the_model_and_configuration_filters_hold_for_everything(
    monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    add_run(store, make_request("a", model="small"), metrics=make_metrics(tpot_s=0.01))
    add_run(store, make_request("b", model="large"), metrics=make_metrics(tpot_s=0.05))
    packed = make_request("c", model="large", precision=Precision.INT4)
    add_run(store, packed, metrics=make_metrics(tpot_s=0.02))
    app = open_app(monkeypatch, store, PAGE, {"figures": "Configurations"})
    app.multiselect(key="model").select("large").run()
    assert figures(app)["Runs"] == "2"
    app.multiselect(key="configuration").set_value([packed.config.hash]).run()
    assert figures(app)["TPOT p50"] == "20.0 ms"
    assert list(app.dataframe[0].value["configuration"]) == ["large · int4"]
    app.segmented_control(key="ops-section").set_value("Slowest").run()
    assert list(app.dataframe[0].value["prompt"]) == ["c"]


def test_the_traffic_of_one_key_can_be_looked_at(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    assert not open_app(monkeypatch, store, PAGE).multiselect
    add_run(store)
    request = make_request("by key")
    for _ in range(2):
        asked = store.create_run(request, person_id=None, source=RunSource.API, key_name="ci", environment={})
        store.finish_run(asked, RunOutcome(RunStatus.FINISHED, "yes", metrics=make_metrics()))
    assert "api-key" not in [choice.key for choice in open_app(monkeypatch, store, PAGE).multiselect]
    store.keys.create("ci", KeyLimits())
    app = open_app(monkeypatch, store, PAGE)
    assert figures(app)["Runs"] == "3"
    app.multiselect(key="api-key").select("ci").run()
    assert figures(app)["Runs"] == "2"


def test_cascades_are_told_of_with_what_they_saved_and_their_guards(
    monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    assert "Sent up" not in figures(open_app(monkeypatch, store, PAGE))
    request = make_request(model="m", cascade=CASCADE)
    guard = GuardState(
        tier="s", mode="aside", needed_share=0.4, recent_share=0.1, recent=10, decisions=30, probe_every=12
    )
    add_run(store, request, cascade=make_cascade_report(went_up=False, large_alone_s=3600.25, derived=True))
    add_run(store, request, cascade=make_cascade_report(large_alone_s=0.5, guards=(guard,)))
    app = open_app(monkeypatch, store, PAGE, {"figures": "Savings"})
    shown = figures(app)
    assert shown["Time"] == "60 min 00 s saved"
    assert shown["Money"] == "$0.100 saved"
    assert shown["Sent up"] == "50 %"
    table = app.dataframe[0].value
    assert list(table["guard"]) == ["s: one in 12 tried; 10 % of the last 10 stayed, 40 % must"]
    assert list(table["derived"]) == [3600.0]
    assert list(table["measured"]) == [-0.25]


def test_the_slowest_runs_come_first_with_their_links(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    ids = [add_run(store, metrics=make_metrics(e2e_s=seconds)) for seconds in (1.0, 9.0, 4.0)]
    slowest = open_app(monkeypatch, store, PAGE, {"figures": "Slowest"}).dataframe[0].value
    assert list(slowest["e2e"]) == [9.0, 4.0, 1.0]
    assert slowest["run"][0].endswith(f"/history?run={ids[1]}")


def test_what_is_cut_off_says_of_how_many_and_where_the_others_are(
    monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    for precision in (Precision.BF16, Precision.INT4, Precision.INT8):
        for _ in range(4):
            add_run(store, make_request(model="large", precision=precision))
    with monkeypatch.context() as few:
        few.setattr(reading, "_MOST_CONFIGURATIONS", 2)
        few.setattr(store, "facets", lambda: replace(RunStore.facets(store), configurations=()))
        app = open_app(monkeypatch, store, PAGE, {"figures": "Configurations"})
    assert "The 2 most used of 3 configurations." in texts(app, "caption")
    # one that no filter offers is called by its name all the same
    assert all(name.startswith("large · ") for name in app.dataframe[0].value["configuration"])
    assert "most used of" not in texts(open_app(monkeypatch, store, PAGE, {"figures": "Configurations"}), "caption")
    slowest = open_app(monkeypatch, store, PAGE, {"figures": "Slowest"})
    assert "The slowest 10 of 12 runs." in texts(slowest, "caption")


def test_a_time_without_runs_says_so(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    add_run(store, make_request(model="small"))
    add_run(store, make_request(model="large"))
    app = open_app(monkeypatch, store, PAGE)
    app.multiselect(key="model").select("small")
    app.multiselect(key="configuration").set_value([make_request(model="large").config.hash]).run()
    assert "No run was started" in app.info[0].value
    assert not app.metric


def test_the_filters_are_in_the_url(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    add_run(store, make_request(model="small"))
    add_run(store, make_request(model="large"))
    app = open_app(monkeypatch, store, PAGE, {"model": "small"})
    assert figures(app)["Runs"] == "1"


def test_refreshing_can_be_paused(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    add_run(store)
    app = open_app(monkeypatch, store, PAGE)
    add_run(store)
    app.toggle(key="ops-live").set_value(False).run()
    assert figures(app)["Runs"] == "2"
    assert not app.exception


def test_figures_without_runs_that_are_still_to_be_summed_up_say_so_until_they_are_in(
    monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    monkeypatch.setattr(sums, "EXACT_UP_TO", -1)
    monkeypatch.setattr(overview, "MOST_UNSUMMED", 2)
    for hours in (2, 4, 6, 8):
        PastTraffic(store, monkeypatch).run(now() - timedelta(hours=hours))
    app = open_app(monkeypatch, store, PAGE)
    assert figures(app)["Runs"] == "≥ 1"
    assert "Incomplete: 25 % of the runs of this time are summed up." in app.get("progress")[0].proto.text
    app.toggle(key="ops-live").set_value(False).run()
    assert figures(app)["Runs"] == "≥ 1"
    while store.sum_up(most=10):
        pass
    app.run()
    assert figures(app)["Runs"] == "4"
    assert not app.get("progress")


def test_a_day_of_25_hours_is_drawn_from_midnight_to_midnight(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    for module in (charts, span, top):
        monkeypatch.setattr(module, "reader_zone", lambda: ZoneInfo("Europe/Berlin"))
    summer, winter = datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    traffic = PastTraffic(store, monkeypatch)
    for moment in (summer, winter, winter + timedelta(hours=21, minutes=15)):
        traffic.run(moment)
    whole = {"from": "2026-10-24T22:00:00+00:00", "to": "2026-10-25T23:00:00+00:00"}
    app = open_app(monkeypatch, store, PAGE, whole)
    assert figures(app)["Runs"] == "3"
    drawn = json.loads(app.get("plotly_chart")[0].proto.spec)["data"][0]
    assert len(drawn["x"]) == 100
    assert drawn["x"] == sorted(set(drawn["x"]))
    assert (drawn["x"][0], drawn["x"][-1]) == ("2026-10-25T00:00:00", "2026-10-25T23:45:00")
    ran = {moment: note for moment, note, runs in zip(drawn["x"], drawn["text"], drawn["y"], strict=True) if runs}
    assert ran == {
        "2026-10-25T02:15:00": " (02:30)",
        "2026-10-25T02:45:00": " (02:30 again)",
        "2026-10-25T23:45:00": "",
    }
    assert "%{text}" in drawn["hovertemplate"]
    app.query_params["to"] = "2026-10-25T01:30:00+00:00"
    app.run()
    assert figures(app)["Runs"] == "1"


def drawn(app: AppTest, title: str) -> dict[str, list[float]]:
    """The heights of a chart's lines or layers by name, stretches without any left out."""
    specs = (json.loads(chart.proto.spec) for chart in app.get("plotly_chart"))
    (spec,) = (each for each in specs if each["layout"]["title"]["text"] == title)
    return {trace["name"]: [value for value in trace["y"] if value is not None] for trace in spec["data"]}


def test_goodput_stands_beside_all_requests_where_there_are_slos(
    monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    traffic = PastTraffic(store, monkeypatch)
    for ttft_s in (0.1, 5.0, 0.2):
        traffic.run(now() - timedelta(hours=2), ttft_s=ttft_s)
    assert drawn(open_app(monkeypatch, store, PAGE), "Requests per second").keys() == {"all requests"}
    store.objectives.add(Metric.TTFT, 0.9, limit_s=1.0)
    shown = drawn(open_app(monkeypatch, store, PAGE), "Requests per second")
    (every,) = shown["all requests"]
    assert shown["goodput: every SLO met"] == [pytest.approx(every * 2 / 3)]


def test_the_mix_of_precisions_and_of_who_answered_is_drawn(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    for precision in (Precision.INT4, Precision.INT4, Precision.INT8):
        add_run(store, make_request(precision=precision))
    add_run(store, make_request(model="m", cascade=CASCADE), cascade=make_cascade_report(went_up=True))
    app = open_app(monkeypatch, store, PAGE, {"figures": "Gears"})
    assert drawn(app, "Precisions, of all runs") == {"int4": [50.0], "int8": [25.0], "bf16": [25.0]}
    (answered,) = drawn(app, "Who answered, of cascades").values()
    assert answered == [100.0]
