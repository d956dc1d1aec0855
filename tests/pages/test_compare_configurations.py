"""Compare, of whole configurations: by the runs that are kept, on the prompts that all of them answered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Button

from app.session.compare import of_configurations
from app.store import RunSource, RunStatus, RunStore
from engine.types import OptimizationConfig, Precision, RunConfig, SamplingParams
from tests.support.experiments import AnsweringEngine, design, run
from tests.support.fakes import make_metrics, make_request
from tests.support.ui import add_run, open_app, texts

PAGE = "pages/compare.py"
PLAIN, PACKED, THIRD = (
    RunConfig(model="smollm2-135m", optimization=OptimizationConfig.at(each)).hash
    for each in (Precision.BF16, Precision.INT4, Precision.INT8)
)
PROMPTS = [f"What is {n}?" for n in range(12)]


def ask(
    store: RunStore,
    precision: Precision,
    tpot_s: float,
    prompts: Sequence[str] = PROMPTS,
    words: Sequence[str] = ("The", " sky", " is", " blue."),
    *,
    max_tokens: int = 64,
    source: RunSource = RunSource.PLAYGROUND,
) -> None:
    """Let a configuration answer prompts, some a little slower than others."""
    for n, prompt in enumerate(prompts):
        each_s = tpot_s * (1 + 0.001 * (n * round(1000 * tpot_s) % 7))
        metrics = make_metrics(ttft_s=each_s, tpot_s=each_s, e2e_s=4 * each_s, completion_tokens=4)
        request = make_request(prompt, precision=precision, sampling=SamplingParams(max_tokens=max_tokens))
        add_run(store, request, words=words, metrics=metrics, source=source)


def opened(monkeypatch: pytest.MonkeyPatch, store: RunStore, *ids: str, **more: str) -> AppTest:
    return open_app(monkeypatch, store, PAGE, {**of_configurations(ids), **more})


def said(app: AppTest) -> str:
    return texts(app, "markdown", "caption", "info", "warning", "code")


def drawn(app: AppTest) -> list[str]:
    return [chart.proto.alt for chart in app.get("plotly_chart")]


def test_without_a_choice_the_page_says_what_to_do_and_offers_configurations(
    monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    ask(store, Precision.BF16, 0.06)
    ask(store, Precision.BF16, 0.06, max_tokens=8)
    app = opened(monkeypatch, store)
    assert "Choose two to four configurations" in said(app)
    assert app.multiselect(key="compare-configurations-picker").options == ["smollm2-135m · bf16 · 24 runs"]
    assert "at least one more" in said(opened(monkeypatch, store, PLAIN))


def test_configurations_are_compared_on_the_prompts_that_all_answered(
    monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    ask(store, Precision.BF16, 0.06, [*PROMPTS, "Only one was asked this."])
    ask(store, Precision.INT4, 0.02, words=("The", " sky", " is", " wide."))
    app = opened(monkeypatch, store, PLAIN, PACKED)
    assert "On the **12 prompts** that all of them answered (A answered 13, B answered 12)." in said(app)
    assert "B is 3.00× faster than A in E2E" in said(app)
    table = app.dataframe[0].value.set_index("Figure")
    assert table.loc["E2E", "B against A"] == "3.00× faster (2.99× to 3.00×)"
    assert table.loc["Word F1 to the baseline's answer", "B · smollm2-135m · int4"] == "75.0 %"
    assert table.loc["Same text as the baseline's", "B · smollm2-135m · int4"] == "0.0 %"
    assert set(table["Prompts"]) == {"12"}
    assert "Quality, right by a checker" not in table.index
    settings = app.dataframe[1].value
    assert list(settings["Configuration"]) == ["optimization.quantization.precision"]
    assert list(settings["B · smollm2-135m · int4"]) == ["int4"]


def test_the_most_changed_comes_first_unless_the_usual_order_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    ask(store, Precision.BF16, 0.06)
    ask(store, Precision.INT4, 0.05, words=("No.",))
    app = opened(monkeypatch, store, PLAIN, PACKED)
    assert drawn(app)[0] == "Same text as the baseline's, more is better"
    app.segmented_control(key="compare-order").set_value("As usual").run()
    assert drawn(app)[0] == "E2E, less is better"
    assert app.query_params["order"] == "As usual"


def test_the_baseline_is_pinned_and_all_of_it_stands_in_the_address(
    monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    ask(store, Precision.BF16, 0.06)
    ask(store, Precision.INT4, 0.02)
    app = opened(monkeypatch, store, PLAIN, PACKED, baseline=PACKED)
    assert "A is 3.00× slower than B in E2E" in said(app)
    link = texts(app, "code")
    for part in (f"configurations={PLAIN},{PACKED}", f"baseline={PACKED}", "what=Whole+configurations", "period=all"):
        assert part in link
    app.multiselect(key="compare-configurations-picker").set_value([PACKED]).run()
    assert app.query_params["configurations"] == PACKED
    app.segmented_control(key="compare-what").set_value("Runs").run()
    assert not app.exception
    assert "Choose two to four runs" in said(app)


def test_a_hash_that_runs_are_kept_under_names_their_configuration(
    monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    ask(store, Precision.BF16, 0.06)
    ask(store, Precision.INT4, 0.02)
    hashes = dict.fromkeys(run.config_hash for run in store.page().rows)
    app = opened(monkeypatch, store, *hashes, "0123456789abcdef")
    assert "On the **12 prompts**" in said(app)
    assert "A configuration of this link has no runs among these." in said(app)


def test_without_a_prompt_in_common_it_is_said_what_pairs_share(
    monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    ask(store, Precision.BF16, 0.06, PROMPTS[:8])
    ask(store, Precision.INT4, 0.02, PROMPTS[6:])
    ask(store, Precision.INT8, 0.02, ["Something else?"])
    app = opened(monkeypatch, store, PLAIN, PACKED, THIRD)
    assert "(A 8 prompts, B 6 prompts, C 1 prompt)" in said(app)
    assert "Only A and B share 2: choose fewer." in said(app)
    assert not app.get("plotly_chart")


def test_runs_are_filtered_by_source_and_period(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    for precision, tpot_s in ((Precision.BF16, 0.06), (Precision.INT4, 0.02)):
        ask(store, precision, tpot_s)
        ask(store, precision, tpot_s, ["Of a lab?"], source=RunSource.LAB)
    app = opened(monkeypatch, store, PLAIN, PACKED)
    assert "On the **13 prompts**" in said(app)
    app.segmented_control(key="compare-runs-of").set_value("lab").run()
    assert "On the **1 prompt**" in said(app)
    tomorrow = datetime.now(UTC) + timedelta(days=2)
    monkeypatch.setattr("app.views.compare.configurations.picker.now", lambda: tomorrow)
    assert "has no runs among these" in said(opened(monkeypatch, store, PLAIN, PACKED, period="24h"))


def test_an_experiments_configurations_are_compared_by_its_runs_and_quality(
    monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    made = design()
    experiment = run(AnsweringEngine(), store, made)
    ids = [each.config.hash for each in made.configurations]
    app = open_app(monkeypatch, store, PAGE, of_configurations(ids, experiment))
    assert "On the **3 prompts**" in said(app)
    assert app.selectbox(key="compare-experiment").value == experiment
    table = app.dataframe[0].value.set_index("Figure")
    assert table.loc["Quality, right by a checker", "A · small · bf16"] == "50.0 %"
    assert table.loc["Quality, right by a checker", "Prompts"] == "2"
    assert table.loc["Word F1 to the baseline's answer", "Prompts"] == "1"
    gone = open_app(monkeypatch, store, PAGE, of_configurations(ids, "gone"))
    assert "The experiment of this link is not here" in said(gone)


def test_failures_and_disturbance_are_told(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    ask(store, Precision.BF16, 0.06)
    ask(store, Precision.INT4, 0.02, PROMPTS[1:])
    request = make_request(PROMPTS[0], precision=Precision.INT4, sampling=SamplingParams(max_tokens=64))
    add_run(store, request, words=(), status=RunStatus.FAILED, error="No.")
    app = opened(monkeypatch, store, PLAIN, PACKED)
    assert "B failed on 1 prompt of them: counted as wrong, and not timed." in said(app)
    assert app.dataframe[0].value.set_index("Figure").loc["E2E", "Prompts"] == "11"


def test_names_from_models_are_not_read_as_markup(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    ids = []
    for precision in (Precision.BF16, Precision.INT4):
        request = make_request(model="*bold* <b>", precision=precision)
        add_run(store, request)
        ids.append(request.config.hash)
    app = opened(monkeypatch, store, *ids)
    options = app.segmented_control(key="compare-pinned").options
    assert options == [r"A · \*bold\* \<b> · bf16", r"B · \*bold\* \<b> · int4"]


# --- the ways to it -----------------------------------------------------------------------------------


def test_selected_runs_lead_to_their_configurations(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    def compare() -> Button:
        app = open_app(monkeypatch, store, "pages/runs.py")
        (found,) = [button for button in app.button if button.label == "Compare configurations"]
        return found

    ask(store, Precision.BF16, 0.06, PROMPTS[:2])
    ask(store, Precision.INT4, 0.02, PROMPTS[:1])
    assert compare().disabled
    monkeypatch.setattr("app.views.runs.table.select_rows", lambda page: page.rows)
    went = compare().click().run()
    assert not went.exception
    hashes = dict.fromkeys(run.config_hash for run in store.page().rows)
    assert went.query_params["configurations"] == ",".join(hashes)
    assert "On the **1 prompt** that all of them answered (A answered 1, B answered 2)." in said(went)


def test_an_experiment_leads_to_its_configurations(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    made = design()
    experiment = run(AnsweringEngine(), store, made)
    app = open_app(monkeypatch, store, "pages/experiments.py", {"experiment": experiment, "show": "All configurations"})
    (link,) = [each for each in app.get("page_link") if each.proto.label == "Compare configurations"]
    ids = ",".join(each.config.hash for each in made.configurations)
    assert f"configurations={ids}" in link.proto.query_string.replace("%2C", ",")
    assert f"experiment={experiment}" in link.proto.query_string
