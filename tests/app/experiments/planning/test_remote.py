"""Servers' models in an experiment: as its file names them, and what cannot be measured of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.experiments.planning.divergence import no_kld
from app.experiments.planning.reading import read_design
from app.experiments.planning.writing import design_toml
from engine.types import Backend, Precision

FILE = """
name = "The office's, or ours?"
prompts = "mixed"
size = "quick"

[[configuration]]
model = "smollm2-135m"

[[configuration]]
model = "@office"

[[configuration]]
name = "Ours first"
model = "@office"
smaller = ["smollm2-135m@int4"]

[[configuration]]
name = "Theirs first"
model = "smollm2-135m"
smaller = ["@office"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "office.toml"
    path.write_text(FILE, encoding="utf-8")
    return path


def test_a_file_names_them_as_any_model(file: Path, tmp_path: Path) -> None:
    design = read_design(file).design
    assert [each.name for each in design.configurations] == [
        "smollm2-135m bf16",
        "@office",
        "Ours first",
        "Theirs first",
    ]
    there = design.configurations[1].config
    assert (there.backend, there.precision) == (Backend.REMOTE, Precision.UNKNOWN)
    again = tmp_path / "again.toml"
    again.write_text(design_toml(design), encoding="utf-8")
    assert read_design(again).design == design


def test_no_kld_is_measured_where_a_server_answers(file: Path) -> None:
    design = read_design(file).design
    for place in (1, 2, 3):
        assert "server" in (no_kld(design, place) or "")
