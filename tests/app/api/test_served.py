"""What clients can name: installed models and saved configurations, each name once."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.api.errors import ApiError
from app.api.served import Catalogue
from app.store import NewRemote, RunStore
from engine.types import Backend
from tests.support.fakes import make_request

CONFIG = make_request(model="tiny").config.to_dict()


@pytest.fixture
def catalogue(tiny_models_dir: Path, store: RunStore) -> Catalogue:
    return Catalogue(tiny_models_dir, lambda: store)


def names(catalogue: Catalogue) -> list[str]:
    return [served.name for served in catalogue.all()]


def test_models_that_are_not_installed_are_neither_listed_nor_found(catalogue: Catalogue) -> None:
    assert names(catalogue) == ["tiny"]
    with pytest.raises(ApiError, match="no model of that name"):
        catalogue.find("smollm2-135m")


def test_models_of_servers_are_listed_and_found(catalogue: Catalogue, store: RunStore) -> None:
    kept = store.remotes.add(NewRemote(name="@office", url="http://h/v1", served_name="m"))
    assert names(catalogue) == ["tiny", "@office"]
    found = catalogue.find("@office")
    assert (found.config.model, found.config.backend) == ("@office", Backend.REMOTE)
    assert found.created == int(kept.created_at.timestamp())
    store.remotes.remove(kept.id)
    with pytest.raises(ApiError, match="no model of that name"):
        catalogue.find("@office")


def test_of_two_configurations_of_one_name_the_desks_has_it_and_the_other_goes_by_its_id(
    catalogue: Catalogue, store: RunStore
) -> None:
    mine = store.configurations.save("me", "fast", CONFIG, warm=False)
    desks = store.configurations.save(None, "fast", CONFIG, warm=True)
    assert names(catalogue) == ["tiny", *sorted([f"gearbox/{mine}", "gearbox/fast"])]
    assert not catalogue.find("gearbox/fast").cold
    assert catalogue.find(f"gearbox/{mine}").cold
    assert catalogue.find(desks).config == catalogue.find("gearbox/fast").config
    store.configurations.delete(None, desks)
    assert catalogue.find("gearbox/fast").cold


def test_a_configuration_that_is_none_any_more_is_left_out_and_refused(catalogue: Catalogue, store: RunStore) -> None:
    broken = store.configurations.save(None, "old", {**CONFIG, "backend": "gone"}, warm=False)
    assert names(catalogue) == ["tiny"]
    with pytest.raises(ApiError) as caught:
        catalogue.find(broken)
    assert caught.value.status == 404


def test_a_model_by_itself_samples_as_openais_api_does_and_a_configuration_as_it_was_saved(
    catalogue: Catalogue, store: RunStore
) -> None:
    store.configurations.save(None, "fast", CONFIG, warm=False)
    assert catalogue.find("tiny").config.sampling.temperature == 1
    assert catalogue.find("gearbox/fast").config.to_dict() == CONFIG
