"""The playground, opened through the entry, on a scripted engine and a real store."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

import engine
from app import resources
from app.doors.person import TAB_ID
from app.jobs import Jobs
from app.runs.race import LaneRun, Race
from app.runs.races import Races
from app.session import playground as session
from app.settings import REPOSITORY, Settings
from app.speculation.drafter_choices import DrafterChoices
from app.store import RunStatus, RunStore, StoreError
from engine.errors import ModelNotInstalledError
from engine.types import (
    Backend,
    CacheMode,
    CascadeConfig,
    Divergence,
    Drafter,
    GenerationRequest,
    Losslessness,
    OptimizationConfig,
    Precision,
    RouterKind,
    SpeculationConfig,
)
from tests.support.cascading import SMALL, CascadingEngine
from tests.support.drafting import SpeculatingEngine, make_report
from tests.support.fakes import FakeEngine, FakeGeneration, make_request
from tests.support.ui import ESTIMATES, settle

ENTRY = str(REPOSITORY / "streamlit_app.py")
RUN = "playground-run"
STOP = "playground-stop"
SAMPLE = "playground-sample"
LANE_A, LANE_B = map(session.lane_form, session.LANES)


class Lanes(FakeEngine):
    """Answers the reference backend with one script and everything else with another."""

    def __init__(self, plain: FakeEngine, optimised: FakeEngine) -> None:
        super().__init__()
        self.plain, self.optimised = plain, optimised

    def generate(self, request: GenerationRequest) -> FakeGeneration:
        lane = self.plain if request.config.backend is Backend.REFERENCE else self.optimised
        self.requests.append(request)
        return lane.generate(request)


@pytest.fixture
def playground(tmp_path: Path, store: RunStore, jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Open the page on an engine."""

    def open_page(
        scripted: FakeEngine,
        installed: tuple[str, ...] = ("smollm2-135m", "qwen2.5-coder-0.5b"),
        state: Mapping[str, Any] = MappingProxyType({}),
    ) -> AppTest:
        settings = Settings(data_dir=tmp_path, database_url="", models_dir=tmp_path / "models")
        catalogue = {"smollm2-135m": 135, "qwen2.5-coder-0.5b": 494, "qwen2.5-coder-1.5b": 1_544}
        models = [
            SimpleNamespace(
                name=name,
                title=name.upper(),
                in_catalog=True,
                installed=name in installed,
                problem=None,
                parameters=parameters,
            )
            for name, parameters in catalogue.items()
        ]
        monkeypatch.setattr(resources, "get_settings", lambda: settings)
        monkeypatch.setattr(resources, "get_store", lambda: store)
        monkeypatch.setattr(resources, "get_engine", lambda: scripted)
        races = Races()
        monkeypatch.setattr(resources, "get_races", lambda: races)
        monkeypatch.setattr(resources, "get_estimates", lambda: ESTIMATES)
        monkeypatch.setattr(engine, "list_models", lambda _: models)
        monkeypatch.setattr(resources, "get_jobs", lambda: jobs)
        choices = DrafterChoices(scripted, jobs, settings.models_dir)  # type: ignore[arg-type]
        monkeypatch.setattr(resources, "get_drafter_choices", lambda: choices)
        page = AppTest.from_file(ENTRY, default_timeout=30)
        for key, value in state.items():
            page.session_state[key] = value
        page.run()
        assert not page.exception
        return page

    return open_page


def run(page: AppTest) -> AppTest:
    page.button(key=RUN).click().run()
    assert not page.exception
    return page


def words(page: AppTest) -> str:
    """All that is written on the page apart from its widgets."""
    alerts = [*page.success, *page.warning, *page.info, *page.error]
    titles = [alert.proto.title for alert in alerts]
    texts = [element.value for element in [*page.text, *page.caption, *page.markdown, *alerts]]
    return "\n".join([*titles, *texts])


def test_both_lanes_answer_and_are_stored(playground: Any, store: RunStore) -> None:
    scripted = Lanes(FakeEngine(["Blue", " light"]), FakeEngine(["Blue", " sky"]))
    page = run(playground(scripted))
    assert [text.value for text in page.text] == ["Blue light", "Blue sky"]
    rows = store.page().rows
    assert [row.status for row in rows] == [RunStatus.FINISHED] * 2
    assert len({row.group_id for row in rows}) == len({row.person_id for row in rows}) == 1
    assert {(row.backend, row.precision) for row in rows} == {("reference", "bf16"), ("local", "int4")}


def test_lanes_run_in_turn_with_the_same_prompt(playground: Any) -> None:
    scripted = FakeEngine()
    page = playground(scripted)
    page.text_area(key=session.PROMPT).set_value("What is rain?")
    page.text_area(key=session.SYSTEM).set_value("Be brief.")
    run(page)
    assert [request.config.backend for request in scripted.requests] == [Backend.REFERENCE, Backend.LOCAL]
    for request in scripted.requests:
        assert [(m.role, m.content) for m in request.messages] == [("system", "Be brief."), ("user", "What is rain?")]


def test_what_was_typed_stays_in_the_boxes(playground: Any) -> None:
    page = playground(FakeEngine())
    page.text_area(key=session.PROMPT).set_value("What is rain?")
    page.text_area(key=session.SYSTEM).set_value("Be brief.")
    run(page)
    assert page.text_area(key=session.PROMPT).value == "What is rain?"
    assert page.text_area(key=session.SYSTEM).value == "Be brief."


def test_verdict_and_figures_appear(playground: Any) -> None:
    scripted = Lanes(FakeEngine(delay_s=0.03), FakeEngine(delay_s=0.01))
    page = run(playground(scripted))
    assert "Lane B against Lane A: 3.0× faster from start to end, identical text." in words(page)
    figures = [(metric.label, metric.value) for metric in page.metric]
    assert ("TTFT", "30.0 ms") in figures
    assert ("TTFT", "10.0 ms") in figures
    # 0.1 an hour × 6 tokens × 30 ms, and × 10 ms
    assert [value for label, value in figures if label == "Cost"] == ["$0.0000050", "$0.0000017"]


def test_bars_of_both_lanes_stand_under_the_verdict(playground: Any) -> None:
    page = run(playground(Lanes(FakeEngine(delay_s=0.03), FakeEngine(delay_s=0.01))))
    titles = [chart.proto.alt for chart in page.get("plotly_chart")]
    assert titles == ["TTFT", "TPOT", "Weights and KV", "Cost of 1,000 prompts"]


# --- rounds --------------------------------------------------------------------------------------


def set_rounds(page: AppTest, rounds: int) -> AppTest:
    page.segmented_control(key=session.ROUNDS).set_value(rounds)
    return page


def test_one_round_says_what_it_cannot_tell(playground: Any) -> None:
    page = run(playground(FakeEngine(delay_s=0.01)))
    assert "One round: differences below about 15 % are noise (not measured yet on this machine" in words(page)
    assert [next(iter(table.value)) for table in page.dataframe] == ["Cost"]


def test_rounds_alternate_and_their_medians_and_ranges_are_shown(playground: Any, store: RunStore) -> None:
    scripted = Lanes(FakeEngine(delay_s=0.02), FakeEngine(delay_s=0.01))
    page = run(set_rounds(playground(scripted), 3))
    backends = [request.config.backend for request in scripted.requests]
    a, b = Backend.REFERENCE, Backend.LOCAL
    assert backends == [a, b, b, a, a, b]
    assert len({row.group_id for row in store.page().rows}) == 1
    said = words(page)
    assert "2.0× faster from start to end" in said
    assert "3 rounds, Lane A over Lane B: E2E 2.0" in said
    assert "One round" not in said
    table, _ = page.dataframe
    assert list(table.value["Median of 3 rounds (range)"]) == ["Lane A", "Lane B"]
    assert list(table.value["TPOT"]) == ["20.0 ms", "10.0 ms"]
    assert "Below stands the last of 3 rounds." in said
    assert session.ROUNDS_OFFERED == (1, 3, 5)


def test_the_machine_counts_as_measured_after_a_race_of_rounds(playground: Any) -> None:
    page = run(set_rounds(playground(FakeEngine(delay_s=0.01)), 3))
    page = run(set_rounds(page, 1))
    assert "are noise on this machine." in words(page)


def test_a_lane_that_fails_in_every_round_is_compared_with_nothing(playground: Any) -> None:
    failing = FakeEngine(failure=ModelNotInstalledError("Gone."))
    page = run(set_rounds(playground(Lanes(failing, FakeEngine())), 3))
    assert "No comparison: Lane A failed." in words(page)


# --- like with like ------------------------------------------------------------------------------


def test_one_click_compares_a_lane_with_itself_without_its_gears(playground: Any) -> None:
    scripted = FakeEngine(delay_s=0.01)
    page = playground(scripted)
    page.number_input(key=LANE_B.key("max-tokens")).set_value(4)
    run(page)
    assert "Lane A runs on transformers, Lane B runs on Gearbox's own kernels" in words(page)
    page.button(key="playground-like").click().run()
    assert not page.exception
    plain, geared = (request.config for request in scripted.requests[2:])
    assert (plain.backend, plain.precision, plain.optimization.cascade) == (Backend.LOCAL, Precision.BF16, None)
    assert (geared.backend, geared.precision) == (Backend.LOCAL, Precision.INT4)
    assert (plain.model, plain.sampling) == (geared.model, geared.sampling)
    assert not [button for button in page.button if button.key == "playground-like"]
    assert "runs on transformers" not in words(page)


def test_a_disturbed_race_is_said_first_and_can_be_run_again(playground: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = LaneRun.outcome
    monkeypatch.setattr(
        LaneRun, "outcome", lambda lane, name: replace(outcome(lane, name), disturbed="a compiler ran beside it")
    )
    scripted = Lanes(FakeEngine(delay_s=0.03), FakeEngine(delay_s=0.01))
    page = run(playground(scripted))
    (warning,) = page.warning
    assert warning.value == "Disturbed: Lane A: a compiler ran beside it. Lane B: a compiler ran beside it."
    assert not page.success
    page.button(key="playground-again").click().run()
    assert len(scripted.requests) == 4


def test_cost_follows_the_price(playground: Any) -> None:
    page = run(playground(FakeEngine(delay_s=0.01)))
    page.number_input(key=session.PRICE_PER_HOUR).set_value(3600.0).run()
    assert [metric.value for metric in page.metric if metric.label == "Cost"] == ["$0.060", "$0.060"]


def test_the_verdict_says_what_a_thousand_prompts_and_a_day_cost(playground: Any) -> None:
    page = run(playground(Lanes(FakeEngine(delay_s=0.03), FakeEngine(delay_s=0.01))))
    # 0.1 an hour × 6 tokens × 30 ms × 1,000, and a third of it
    (costs,) = [frame.value for frame in page.dataframe if "1,000 prompts" in frame.value]
    assert costs.values.tolist() == [
        ["Lane A", "$0.0050", "$0.0050", "–"],
        ["Lane B", "$0.0017", "$0.0017", "67 % less"],
    ]
    page.number_input(key=session.PROMPTS_PER_DAY).set_value(2_000_000).run()
    (costs,) = [frame.value for frame in page.dataframe if "1,000 prompts" in frame.value]
    assert costs["A day of 2,000,000"].tolist() == ["$10.00", "$3.33"]
    assert "Lane A takes 100.0 h for a day's prompts" in words(page)
    assert "Lane B takes 33.3 h" in words(page)
    page.switch_page("pages/runs.py").run()
    page.switch_page("pages/playground.py").run()
    assert page.number_input(key=session.PROMPTS_PER_DAY).value == 2_000_000


def test_an_impossible_speed_up_is_a_fault_and_no_verdict(playground: Any) -> None:
    scripted = SpeculatingEngine(speedup=4.4)
    page = speculate(playground(scripted), "ngram")
    page.segmented_control(key=LANE_A.key("backend")).set_value(Backend.LOCAL).run()
    page.toggle(key=LANE_A.key("quantization")).set_value(True).run()
    run(page)
    assert [error.proto.title for error in page.error] == ["Measurement fault: this is not a result"]
    assert "whose passes gave 1.67 tokens each" in page.error[0].value
    assert "faster" not in words(page)
    assert not page.dataframe


def test_figures_that_contradict_each_other_are_shown_as_a_fault_of_their_lane(playground: Any) -> None:
    page = run(speculate(playground(SpeculatingEngine(report=make_report(verification_s=9.0))), "ngram"))
    verdict, fault = page.error
    assert "They are not compared" in verdict.value
    assert "faster" not in words(page)
    assert "Drafting, verification, plain steps and choosing tokens took 9.01 s together" in fault.value


def test_results_survive_reruns_and_page_switches(playground: Any) -> None:
    scripted = FakeEngine(["Still", " here"])
    page = run(playground(scripted))
    page.switch_page("pages/runs.py").run()
    page.switch_page("pages/playground.py").run()
    assert not page.exception
    assert [text.value for text in page.text] == ["Still here"] * 2
    assert len(scripted.requests) == 2


def test_links_lead_to_the_runs_and_their_comparison(playground: Any, store: RunStore) -> None:
    page = run(playground(FakeEngine()))
    queries = [link.proto.query_string for link in page.get("page_link")]
    other, first = (row.id for row in store.page().rows)
    assert queries == [f"compare={first}%2C{other}", f"run={first}", f"run={other}"]


def test_lane_settings_reach_the_engine(playground: Any) -> None:
    scripted = FakeEngine()
    page = playground(scripted)

    key = LANE_B.key
    page.selectbox(key=key("model")).select("qwen2.5-coder-0.5b")
    page.segmented_control(key=key("precision")).set_value(Precision.NF4)
    page.number_input(key=key("temperature")).set_value(0.7)
    page.number_input(key=key("seed")).set_value(11)
    page.number_input(key=key("max-tokens")).set_value(4)
    run(page)
    plain, changed = (request.config for request in scripted.requests)
    assert (changed.model, changed.precision) == ("qwen2.5-coder-0.5b", Precision.NF4)
    assert (changed.sampling.temperature, changed.sampling.seed, changed.sampling.max_tokens) == (0.7, 11, 4)
    assert (plain.model, plain.precision, plain.sampling.temperature) == ("smollm2-135m", Precision.BF16, 0.0)


def test_reference_backend_switches_the_gears_off(playground: Any) -> None:
    scripted = FakeEngine()
    page = playground(scripted)
    page.segmented_control(key=LANE_B.key("backend")).set_value(Backend.REFERENCE).run()
    assert page.toggle(key=LANE_B.key("no-quantization")).disabled
    run(page)
    assert scripted.requests[1].config.optimization.quantization is None


def test_the_kv_caching_gear_starts_cold_unless_asked_for_warm(playground: Any) -> None:
    scripted = FakeEngine()
    page = playground(scripted)
    page.toggle(key=LANE_B.key("kv-cache")).set_value(True).run()
    run(page)
    plain, kept = scripted.requests
    assert plain.config.optimization.cache_mode is CacheMode.KV
    assert (kept.config.optimization.cache_mode, kept.cold) == (CacheMode.PREFIX, True)
    assert kept.cache_salt
    page.toggle(key=LANE_B.key("warm")).set_value(True).run()
    run(page)
    assert not scripted.requests[3].cold
    assert scripted.requests[3].cache_salt == kept.cache_salt
    page.segmented_control(key=LANE_B.key("cache-mode")).set_value(CacheMode.OFF).run()
    run(page)
    assert scripted.requests[5].config.optimization.cache_mode is CacheMode.OFF


def test_a_zero_in_reused_tokens_says_why_and_one_click_starts_the_next_run_warm(playground: Any) -> None:
    scripted = FakeEngine()
    page = run(playground(scripted))
    assert words(page).count("0 reused: this run started cold.") == 1  # the plain lane is meant to reuse nothing
    (button,) = [button for button in page.button if button.label == "Start warm"]
    button.click().run()
    assert not page.exception
    assert page.toggle(key=LANE_B.key("warm")).value
    assert "this run started cold. The next one starts warm." in words(page)
    assert not [button for button in page.button if button.label == "Start warm"]
    run(page)
    plain, warm = scripted.requests[2:]
    assert (plain.cold, warm.cold, warm.config.optimization.cache_mode) == (True, False, CacheMode.PREFIX)
    assert "nothing that was kept begins like this prompt" in words(page)


# --- whole configurations -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("installed", "ladder"),
    [
        (("smollm2-135m",), ["smollm2-135m int4"]),
        (("smollm2-135m", "qwen2.5-coder-0.5b"), ["smollm2-135m int4", "qwen2.5-coder-0.5b int4"]),
        (
            ("smollm2-135m", "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b"),
            ["qwen2.5-coder-0.5b int4", "qwen2.5-coder-1.5b int4"],
        ),
    ],
)
def test_all_gears_is_one_click_and_raced_against_the_same_model_plain(
    playground: Any, installed: tuple[str, ...], ladder: list[str]
) -> None:
    scripted = FakeEngine()
    page = playground(scripted, installed=installed)
    page.number_input(key=LANE_B.key("max-tokens")).set_value(5).run()
    page.button(key="use-all-gears").click().run()
    assert not page.exception
    assert not page.error
    run(page)
    plain, geared = scripted.requests
    assert [str(tier) for tier in geared.config.ladder] == ladder
    gears = geared.config.optimization
    assert (gears.cache_mode, geared.cold, gears.speculation) == (CacheMode.PREFIX, False, SpeculationConfig())
    assert geared.config.sampling.max_tokens == 5
    assert (plain.config.model, plain.config.backend) == (geared.config.model, Backend.LOCAL)
    assert plain.config.optimization == OptimizationConfig()


def test_plain_is_one_click_too(playground: Any) -> None:
    scripted = FakeEngine()
    page = playground(scripted)
    page.button(key="use-all-gears").click().run()
    page.button(key="use-plain").click().run()
    run(page)
    assert [request.config.optimization for request in scripted.requests] == [OptimizationConfig()] * 2
    assert scripted.requests[1].config.model == "qwen2.5-coder-0.5b"


def test_turning_the_cascade_on_chooses_two_models_that_make_one(playground: Any) -> None:
    scripted = FakeEngine()
    page = playground(scripted)
    page.toggle(key=LANE_B.key("cascade")).set_value(True).run()
    assert ":red[" not in words(page)
    run(page)
    assert [str(tier) for tier in scripted.requests[1].config.ladder] == [
        "smollm2-135m int4",
        "qwen2.5-coder-0.5b int4",
    ]
    page.toggle(key=LANE_B.key("cascade")).set_value(False).run()
    page.toggle(key=LANE_B.key("cascade")).set_value(True).run()
    assert page.selectbox(key=LANE_B.key("model")).value == "qwen2.5-coder-0.5b"


def test_a_model_alone_makes_no_cascade_and_the_toggle_says_what_is_missing(playground: Any) -> None:
    page = playground(FakeEngine(), installed=("smollm2-135m",))
    toggle = page.toggle(key=LANE_B.key("cascade"))
    assert toggle.disabled
    assert "needs a second model" in toggle.help


def save(page: AppTest, name: str, lane: str = "b") -> AppTest:
    page.selectbox(key="saved-lane").set_value(lane)
    page.text_input(key="saved-name").set_value(name)
    page.button(key="saved-save").click().run()
    assert not page.exception
    return page


def test_a_lane_is_saved_under_a_name_and_comes_back_with_one_click(playground: Any) -> None:
    scripted = FakeEngine()
    page = playground(scripted)
    assert "Nothing is saved yet." in words(page)
    page.button(key="use-all-gears").click().run()
    page.number_input(key=LANE_B.key("seed")).set_value(7).run()
    save(page, "Mine")
    assert page.selectbox(key="saved-chosen").options == ["Mine"]
    assert page.text_input(key="saved-name").value == ""
    page.button(key="use-plain").click().run()
    page.number_input(key=LANE_B.key("seed")).set_value(0).run()
    page.button(key="saved-use-a").click().run()
    run(page)
    first, other = scripted.requests
    assert [str(tier) for tier in first.config.ladder] == ["smollm2-135m int4", "qwen2.5-coder-0.5b int4"]
    assert (first.config.sampling.seed, first.cold) == (7, False)
    assert other.config.optimization == OptimizationConfig()


def test_a_name_that_is_there_is_overwritten_only_when_asked(playground: Any, store: RunStore) -> None:
    page = save(playground(FakeEngine()), "Mine")
    person = page.session_state[TAB_ID]
    save(page, "Mine", "a")
    assert "“Mine” is there already." in words(page)
    assert store.configurations.saved(person)[0].config["backend"] == "local"
    page.button(key="saved-overwrite-it").click().run()
    assert store.configurations.saved(person)[0].config["backend"] == "reference"
    assert not [button for button in page.button if button.key == "saved-overwrite-it"]


def test_a_saved_configuration_is_renamed_and_deleted(playground: Any, store: RunStore) -> None:
    page = save(save(playground(FakeEngine()), "Mine"), "Other")
    person = page.session_state[TAB_ID]
    (renamed,) = [field for field in page.text_input if field.label == "Name"]
    assert renamed.value == "Other"
    renamed.set_value("Mine").run()
    assert "“Mine” is there already." in words(page)
    (renamed,) = [field for field in page.text_input if field.label == "Name"]
    renamed.set_value("Best").run()
    assert [saved.name for saved in store.configurations.saved(person)] == ["Best", "Mine"]
    page.button(key="saved-delete").click().run()
    assert [saved.name for saved in store.configurations.saved(person)] == ["Mine"]


def test_a_saved_configuration_says_which_model_is_gone_and_others_are_not_shown(
    playground: Any, store: RunStore
) -> None:
    gone = make_request(model="gone", cascade=CascadeConfig(smaller=(SMALL,), thresholds=(0.3,))).config
    store.configurations.save(None, "Theirs", gone.to_dict(), warm=False)
    store.configurations.save("somebody else", "Private", gone.to_dict(), warm=False)
    store.configurations.save("me", "Future", {"model": "m", "sampling": {"unheard_of": 1}}, warm=False)
    page = playground(FakeEngine(), state={TAB_ID: "me"})
    assert page.selectbox(key="saved-chosen").options == ["Future", "Theirs (of the desk)"]
    assert "This version of Gearbox cannot read it." in words(page)
    assert page.button(key="saved-use-b").disabled
    page.selectbox(key="saved-chosen").select_index(1).run()
    assert "Not installed: gone" in words(page)
    assert not [button for button in page.button if button.key == "saved-delete"]
    page.button(key="saved-use-b").click().run()
    assert page.selectbox(key=LANE_B.key("model")).value == "gone"


def test_sample_fills_the_boxes(playground: Any) -> None:
    page = playground(FakeEngine())
    sample = next(sample for sample in page.selectbox(key=SAMPLE).options if sample.startswith("Extraction"))
    page.selectbox(key=SAMPLE).select_index(page.selectbox(key=SAMPLE).options.index(sample)).run()
    assert "Larkspur" in page.text_area(key=session.PROMPT).value
    assert "JSON" in page.text_area(key=session.SYSTEM).value


@pytest.mark.parametrize("prompt", ["", "  \n "])
def test_empty_prompt_is_refused_and_nothing_runs(playground: Any, store: RunStore, prompt: str) -> None:
    scripted = FakeEngine()
    page = playground(scripted)
    page.text_area(key=session.PROMPT).set_value(prompt)
    run(page)
    assert "The prompt is empty" in words(page)
    assert (scripted.requests, store.page().total) == ([], 0)


def test_blank_model_is_refused_and_the_page_stays_usable(playground: Any) -> None:
    scripted = FakeEngine()
    page = playground(scripted, state={LANE_A.key("model"): "  ", LANE_B.key("model"): None})
    assert words(page).count("Choose a model.") == 2
    run(page)
    assert [error.value for error in page.error] == ["Choose a model."]
    assert scripted.requests == []


def test_failed_lane_does_not_hold_up_the_other(playground: Any, store: RunStore) -> None:
    failing = FakeEngine(failure=ModelNotInstalledError("Install it first."))
    page = run(playground(Lanes(failing, FakeEngine(["Fine"]))))
    assert "Install it first." in words(page)
    assert "No comparison: Lane A failed." in words(page)
    assert [text.value for text in page.text] == ["Fine"]
    assert [row.status for row in store.page().rows] == [RunStatus.FINISHED, RunStatus.FAILED]


def test_store_that_cannot_be_written_is_told_in_each_lane(
    playground: Any, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise StoreError("The run database is locked.")

    page = playground(FakeEngine())
    monkeypatch.setattr(store, "create_run", refuse)
    run(page)
    assert [error.value for error in page.error] == ["The run database is locked."] * 2


def test_missing_model_is_explained_with_a_way_out(playground: Any) -> None:
    page = playground(FakeEngine(), installed=())
    assert "Not installed yet: SMOLLM2-135M" in words(page)
    assert page.button(key=RUN).disabled
    assert [link.proto.page for link in page.get("page_link")] == ["model-library"]


def test_stop_is_offered_only_while_lanes_run(playground: Any) -> None:
    page = playground(FakeEngine())
    assert page.button(key=STOP).disabled
    assert not page.button(key=RUN).disabled
    run(page)
    assert page.button(key=STOP).disabled
    assert not page.button(key=RUN).disabled


# --- a race that other tabs see -------------------------------------------------------------------


def start_elsewhere(store: RunStore, answer: list[str], *, held_s: float) -> Race:
    """Another tab of the same person runs both lanes; after their first token they are held for a while."""
    gate = threading.Event()
    race = Race.between({lane: make_request() for lane in session.LANES})
    scripted = FakeEngine(answer, gate=gate)
    resources.get_races().start(race, person="me", place="playground", engine=scripted, store=store)
    threading.Timer(held_s, gate.set).start()
    return race


def test_a_tab_that_is_opened_while_lanes_run_follows_them_to_their_end(playground: Any, store: RunStore) -> None:
    page = playground(FakeEngine(), state={TAB_ID: "me"})
    race = start_elsewhere(store, ["Still", " here"], held_s=0.5)
    page.run()
    assert not page.exception
    assert race.over.is_set()
    assert [text.value for text in page.text] == ["Still here"] * 2
    assert "Lane B against Lane A" in words(page)
    page.text_area(key=session.PROMPT).set_value("Another one.").run()
    assert "The lanes answer: “Why is the sky blue?”" in words(page)
    stranger = playground(FakeEngine(), state={TAB_ID: "you"})
    assert not stranger.text


def test_a_second_race_is_refused_in_words_while_one_runs(playground: Any, store: RunStore) -> None:
    scripted = FakeEngine()
    page = playground(scripted, state={TAB_ID: "me"})
    race = start_elsewhere(store, ["Still", " here"], held_s=0.5)
    run(page)
    assert "still being answered, so nothing was started" in words(page)
    assert scripted.requests == []
    assert race.over.is_set()
    run(page)
    assert "still being answered" not in words(page)
    assert len(scripted.requests) == 2


def test_a_race_that_nobody_looked_at_says_why_it_ended(playground: Any, store: RunStore) -> None:
    page = playground(FakeEngine(), state={TAB_ID: "me"})
    race = start_elsewhere(store, ["Still", " here"], held_s=30)
    race.stop("It was stopped because nobody had looked at it for 60 s.")
    page.run()
    assert "nobody had looked at it for 60 s" in words(page)
    assert not page.button(key=RUN).disabled


# --- the speculation gear -------------------------------------------------------------------------


def speculate(page: AppTest, drafter: str = "auto", gamma: int | None = None) -> AppTest:
    """Turn lane B's gear on."""
    page.toggle(key=LANE_B.key("speculation")).set_value(True).run()
    page.selectbox(key=LANE_B.key("drafter")).set_value(drafter)
    page.number_input(key=LANE_B.key("gamma")).set_value(gamma)
    page.run()
    assert not page.exception
    return page


@pytest.mark.parametrize(
    ("drafter", "gamma", "asked"),
    [
        ("auto", None, SpeculationConfig()),
        ("ngram", 4, SpeculationConfig(drafter=Drafter.NGRAM, gamma=4)),
        ("self nf4", None, SpeculationConfig.with_self(Precision.NF4)),
        ("draft qwen2.5-coder-0.5b", 2, SpeculationConfig.with_model("qwen2.5-coder-0.5b", gamma=2)),
    ],
)
def test_the_speculation_gear_reaches_the_engine(
    playground: Any, jobs: Jobs, drafter: str, gamma: int | None, asked: SpeculationConfig
) -> None:
    scripted = SpeculatingEngine()
    page = playground(scripted)
    page.segmented_control(key=LANE_B.key("precision")).set_value(Precision.INT8).run()
    run(settle(speculate(page, drafter, gamma), jobs))
    plain, drafted = (request.config.optimization for request in scripted.requests)
    assert (plain.speculation, drafted.speculation) == (None, asked)


def test_a_model_that_cannot_draft_is_refused_with_the_engines_reason(playground: Any, jobs: Jobs) -> None:
    page = speculate(playground(SpeculatingEngine()), "draft qwen2.5-coder-0.5b")
    assert "qwen cannot draft: other tokenizer." in words(settle(page, jobs))
    page.selectbox(key=LANE_B.key("drafter")).set_value("self int4").run()
    assert "The model is in int4 already" in words(page)
    page.segmented_control(key=LANE_B.key("precision")).set_value(Precision.INT8).run()
    shown = words(settle(page, jobs))
    assert "A drafted token costs 40 % of the model's own (estimated)" in shown
    assert "cannot draft" not in shown


def test_a_lane_shows_how_its_drafts_did(playground: Any) -> None:
    page = run(speculate(playground(SpeculatingEngine()), "ngram"))
    figures = {metric.label: metric.value for metric in page.metric}
    assert (figures["Acceptance rate"], figures["Acceptance length"]) == ("50 %", "2.00 tokens")
    assert "drafts: n-grams" in words(page)


def test_a_lane_says_that_speculation_paused_itself(playground: Any) -> None:
    scripted = SpeculatingEngine(report=make_report(plain_steps=40))
    page = run(speculate(playground(scripted), "ngram"))
    assert "Speculation paused itself: 40 of 42 steps were plain. At token 5 it expected 12 % of the drafts" in words(
        page
    )


@pytest.mark.parametrize(
    ("found", "badge"),
    [
        (Losslessness(tokens=6, checked=6, near_ties=0, divergence=None), "Identical to plain decoding: checked, 6/6"),
        (
            Losslessness(
                tokens=6,
                checked=2,
                near_ties=0,
                divergence=Divergence(index=2, written=" red", plain=" blue", gap=0.125),
            ),
            "At token 3 the run wrote ' red', plain decoding writes ' blue': 0.125 logits apart.",
        ),
    ],
)
def test_one_click_checks_the_answer_and_keeps_what_came_out(
    playground: Any, jobs: Jobs, store: RunStore, found: Losslessness, badge: str
) -> None:
    scripted = SpeculatingEngine(lossless=found)
    page = run(speculate(playground(scripted), "ngram"))
    (drafted, plain) = store.page().rows
    assert [button.key for button in page.button if button.label == "Check"] == [f"check-{drafted.id}"]
    page.button(key=f"check-{drafted.id}").click().run()
    assert badge in words(settle(page, jobs))
    assert store.get(drafted.id).losslessness == found
    assert store.get(plain.id).losslessness is None
    assert scripted.checked == [(100, 101, 102, 103, 104, 105)]


def set_cascade(page: AppTest) -> AppTest:
    """Lane B asks smollm2-135m in front of qwen2.5-coder-0.5b."""
    page.toggle(key=LANE_B.key("cascade")).set_value(True).run()
    page.selectbox(key=LANE_B.key("model")).set_value("qwen2.5-coder-0.5b").run()
    assert not page.exception
    return page


def test_the_cascading_gear_reaches_the_engine_as_it_is_set(playground: Any) -> None:
    scripted = CascadingEngine()
    page = set_cascade(playground(scripted))
    page.slider(key=LANE_B.key("cascade-first-threshold")).set_value(0.45).run()
    assert "mean probability of its tokens is 55 % or less" in words(page)
    page.number_input(key=LANE_B.key("cascade-after-tokens")).set_value(8).run()
    assert "its first 8 tokens" in words(page)
    run(page)
    config = scripted.requests[1].config
    gear = config.optimization.cascade
    assert gear is not None
    assert (gear.smaller, gear.thresholds, gear.after_tokens) == ((SMALL,), (0.45,), 8)
    assert gear.router is RouterKind.ESCALATE
    assert config.model == "qwen2.5-coder-0.5b"
    assert scripted.requests[0].config.optimization.cascade is None


def test_two_smaller_tiers_have_a_threshold_each(playground: Any) -> None:
    scripted = CascadingEngine()
    page = set_cascade(playground(scripted, installed=("smollm2-135m", "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b")))
    page.selectbox(key=LANE_B.key("cascade-second-model")).set_value("qwen2.5-coder-0.5b").run()
    page.selectbox(key=LANE_B.key("model")).set_value("qwen2.5-coder-1.5b").run()
    page.slider(key=LANE_B.key("cascade-second-threshold")).set_value(0.2).run()
    page.segmented_control(key=LANE_B.key("cascade-router")).set_value(RouterKind.RANDOM).run()
    run(page)
    config = scripted.requests[1].config
    assert [str(tier) for tier in config.ladder] == [
        "smollm2-135m int4",
        "qwen2.5-coder-0.5b int4",
        "qwen2.5-coder-1.5b int4",
    ]
    assert config.optimization.cascade is not None
    assert config.optimization.cascade.thresholds == (0.3, 0.2)


def test_a_ladder_that_makes_no_sense_is_refused_in_words(playground: Any) -> None:
    page = playground(FakeEngine())
    page.toggle(key=LANE_B.key("cascade")).set_value(True).run()
    page.selectbox(key=LANE_B.key("model")).set_value("smollm2-135m").run()
    assert "smollm2-135m int4 cannot be a smaller tier in front of itself." in words(page)
    assert "smollm2-135m int4 is the model above: choose a larger one there." in words(page)
    run(page)
    assert page.error[0].value == "smollm2-135m int4 cannot be a smaller tier in front of itself."


def test_a_lane_shows_who_answered_and_what_the_other_tier_said(playground: Any, store: RunStore, jobs: Jobs) -> None:
    page = run(set_cascade(playground(CascadingEngine("No idea ."))))
    assert [text.value for text in page.text] == ["Yes, light."] * 2
    assert "Answered by qwen2.5-coder-0.5b int4" in words(page)
    figures = {metric.label: metric.value for metric in page.metric}
    assert figures["Thrown away"] == "3 tokens"
    assert figures["Tried in vain"] == "250 ms"
    assert figures["Large model alone"] == "30.0 ms"
    assert "250 ms lost" in {metric.delta for metric in page.metric}
    (tiers,) = (table.value for table in page.dataframe if "Tier" in table.value)
    assert list(tiers["Tier"]) == ["smollm2-135m int4", "qwen2.5-coder-0.5b int4"]
    assert list(tiers["Answer"]) == ["3 tokens thrown away", "2 tokens kept"]
    assert tiers["Score"].tolist() == ["0.62 ≥ 0.30", "–"]
    # the small answer was written out, so nobody needs to be asked again
    assert "one says yes, the other no" in words(page)
    assert not [button for button in page.button if "Ask" in button.label]
    kept = store.get(store.page(limit=1).rows[0].id)
    assert kept.cascade is not None


def test_a_tier_whose_answer_was_cut_short_is_asked_in_the_background(
    playground: Any, store: RunStore, jobs: Jobs
) -> None:
    scripted = CascadingEngine()
    page = set_cascade(playground(scripted))
    page.number_input(key=LANE_B.key("cascade-after-tokens")).set_value(3).run()
    run(page)
    scripted.tokens = ("No", ", dust.")
    (button,) = (button for button in page.button if button.label == "Ask smollm2-135m int4 too")
    button.click().run()
    page = settle(page, jobs)
    asked = scripted.requests[-1]
    assert (asked.config.model, asked.config.optimization.cascade) == ("smollm2-135m", None)
    assert asked.prompt == scripted.requests[1].prompt
    assert "one says yes, the other no" in words(page)
    assert store.page().total == 2


def test_a_guard_that_is_turned_off_is_asked_for_and_named(playground: Any) -> None:
    scripted = CascadingEngine()
    page = set_cascade(playground(scripted))
    page.toggle(key=LANE_B.key("cascade-guard")).set_value(False).run()
    assert "never steps aside" in words(page)
    run(page)
    gear = scripted.requests[1].config.optimization.cascade
    assert gear is not None
    assert not gear.guard


def test_rounds_are_not_led_by_what_a_cascade_learns(playground: Any) -> None:
    scripted = CascadingEngine()
    page = run(set_cascade(playground(scripted)))
    assert [request.unguarded for request in scripted.requests] == [False, False]
    run(set_rounds(page, 3))
    assert all(request.unguarded for request in scripted.requests[2:])


def test_a_run_page_keeps_the_receipt(playground: Any, store: RunStore) -> None:
    page = run(set_cascade(playground(CascadingEngine())))
    page.switch_page("pages/runs.py")
    page.query_params["run"] = store.page(limit=1).rows[0].id
    page.run()
    assert not page.exception
    (section,) = (control for control in page.segmented_control if control.label == "Show")
    section.set_value("Cascade").run()
    assert not page.exception
    assert "Answered by qwen2.5-coder-0.5b int4" in words(page)
    assert "Tried in vain" in {metric.label for metric in page.metric}
