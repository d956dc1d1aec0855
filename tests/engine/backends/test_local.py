"""Room for KV where it costs nothing: all of the context, if the machine maps as much."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from dataclasses import replace

import pytest

from engine.cache import KVCache
from engine.serving.memory.pool import ModelPool
from engine.types import KVDtype, RunConfig
from tests.support.lazy_memory import needs_lazy_memory
from tests.support.loading import load_model
from tests.support.tiny import make_tiny_checkpoint

pytestmark = needs_lazy_memory
NewCache = Callable[[int], KVCache]


@pytest.fixture(scope="module")
def new_cache(tmp_path_factory: pytest.TempPathFactory) -> NewCache:
    """Of a model whose context is longer than any machine could hold."""
    folder = make_tiny_checkpoint(tmp_path_factory.mktemp("tiny"), "llama")
    model = load_model(ModelPool(folder.parent), RunConfig(model=str(folder)))
    assert model.stepwise
    decoder = model.stepwise.decoder
    decoder.config = replace(decoder.config, context_length=2**48)

    def make(capacity: int) -> KVCache:
        kv = model.new_cache(capacity, KVDtype.BF16, None)
        assert kv is not None
        return kv

    return make


def test_what_is_mapped_is_never_more_than_the_machine_has(
    new_cache: NewCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.backends.local.machine_bytes", lambda: 5 * mmap.PAGESIZE)
    kv = new_cache(1)
    mapped = len(kv.layers) * (kv.layers[1].data_ptr() - kv.layers[0].data_ptr())
    assert 2 * mmap.PAGESIZE < mapped <= 5 * mmap.PAGESIZE
    assert new_cache(1_000).capacity == 1_000


def test_where_so_much_is_refused_there_is_room_for_what_was_asked(
    new_cache: NewCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.backends.local.machine_bytes", lambda: 2**58)
    assert new_cache(100).capacity == 100
