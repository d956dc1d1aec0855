"""What a backend is said to do, and what its models do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from engine import Engine
from engine.backends.base import LoadedModel
from engine.errors import InvalidRequestError
from engine.serving.memory.pool import ModelPool
from engine.types import Backend, GearKind, KVDtype, RunConfig
from tests.engine.test_engine import request_for
from tests.support.loading import load_model
from tests.support.tiny import make_tiny_checkpoint


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Backend], LoadedModel]:
    """A tiny model of a backend."""
    folder = make_tiny_checkpoint(tmp_path_factory.mktemp("tiny"), "llama")
    pool = ModelPool(folder.parent)
    return lambda backend: load_model(pool, RunConfig(model=str(folder), backend=backend))


@pytest.mark.parametrize("backend", [Backend.REFERENCE, Backend.LOCAL])
def test_a_backends_gears_are_what_its_models_can_do(load: Callable[[Backend], LoadedModel], backend: Backend) -> None:
    """Drafts are verified pass by pass, and KV that is kept across runs is the engine's own."""
    model, gears = load(backend), backend.info.gears
    assert (model.stepwise is model) == (GearKind.SPECULATION in gears)
    assert (model.stepwise is None) == (GearKind.SPECULATION not in gears)
    assert (model.new_cache(16, KVDtype.BF16, None) is not None) == (GearKind.KV_CACHE in gears)


def test_an_answer_is_read_again_only_where_passes_can_be_asked_for(tmp_path: Path) -> None:
    make_tiny_checkpoint(tmp_path / "tiny", "llama")
    request = request_for("hi", model="tiny")
    engine = Engine(tmp_path)
    assert engine.check_losslessness(request, (1,)).tokens == 1
    plain = replace(request, config=replace(request.config, backend=Backend.REFERENCE))
    with pytest.raises(InvalidRequestError, match="token by token"):
        engine.check_losslessness(plain, (1,))
    engine.close()
