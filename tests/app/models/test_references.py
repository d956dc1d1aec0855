"""What stays when a model goes."""

from __future__ import annotations

from typing import Any

import pytest

from app.models.references import references_to, stays_in_words
from app.store import RunStore
from engine.types import CascadeConfig, Drafter, Precision, SpeculationConfig, Tier
from tests.support.fakes import make_request
from tests.support.ui import add_run


def test_runs_configurations_and_experiments_are_counted(store: RunStore) -> None:
    add_run(store, make_request(model="mine"))
    add_run(store, make_request(model="mine"))
    add_run(store, make_request(model="other"))
    store.create_run(make_request(model="mine"), person_id=None, environment={})
    drafts = SpeculationConfig(drafter=Drafter.DRAFT, draft_model="mine", draft_precision=Precision.INT4)
    store.configurations.save("anna", "fast", make_request(model="mine").config.to_dict(), warm=False)
    store.configurations.save(
        None, "drafted", make_request(model="other", speculation=drafts).config.to_dict(), warm=False
    )
    store.configurations.save(None, "neither", make_request(model="mine-too").config.to_dict(), warm=False)
    design = {"configurations": [{"model": "other"}, {"cascade": {"tiers": [{"model": "mine"}]}}]}
    for name, each in (("asks", design), ("does not", {"model": "mine-too"})):
        store.experiments.keep(name=name, question="", design=each, design_sha256=name[:1] * 64, prompts=())
    found = references_to("mine", store)
    assert (found.running, found.runs) == (1, 3)
    assert set(found.configurations) == {"fast", "drafted"}
    assert found.experiments == ("asks",)
    assert stays_in_words(found) == ["3 runs", "2 saved configurations: “drafted”, “fast”", "1 experiment: “asks”"]
    assert stays_in_words(references_to("nobody's", store)) == []


@pytest.mark.parametrize(
    "gear",
    [
        {"cascade": CascadeConfig(smaller=(Tier(model="mine", precision=Precision.INT4),), thresholds=(0.5,))},
        {"speculation": SpeculationConfig(drafter=Drafter.DRAFT, draft_model="mine", draft_precision=Precision.INT4)},
    ],
)
def test_a_run_under_way_needs_its_smaller_tiers_and_its_drafter(store: RunStore, gear: dict[str, Any]) -> None:
    add_run(store, make_request(model="other", **gear))
    assert references_to("mine", store).running == 0, "over"
    store.create_run(make_request(model="other", **gear), person_id=None, environment={})
    store.create_run(make_request(model="other"), person_id=None, environment={})
    found = references_to("mine", store)
    assert (found.running, found.runs) == (1, 0)
