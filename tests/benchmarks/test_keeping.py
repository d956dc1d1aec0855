"""What benchmarks came to, kept and made into a page."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from tests.benchmarks import decode
from tests.benchmarks.__main__ import BENCHMARKS
from tests.benchmarks.keeping import FOLDER, PAGE, about, keep, write_page

ROWS = [
    {"lane": "int4 | fast", "median_s": 0.12345, "spread": 0.02, "error": None},
    {"lane": "int8", "median_s": 7.0, "spread": None, "error": None},
    {"path": "other columns", "decode_tps": 123.4},
]


def test_the_page_has_each_benchmark_with_its_machine_date_and_command(tmp_path: Path) -> None:
    begun = datetime(2026, 3, 1, 9, 5, tzinfo=UTC)
    keep("late", "What comes last.", "python -m tests.benchmarks late --rounds 2", begun, ROWS, tmp_path / "kept")
    keep("early", about(decode), "python -m tests.benchmarks early", begun, ROWS[:1], tmp_path / "kept")
    write_page(tmp_path / "kept", tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert page.index("## early") < page.index("## late")
    assert "Decode and prefill speed of every precision" in page
    assert "`python -m tests.benchmarks late --rounds 2`, 2026-03-01 09:05 UTC" in page
    assert ", on " in page
    assert "| lane | median (s) | spread |\n" in page, "columns without a value are left out"
    assert "| int4 \\| fast | 0.123 | 0.02 |\n| int8 | 7 | – |\n" in page
    assert "| path | decode (tok/s) |\n" in page, "rows of other columns have a table of their own"


def test_what_is_kept_is_of_benchmarks_that_there_are_and_the_page_is_made_of_it(tmp_path: Path) -> None:
    assert {file.stem for file in FOLDER.glob("*.json")} <= BENCHMARKS.keys()
    write_page(page=tmp_path / "page.md")
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == PAGE.read_text(encoding="utf-8")
