"""A report as a page: what it says, and that no text becomes part of it."""

from __future__ import annotations

from html import unescape

import pytest

from app.reports.page import report_html
from app.reports.report import Report, ReportError, Table, Tone
from tests.support.html import HOSTILE, Elements
from tests.support.reports import MADE_AT, make_report


def test_the_question_and_its_answer_come_first() -> None:
    page = unescape(report_html(make_report()))
    parts = [
        "Ship int4 instead of 16 bits?",
        "Yes.",
        "int4 keeps quality within 2 points",
        "Difference in quality",
        "Cost a day",
        "4 right with int4 alone, 8 with 16 bits alone.",
        "It is 381.",
        "Xeon, 2 threads",
        "gearbox experiment run ship-int4.toml",
        "2026-03-14 15:09:26 UTC",
    ]
    body = page[page.index("<body>") :]
    places = [body.index(part) for part in parts]
    assert places == sorted(places)


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_becomes_part_of_the_page(text: str) -> None:
    page = report_html(make_report(text))
    plain, hostile = (Elements(each).found for each in (report_html(make_report()), page))
    assert [tag for tag, _ in hostile] == [tag for tag, _ in plain]
    assert [sorted(attributes) for _, attributes in hostile] == [sorted(attributes) for _, attributes in plain]
    assert len(page.encode()) > 0  # half a surrogate pair could not be written


def test_it_asks_nothing_of_a_network_and_runs_no_script() -> None:
    page = report_html(make_report())
    assert "http" not in page.replace("http-equiv", "")
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in Elements(page).found}
    assert not any("style" in attributes for _, attributes in Elements(page).found)  # its policy forbids them


def test_flips_beyond_a_few_stay_on_the_screen() -> None:
    page = report_html(make_report(flips=12))
    assert page.count("<article class='flip'>") == 3
    assert page.count("<article class='flip screen'>") == 9
    assert "9 more flips in the file itself." in page
    assert "more flip" not in report_html(make_report(flips=3))
    assert "<details" not in page


def test_every_flip_is_in_the_file_and_many_are_folded_away() -> None:
    page = report_html(make_report(flips=70))
    assert page.count("<article class='flip") == 70
    assert "<details class='screen'><summary>58 more flips</summary>" in page
    assert page[page.index("<details") :].count("<article class='flip screen'>") == 58
    assert "<p class='soft printed'>67 more flips in the file itself.</p>" in page


def test_a_report_of_a_verdict_alone_can_be_made() -> None:
    page = report_html(
        Report(
            title="t",
            question="q",
            answer="Not shown yet",
            tone=Tone.OPEN,
            verdict="About 37 more prompts.",
            made_at=MADE_AT,
        )
    )
    assert "<strong>Not shown yet.</strong> About 37 more prompts." in page
    assert "Answers that flip" not in page
    assert "How to make it again" not in page


def test_a_row_that_does_not_fit_its_table_is_refused() -> None:
    with pytest.raises(ReportError, match="“Figures” does not have 2 cells"):
        Table(title="Figures", headers=("a", "b"), rows=(("1", "2"), ("3",)))
