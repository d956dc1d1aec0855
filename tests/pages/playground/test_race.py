"""Both lanes answer: what is asked, stored, compared and priced."""

from __future__ import annotations

from typing import Any

from app.session import playground as session
from app.store import RunStatus, RunStore
from engine.types import Backend
from tests.support.drafting import SpeculatingEngine, make_report
from tests.support.fakes import FakeEngine
from tests.support.playground import LANE_A, SAMPLE, Lanes, run, speculate, words


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


def test_sample_fills_the_boxes(playground: Any) -> None:
    page = playground(FakeEngine())
    sample = next(sample for sample in page.selectbox(key=SAMPLE).options if sample.startswith("Extraction"))
    page.selectbox(key=SAMPLE).select_index(page.selectbox(key=SAMPLE).options.index(sample)).run()
    assert "Larkspur" in page.text_area(key=session.PROMPT).value
    assert "JSON" in page.text_area(key=session.SYSTEM).value
