from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from app.store import RunStatus, RunStore
from engine.types import Precision
from tests.support.fakes import make_metrics, make_request
from tests.support.ui import add_run, open_app, texts

PAGE = "pages/compare.py"


def pair(store: RunStore) -> tuple[str, str]:
    plain = add_run(store, metrics=make_metrics(tpot_s=0.06, completion_tokens=4), group_id="g")
    packed = add_run(
        store,
        make_request(precision=Precision.INT4),
        words=("The", " sky", " looks", " blue."),
        metrics=make_metrics(tpot_s=0.02, completion_tokens=4),
        group_id="g",
    )
    return plain, packed


def test_without_a_choice_the_page_says_what_to_do(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    pair(store)
    app = open_app(monkeypatch, store, PAGE)
    assert "Choose two to four runs" in app.info[0].value
    assert len(app.multiselect(key="compare-picker").options) == 2


def test_a_permalink_shows_its_runs_with_verdict_and_differences(
    monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    plain, packed = pair(store)
    app = open_app(monkeypatch, store, PAGE, {"compare": f"{plain},{packed}"})
    said = texts(app, "markdown")
    assert "A · smollm2-135m · bf16" in said
    assert "B · smollm2-135m · int4" in said
    assert "1.8× faster from start to end" in said
    assert "TPOT 60 ms → 20 ms, 3.0× faster." in texts(app, "caption")
    table = app.dataframe[0].value
    assert list(table["Configuration"]) == ["optimization.quantization.precision"]
    assert list(table["B · smollm2-135m · int4"]) == ["int4"]
    assert "E2E is not compared" not in texts(app, "caption")
    assert f"comparison?compare={plain},{packed}" in texts(app, "code")


def test_runs_can_be_replayed_but_those_without_tokens(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    good = add_run(store)
    bad = add_run(store, words=(), status=RunStatus.FAILED, error="No.")
    app = open_app(monkeypatch, store, PAGE, {"compare": f"{good},{bad}"})
    assert "B · smollm2-135m · bf16 cannot be replayed: no token times were kept of it." in texts(app, "caption")
    (save,) = app.get("download_button")
    assert save.proto.label == "Save as a file"
    alone = open_app(monkeypatch, store, PAGE, {"compare": bad})
    assert not alone.get("download_button")


def test_runs_of_a_race_of_rounds_are_compared_by_all_of_them(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    lanes: list[list[str]] = [[], []]
    for drift in (1.0, 1.1, 0.9):
        for lane, request, tpot_s in ((0, make_request(), 0.06), (1, make_request(precision=Precision.INT4), 0.02)):
            tpot_s *= drift
            metrics = make_metrics(ttft_s=tpot_s, tpot_s=tpot_s, e2e_s=4 * tpot_s, completion_tokens=4)
            lanes[lane].append(add_run(store, request, metrics=metrics, group_id="rounds"))
    app = open_app(monkeypatch, store, PAGE, {"compare": f"{lanes[0][1]},{lanes[1][1]}"})
    said = texts(app, "markdown", "caption")
    assert "3.0× faster from start to end" in said
    (tpot,) = [chart for chart in app.get("plotly_chart") if chart.proto.alt == "TPOT, less is better"]
    assert '"arrayminus"' in tpot.proto.spec
    assert "3 rounds, A over B: E2E 3.0×." in said
    other_rounds = open_app(monkeypatch, store, PAGE, {"compare": f"{lanes[0][0]},{lanes[1][2]}"})
    assert "One round" in texts(other_rounds, "caption")


def test_answers_of_different_length_are_not_timed_as_wholes(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    runs = [add_run(store, words=("a",) * n) for n in (3, 5)]
    app = open_app(monkeypatch, store, PAGE, {"compare": ",".join(runs)})
    assert "E2E is not compared: the answers differ in length (A 3, B 5 tokens)." in texts(app, "caption")


def test_a_deleted_run_is_named_and_the_rest_still_shown(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    plain, packed = pair(store)
    store.delete([packed])
    app = open_app(monkeypatch, store, PAGE, {"compare": f"{plain},{packed}"})
    assert "it was deleted, or is somebody else's" in app.warning[0].value
    assert "A · smollm2-135m · bf16" in texts(app, "markdown")
    assert "at least one more" in app.info[0].value


def test_any_of_the_runs_is_the_baseline_and_the_address_names_it(
    monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    plain, packed = pair(store)
    app = open_app(monkeypatch, store, PAGE, {"compare": f"{plain},{packed}", "baseline": packed})
    assert "slower from start to end" in texts(app, "markdown")
    assert list(app.dataframe[0].value.columns)[1:] == ["B · smollm2-135m · int4", "A · smollm2-135m · bf16"]
    app.segmented_control(key="compare-baseline").set_value(plain).run()
    assert app.query_params["baseline"] == plain
    assert "faster from start to end" in texts(app, "markdown")
    assert f"compare={plain},{packed}&baseline={plain}" in texts(app, "code")


def test_what_changed_most_comes_first_where_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    def shown(app: AppTest) -> list[str]:
        return [chart.proto.alt for chart in app.get("plotly_chart") if "less is better" in chart.proto.alt]

    plain, packed = pair(store)
    app = open_app(monkeypatch, store, PAGE, {"compare": f"{plain},{packed}"})
    assert shown(app)[0] == "E2E, less is better"
    app.segmented_control(key="compare-order").set_value("Most changed first").run()
    assert shown(app)[0] == "TPOT, less is better"
    assert app.query_params["order"] == "Most changed first"


def test_settings_that_are_alike_are_listed_where_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    plain, packed = pair(store)
    app = open_app(monkeypatch, store, PAGE, {"compare": f"{plain},{packed}", "settings": "All"})
    assert "sampling.temperature" in list(app.dataframe[0].value["Configuration"])
    app.segmented_control(key="compare-settings").set_value("Differences only").run()
    assert list(app.dataframe[0].value["Configuration"]) == ["optimization.quantization.precision"]


def test_the_choice_goes_into_the_url(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    plain, packed = pair(store)
    app = open_app(monkeypatch, store, PAGE)
    app.multiselect(key="compare-picker").set_value([packed, plain]).run()
    assert app.query_params["compare"] == f"{packed},{plain}"
    assert "A · smollm2-135m · int4" in texts(app, "markdown")
    app.multiselect(key="compare-picker").set_value([]).run()
    assert "compare" not in app.query_params


def test_runs_started_together_are_one_click_away(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    plain, packed = pair(store)
    app = open_app(monkeypatch, store, PAGE)
    app.button(key="group-g").click().run()
    assert app.query_params["compare"] == f"{plain},{packed}"


def test_at_most_four_runs_are_shown(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    runs = [add_run(store) for _ in range(5)]
    app = open_app(monkeypatch, store, PAGE, {"compare": ",".join(runs)})
    said = texts(app, "markdown")
    assert "D · " in said
    assert "E · " not in said


def test_a_run_that_failed_is_shown_with_its_error(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    good = add_run(store)
    bad = add_run(store, words=(), status=RunStatus.FAILED, error="Not enough memory.")
    app = open_app(monkeypatch, store, PAGE, {"compare": f"{good},{bad}"})
    assert app.error[0].value == "Not enough memory."
    assert "B failed" in texts(app, "markdown")


def test_different_prompts_are_pointed_out(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    runs = [add_run(store, make_request(prompt)) for prompt in ("one", "two")]
    app = open_app(monkeypatch, store, PAGE, {"compare": ",".join(runs)})
    assert "different prompts" in app.warning[0].value


def test_the_search_finds_older_runs_in_the_store(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    add_run(store, make_request("A needle in here"))
    for _ in range(55):
        add_run(store)
    app = open_app(monkeypatch, store, PAGE)
    assert not any("needle" in option for option in app.multiselect(key="compare-picker").options)
    assert "The newest 50 of 56 runs are offered." in texts(app, "caption")
    app.text_input(key="compare-search").set_value("needle").run()
    (option,) = app.multiselect(key="compare-picker").options
    assert "needle" in option
    assert "are offered" not in texts(app, "caption")
