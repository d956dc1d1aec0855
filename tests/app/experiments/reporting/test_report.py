"""An experiment's report: its verdict with what it rests on, what it holds for, and how to make it again."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from app.experiments.planning.factorial import factorial
from app.experiments.planning.reading import SETS, read_design
from app.experiments.reporting.day import Day
from app.experiments.reporting.evidence import DELETED, Evidence, FlippedAnswer, flipped, read_evidence
from app.experiments.reporting.gears import gears_section
from app.experiments.reporting.page import report_page
from app.experiments.reporting.report import experiment_report
from app.experiments.results.arrays import Measure, Results, read_results, results_of
from app.experiments.results.figures import figures_of
from app.experiments.verdicts.decision import decide
from app.experiments.verdicts.gears import gear_waterfalls
from app.experiments.verdicts.waterfall import Waterfall
from app.reports.page import report_html
from app.reports.report import Report, Tone
from app.store import RunStore
from engine import Task, load_tasks
from engine.errors import GearboxError, InvalidRequestError
from engine.types import CacheMode, GenerationRequest, OptimizationConfig, Precision, RunConfig
from tests.support.experiments import BOTH, AnsweringEngine, answered, configuration, design, quality, read, run, sums
from tests.support.html import HOSTILE, Elements

DAY = Day(per_hour=3.6, currency="$", requests=1_000, target_s=30.0)
MADE_AT = datetime(2026, 3, 14, tzinfo=UTC)
ENVIRONMENT = {"cpu": "Xeon", "threads": 2, "kernel": "native", "torch": "2.9.0"}


def report_of(
    results: Results,
    evidence: Evidence | None = None,
    *,
    candidate: int = 1,
    categories: Sequence[str] = (),
    day: Day = DAY,
    waterfalls: Sequence[Waterfall] = (),
) -> Report:
    among = np.isin(np.array(results.categories), list(categories or results.categories))
    decision = decide(results, candidate, margin=0.02, among=among)
    assert decision is not None
    return experiment_report(
        results,
        decision,
        figures_of(results, Measure.CHECKER if decision.quality else None, among),
        evidence or Evidence(flips=(), environments=()),
        day=day,
        categories=categories,
        made_at=MADE_AT,
        waterfalls=waterfalls,
    )


def kept(store: RunStore, lost: int = 0, *, tasks: Sequence[Task] | None = None) -> Results:
    """A candidate that is twice as fast and loses some of 200 prompts."""
    tasks = tasks or sums(200, ("Easy", "Hard"))
    scores = [0.0] * lost + [1.0] * (len(tasks) - lost)
    made = replace(design(tasks, name="Ship it"), question="Ship int4?", prompts_from="own.csv")
    cells = [*answered(0, tasks, [1.0] * len(tasks)), *answered(1, tasks, scores, 0.5)]
    return read(store, made, *cells)


def said(report: Report) -> str:
    """All of the page's text."""
    return unescape(report_html(report))


def test_the_verdict_its_intervals_times_and_day(store: RunStore) -> None:
    report = report_of(kept(store))
    assert (report.question, report.answer, report.tone) == ("Ship int4?", "Yes", Tone.GOOD)
    assert "int4 keeps quality within 2 points" in report.verdict
    assert "int4 is 2.00× faster than 16 bits in E2E" in report.verdict
    sections = {section.title: section for section in report.sections}
    assert list(sections) == ["Quality", "Speed", "A day", "Configurations"]
    (chart,) = sections["Quality"].charts
    assert [value.name for value in chart.values] == ["all prompts (200)", "Easy (100)", "Hard (100)"]
    assert [mark.value for mark in chart.marks] == [0.0, -2.0]
    assert "200 prompts from own.csv" in sections["Quality"].text
    (times,) = sections["Speed"].tables
    assert times.rows[1] == ("int4", "510 ms", "520 ms", "128 ms", "130 ms", "51.0 ms", "52.0 ms")
    # a request takes 1.02 s of the machine at a thousandth of a dollar a second, its half, and a quarter in company
    assert "saves $0.51 a day against 16 bits" in sections["A day"].text
    assert [row[6] for row in sections["A day"].tables[0].rows] == ["$1.02", "$0.26", "$0.51", "$0.13"]


def test_a_verdict_against_it_is_coloured_so(store: RunStore) -> None:
    report = report_of(kept(store, lost=60))
    assert (report.answer, report.tone) == ("No", Tone.BAD)
    assert "60 lost, 0 gained" in report.sections[0].charts[0].note
    assert report_of(kept(store, lost=3)).tone is Tone.OPEN


def test_without_a_checker_or_times_what_is_not_there_is_left_out(store: RunStore) -> None:
    task = Task(id="open", category="Chat", prompt="How are you?", max_tokens=8)
    cells = [quality(place, "open", same_text=place == 0, word_f1=1.0 - place / 2) for place in (0, 1)]
    report = report_of(read(store, design([task]), *cells))
    assert report.answer == "Nothing says which answers are right"
    assert [section.title for section in report.sections] == ["Quality", "Configurations"]
    assert not report.sections[0].charts
    assert "word F1 is 50 %" in report.verdict


def test_only_the_categories_that_were_looked_at_are_in_it(store: RunStore) -> None:
    report = report_of(kept(store), categories=["Hard"])
    assert "100 prompts from own.csv, answered by both. Only prompts of: Hard." in report.sections[0].text


def test_every_setting_of_every_configuration_is_in_it(store: RunStore) -> None:
    settings = {row[0]: row[1] for row in report_of(kept(store)).sections[-1].tables[-1].rows}
    assert settings["int4"] == (
        "model small, backend local, sampling.temperature 0.0, sampling.top_p 1.0, sampling.top_k 0, "
        "sampling.repetition_penalty 1.0, sampling.stop none, quantization.precision int4"
    )
    assert "quantization" not in settings["16 bits"]


def test_it_says_what_its_figures_hold_for(store: RunStore) -> None:
    other = {**ENVIRONMENT, "cpu": "Epyc"}
    evidence = Evidence(flips=(), environments=(ENVIRONMENT, ENVIRONMENT, other))
    results = kept(store)
    facts = dict(report_of(results, evidence).environment)
    assert facts["Machine"] == "Xeon, 2 threads, native; Epyc, 2 threads, native"
    assert facts["PyTorch"] == "2.9.0"
    assert facts["Weights of int4, sha256"] == "a" * 16
    assert facts["Design, sha256"] == results.design.sha256[:16]


def test_it_holds_the_design_to_save_with_the_margin_that_it_was_judged_by(store: RunStore, tmp_path: Path) -> None:
    results = kept(store)
    results = replace(results, design=replace(results.design, margin_points=7.0))
    report = report_of(results)
    assert report.reproduce == "gearbox experiment run ship-it.toml"
    for attachment in report.attachments:
        (tmp_path / attachment.name).write_text(attachment.text, encoding="utf-8")
    again = read_design(tmp_path / "ship-it.toml").design
    assert again.sha256 == results.design.sha256
    assert again.margin_points == 2.0
    page = report_html(report)
    links = {a["download"]: a["href"] for tag, a in Elements(page).found if tag == "a"}
    assert [*links] == ["ship-it.toml", "ship-it-prompts.jsonl"]
    saved = str(links["ship-it.toml"]).removeprefix("data:text/plain;base64,")
    assert base64.b64decode(saved).decode() == report.attachments[0].text
    assert "[[configuration]]" in unescape(page)
    assert '"sum 7"' not in unescape(page)  # prompts are saved, not written out


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_of_a_run_or_a_name_becomes_part_of_the_page(store: RunStore, text: str) -> None:
    def page(text: str) -> str:
        storable = text.encode(errors="ignore").decode()  # as a page hands it on
        task = Task(id="a1", category="c", prompt="p" + text, checker="exact", expected="a", max_tokens=8)
        tasks = [task, replace(task, id="a2")]
        both = [configuration("16 bits"), configuration("int4" + storable)]
        made = replace(design(tasks, both, name="n" + storable), question="q" + storable)
        results = read(store, made, *answered(0, tasks, [1.0, 1.0]), *answered(1, tasks, [0.0, 1.0], 0.5))
        flip = FlippedAnswer(prompt_id="a1", gained=False, baseline="b" + text, candidate="c" + text)
        return report_html(report_of(results, Evidence(flips=(flip,), environments=({"cpu": "x" + text},))))

    plain, hostile = (Elements(page(each)).found for each in ("", text))
    assert [tag for tag, _ in hostile] == [tag for tag, _ in plain]


def test_a_text_without_end_is_cut(store: RunStore) -> None:
    flip = FlippedAnswer(prompt_id="sum 0", gained=True, baseline="b" * 5_000, candidate="c")
    (shown,) = report_of(kept(store), Evidence(flips=(flip,), environments=())).flips
    assert shown.baseline == "b" * 4_000 + "… (1,000 more characters)"
    assert shown.gained


def test_kld_stands_beside_the_scores_or_its_reason_in_words(store: RunStore) -> None:
    results = kept(store)
    without = report_of(results)
    assert "KLD from 16 bits: none. It is measured once all answers are there." in without.sections[0].text
    assert "KLD, nats per token" not in without.sections[-1].tables[0].headers
    cells = [replace(cell, kld=0.01, kld_tokens=5) if cell.key.configuration else cell for cell in results.cells]
    report = report_of(results_of(results.kept, results.design, cells))
    assert "KLD from 16 bits is 0.0100 nats per token" in report.sections[0].text
    table = report.sections[-1].tables[0]
    column = table.headers.index("KLD, nats per token")
    assert [row[column] for row in table.rows] == ["–", "0.0100 nats"]


def test_cost_and_energy_of_each_configuration_are_in_it(store: RunStore) -> None:
    report = report_of(kept(store), day=replace(DAY, watts=20.0))
    table = report.sections[-1].tables[1]
    assert table.title == "Cost and energy with the engine alone"
    # 0.51 s of the machine at a thousandth of a dollar and 20 J a second, for five tokens
    assert table.rows[1] == ("int4", "$0.51", "$102.00", "10.2 J, estimated", "0.57 kWh, estimated")
    assert table.note.endswith("Energy: estimated from 20 W.")
    day = next(section for section in report.sections if section.title == "A day").tables[0]
    assert day.rows[0][day.headers.index("Energy a day")] == "20.4 kJ, estimated"


def test_the_waterfall_of_a_factorial_is_in_it_with_what_gears_do_to_each_other(store: RunStore) -> None:
    found = gear_waterfalls(factorial_results(store), np.ones(40, dtype=bool), 3.6)
    section = gears_section(found, "$")
    assert section is not None
    assert [chart.title for chart in section.charts] == [
        "E2E, mean", "TTFT, mean", "Memory: weights and KV", "Cost of 1,000 requests", "Quality",
    ]  # fmt: skip
    seconds, cost = section.charts[0], section.charts[3]
    assert [value.name for value in seconds.values] == ["no gears", "int4", "KV cache", "all on"]
    assert [value.value for value in cost.values] == pytest.approx([value.value for value in seconds.values])
    steps = seconds.values[1:3]
    assert steps[0].start == seconds.values[0].value
    assert steps[1].start == steps[0].value
    assert steps[1].value == pytest.approx(seconds.values[3].value)
    changes, acting = section.tables
    assert changes.headers == ("Figure", "int4", "KV cache")
    assert changes.rows[0][0] == "E2E, mean (s)"
    assert changes.rows[0][1].startswith(f"{seconds.values[1].text.removesuffix(' s')} (−0.7")
    said = [text for kind, text in acting.rows if kind == "Alarm"]
    assert any(text.startswith("KV cache takes back part of what int4 gains: with both on, E2E") for text in said)
    assert "cost is" not in " ".join(said), "it is a multiple of E2E"
    page = report_html(report_of(factorial_results(store), waterfalls=found))
    assert page.index("Each gear") < page.index(">A day<")
    assert gears_section((), "$") is None
    assert gear_waterfalls(kept(store), np.ones(200, dtype=bool), 3.6) == ()


def factorial_results(store: RunStore) -> Results:
    """int4 halves the time, and the cache takes some of that back."""
    gears = OptimizationConfig.at(Precision.INT4, CacheMode.PREFIX)
    tasks, sets = sums(40), factorial(RunConfig(model="small", optimization=gears))
    times = {"no gears": 2.0, "int4": 1.0, "KV cache": 1.9, "int4 + KV cache": 1.5}
    cells = [
        cell for place, each in enumerate(sets) for cell in answered(place, tasks, [1.0] * len(tasks), times[each.name])
    ]
    return read(store, design(tasks, sets, name="Gears"), *cells)


# --- from what is stored --------------------------------------------------------------------------------


class WrongIn4Bits(AnsweringEngine):
    """Right in 16 bits alone."""

    def says(self, request: GenerationRequest) -> Sequence[str]:
        return ("It is", " wrong" if request.config.precision is Precision.INT4 else " right")


WORDS = [
    Task(id=name, category="Facts", prompt=f"{name}?", checker="contains", expected="right", max_tokens=8)
    for name in ("one", "two", "three")
]


def test_every_flip_is_read(store: RunStore) -> None:
    decision = decide(kept(store, lost=120), 1, margin=0.02)
    assert decision is not None
    assert len(flipped(decision)) == 120


def test_texts_and_machine_are_read_from_the_runs(store: RunStore) -> None:
    engine = WrongIn4Bits(fails={"two?": InvalidRequestError("It is too long.")})
    results = read_results(store, run(engine, store, design(WORDS)))
    store.delete([results.run_ids(1, next(iter(results.design.passes)))["three"]])
    results = read_results(store, results.kept.id)
    decision = decide(results, 1, margin=0.02)
    assert decision is not None
    evidence = read_evidence(store, results, decision, 1)
    assert [(each.prompt_id, each.baseline, each.candidate) for each in evidence.flips] == [
        ("one", "It is right", "It is wrong"),
        ("two", "It is right", "No answer: It is too long."),
        ("three", "It is right", DELETED),
    ]
    assert evidence.environments[0]["python"]


def test_the_page_is_made_from_the_store(store: RunStore) -> None:
    results = read_results(store, run(WrongIn4Bits(), store, design(WORDS)))
    page = unescape(report_page(store, results, 1, margin_points=2.0, day=DAY))
    assert "0 right with int4 alone, 3 with 16 bits alone." in page
    assert "It is wrong" in page


def test_there_is_no_report_of_nothing(store: RunStore) -> None:
    results = read(store, design())
    for candidate in (0, 1):
        with pytest.raises(GearboxError, match="nothing to report yet"):
            report_page(store, results, candidate, margin_points=2.0, day=DAY)


def test_prompts_of_a_set_are_not_attached(store: RunStore) -> None:
    tasks = load_tasks(SETS["tasks"])
    cells = [cell for place in (0, 1) for cell in answered(place, tasks, [1.0] * len(tasks))]
    results = read(store, design(tasks, BOTH), *cells)
    assert [each.name for each in report_of(results).attachments] == ["own.toml"]
