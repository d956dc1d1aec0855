"""A model leaves memory when it is asked to, and not under a request that runs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from engine import Engine
from engine.errors import ModelInUseError, UnknownModelError
from engine.types import RunFailed, RunFinished, SamplingParams, TokenEvent
from tests.support.fakes import make_request


@pytest.fixture
def own_engine(tmp_path: Path, tiny_models_dir: Path) -> Iterator[Engine]:
    shutil.copytree(tiny_models_dir / "tiny", tmp_path / "tiny")
    engine = Engine(tmp_path)
    yield engine
    engine.close()


def test_what_runs_stays_and_what_does_not_goes(own_engine: Engine, tmp_path: Path) -> None:
    own_engine.unload("tiny")  # nothing is there yet
    path = str(tmp_path / "tiny")
    sampling = SamplingParams(max_tokens=900)
    with closing(own_engine.generate(make_request(model=path, sampling=sampling))) as events:
        for event in events:
            if isinstance(event, TokenEvent):
                break
        with pytest.raises(ModelInUseError, match="tiny answers or drafts"):
            own_engine.unload("tiny")
    assert own_engine.status().resident
    *_, last = own_engine.generate(make_request(model="tiny", sampling=SamplingParams(max_tokens=2)))
    assert isinstance(last, RunFinished)
    own_engine.unload("other")
    assert {each.model for each in own_engine.status().resident} == {"tiny", path}
    own_engine.unload("tiny")
    assert own_engine.status().resident == (), "by whatever name it was asked for"
    shutil.rmtree(tmp_path / "tiny")
    *_, last = own_engine.generate(make_request(model="tiny", sampling=SamplingParams(max_tokens=2)))
    assert isinstance(last, RunFailed)
    assert last.kind == UnknownModelError.__name__
