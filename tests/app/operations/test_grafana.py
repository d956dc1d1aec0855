"""The dashboard in docs/ asks Prometheus for what /metrics gives, and for nothing else."""

import json
import re
from dataclasses import dataclass
from typing import Any

import pytest

from app.runs.metrics import Metrics
from app.settings import REPOSITORY
from app.store import RunOutcome, RunStatus, RunStore
from tests.support.fakes import make_metrics, make_request

DASHBOARD = json.loads((REPOSITORY / "docs" / "grafana.json").read_text(encoding="utf-8"))
_NAME = re.compile(r"\b(?:vllm:|gearbox_|process_)[a-z0-9_:]+")
_LABELS = re.compile(r'([a-z_]+)(?:=~?|!=)"')
_BY = re.compile(r"by \(([a-z_]+)\)")


@dataclass
class Idle:
    running: int = 0
    queued: int = 0
    kv_share: float = 0.0
    preemptions: int = 0


@pytest.fixture
def exposed(store: RunStore) -> tuple[set[str], set[str]]:
    """The names of the series and of their labels, after a run."""
    metrics = Metrics(Idle)
    store.observers.append(metrics.observe)
    run_id = store.create_run(make_request(), person_id="p", environment={})
    store.finish_run(run_id, RunOutcome(RunStatus.FINISHED, "x", metrics=make_metrics()))
    text = metrics.exposition().decode()
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    endings = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}
    names = {f"{name}{ending}" for name, kind in kinds.items() for ending in endings.get(kind, ("",))}
    return names, {*re.findall(r'[{,]([a-z_]+)="', text), "tier"}


def expressions() -> list[str]:
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


def test_every_figure_that_is_asked_for_is_exposed(exposed: tuple[set[str], set[str]]) -> None:
    names, labels = exposed
    asked = [*expressions(), *(each["query"]["query"] for each in DASHBOARD["templating"]["list"][1:])]
    named = {name for text in asked for name in _NAME.findall(text)}
    assert len(named) > 15
    assert named <= names
    assert {label for text in asked for pattern in (_LABELS, _BY) for label in pattern.findall(text)} <= {*labels, "le"}


def test_the_panels_are_whole_and_do_not_overlap() -> None:
    panels: list[dict[str, Any]] = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel["title"] and panel["targets"] and panel["fieldConfig"]["defaults"]["unit"] for panel in panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        x, y, w, h = (panel["gridPos"][side] for side in "xywh")
        cells = {(column, row) for column in range(x, x + w) for row in range(y, y + h)}
        assert x + w <= 24
        assert taken.isdisjoint(cells)
        taken |= cells


def test_brackets_and_variables_are_in_order() -> None:
    variables = {each["name"] for each in DASHBOARD["templating"]["list"]} | {"__rate_interval"}
    for text in expressions():
        for opening, closing in ("()", "[]", "{}"):
            assert text.count(opening) == text.count(closing), text
        assert set(re.findall(r"\$(\w+)", text)) <= variables
