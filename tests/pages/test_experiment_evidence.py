"""What an experiment's verdict rests on, to read and to take away: flips, the design as a file, a replay."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import pytest

from app.background.jobs import Jobs
from app.experiments.results.arrays import read_results
from app.literal import literal
from app.session import experiments as session
from app.store import Pass, RunStore
from engine import Task
from engine.types import GenerationRequest, Precision
from tests.support.experiments import AnsweringEngine, configuration, design, run
from tests.support.experiments_page import RIGHT, held, install, opened, words
from tests.support.ui import texts


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch, jobs: Jobs) -> None:
    """One model, and jobs of this test's own."""
    install(monkeypatch, jobs)


HOSTILE = "<img src=x onerror=alert(1)> ![x](https://example.com/a.png) :material/bug: **bold** 🙂 $x$"


class Hostile(AnsweringEngine):
    """Right in 16 bits alone, with texts that try to be more than text."""

    def says(self, request: GenerationRequest) -> Sequence[str]:
        return (HOSTILE, " wrong" if request.config.precision is Precision.INT4 else " right")


def hostile(store: RunStore) -> str:
    tasks = [
        Task(id=f"p{n}", category="Fa*cts", prompt=f"{n} {HOSTILE}", checker="contains", expected="right", max_tokens=8)
        for n in range(2)
    ]
    both = [configuration("16 *bits*", Precision.BF16), configuration("<b>int4</b> ![i](x)")]
    return run(Hostile(), store, replace(design(tasks, both), question=HOSTILE, prompts_from="*mine*"))


def test_flips_are_shown_as_they_were_written(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    app = opened(monkeypatch, store, hostile(store))
    flip = app.selectbox(key=session.FLIP)
    assert len(flip.options) == 2
    assert [text.value for text in app.text] == [f"{HOSTILE} right", f"{HOSTILE} wrong"]
    assert literal(f"0 {HOSTILE}") in [each.value for each in app.markdown]
    flip.set_value("p1").run()
    assert literal(f"1 {HOSTILE}") in [each.value for each in app.markdown]


@pytest.mark.parametrize("section", ["Decision", "All configurations", "Method"])
def test_no_name_is_read_as_markdown(monkeypatch: pytest.MonkeyPatch, store: RunStore, section: str) -> None:
    app = opened(monkeypatch, store, hostile(store), section)
    said = texts(app, "title", "subheader", "markdown", "caption", "info", "success", "error", "warning")
    assert literal(HOSTILE) in said
    for part in (r"<img", r"!\[[xi]\]\(", r"\*\*bold", r"<b>", r"\*bits", r"\*mine", r"Fa\*cts", r"\$x"):
        assert not re.search(rf"(?<!\\){part}", said.replace("Fa\\*", "")), part


def test_the_design_goes_as_a_file_and_own_prompts_with_it(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    app = opened(monkeypatch, store, held(store, RIGHT))
    buttons = {button.proto.id.rpartition("-")[2]: button for button in app.get("download_button")}
    assert {"report", "design", "prompts"} <= {*buttons}
    assert "gearbox experiment run ship-it.toml" in words(app)


def test_a_prompt_is_played_again_by_both(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    id = hostile(store)
    app = opened(monkeypatch, store, id)
    app.button(key="experiments-replay").click().run()
    assert not app.exception
    assert len(app.selectbox(key=session.REPLAYED).options) == 2
    assert any("opens offline" in each.value for each in app.caption)
    store.delete([read_results(store, id).run_ids(1, Pass.SPEED)["p0"]])
    app.button(key="experiments-replay").click().run()
    assert any("this run was deleted" in each.value for each in app.caption)
