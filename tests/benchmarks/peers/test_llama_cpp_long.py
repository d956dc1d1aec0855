"""A long context of llama.cpp's, by a stand-in with its calls: read once, written behind and gone back to."""

from __future__ import annotations

import ctypes
import importlib
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest


class StandIn(ModuleType):
    """Counts what a context holds."""

    GGML_TYPE_F16, GGML_TYPE_Q8_0, LLAMA_FLASH_ATTN_TYPE_ENABLED = 1, 8, 1
    llama_token = ctypes.c_int32

    def __init__(self) -> None:
        super().__init__("llama_cpp")
        self.settings = SimpleNamespace()
        self.held, self.read = 0, list[int]()

    def llama_context_default_params(self) -> SimpleNamespace:
        return self.settings

    def llama_init_from_model(self, _model: object, settings: SimpleNamespace) -> object:
        return settings

    def llama_get_memory(self, context: object) -> object:
        return context

    def llama_batch_get_one(self, _tokens: Any, count: int) -> int:
        return count

    def llama_decode(self, context: SimpleNamespace, count: int) -> int:
        self.held += count
        self.read.append(count)
        return int(self.held > context.n_ctx or count > context.n_batch)

    def llama_memory_seq_rm(self, _memory: object, _sequence: int, start: int, _end: int) -> bool:
        self.held = start
        return True

    def llama_state_seq_get_size(self, _context: object, _sequence: int) -> int:
        return 100 * self.held


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    module = "tests.benchmarks.peers.llama_cpp_long"
    library = StandIn()
    monkeypatch.setitem(sys.modules, "llama_cpp", library)
    monkeypatch.delitem(sys.modules, module, raising=False)
    yield library
    sys.modules.pop(module, None)


@pytest.mark.parametrize(("kv", "kind"), [("f16", 1), ("q8_0", 8)])
def test_the_context_is_read_once_and_each_measurement_begins_behind_it(library: StandIn, kv: str, kind: int) -> None:
    long = importlib.import_module("tests.benchmarks.peers.llama_cpp_long")
    context = long.LongContext(None, 2, 1_100, 8, kv)
    assert (library.settings.type_k, library.settings.type_v) == (kind, kind)
    for _ in range(3):
        timing = context.write(8)
        assert library.held == 1_100
        assert timing.kv_bytes == 110_000
        assert timing.tpot_s > 0
    assert library.read == [512, 512, 76, *[1] * 24]
    with pytest.raises(RuntimeError, match="decode failed"):
        context.write(9)
