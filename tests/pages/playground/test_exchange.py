"""Saved configurations as a file, and as a command line of vLLM, in the Playground."""

from __future__ import annotations

from typing import Any

from app.doors.person import TAB_ID
from app.experiments.planning.configuration_file import Portable, write_configurations
from app.store import RunStore
from engine.types import OptimizationConfig, Precision, RunConfig
from tests.support.fakes import FakeEngine
from tests.support.playground import words

FAST = RunConfig(model="gone", optimization=OptimizationConfig.at(Precision.INT4))


def test_a_file_is_saved_and_says_what_is_not_installed(playground: Any, store: RunStore) -> None:
    page = playground(FakeEngine())
    (uploader,) = page.get("file_uploader")
    uploader.set_value([("a.toml", write_configurations([Portable(name="Fast", config=FAST)]).encode(), "text/plain")])
    page.run()
    (kept,) = store.configurations.saved(page.session_state[TAB_ID])
    assert (kept.name, RunConfig.from_dict(kept.config)) == ("Fast", FAST)


def test_a_file_that_is_none_is_told_of(playground: Any, store: RunStore) -> None:
    page = playground(FakeEngine())
    (uploader,) = page.get("file_uploader")
    uploader.set_value([("a.toml", b"a = 1", "text/plain")])
    page.run()
    assert "no file of configurations" in words(page)


def test_a_saved_configuration_is_shown_as_a_command_of_vllm(playground: Any, store: RunStore) -> None:
    page = playground(FakeEngine())
    store.configurations.save(page.session_state[TAB_ID], "Fast", FAST.to_dict(), warm=False)
    page.run()
    assert not page.exception
    assert any(code.value.startswith("vllm serve gone --dtype bfloat16") for code in page.code)
    assert "int4 weights in Gearbox's own layout" in words(page)
