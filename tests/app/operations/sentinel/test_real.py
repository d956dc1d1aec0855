"""On real weights: nothing flips by itself, and `kill -9` leaves nothing half."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from app.operations.sentinel.picking import pick
from app.operations.sentinel.replaying import replay
from app.runs.answers import answer_kept
from app.runs.race import LaneRun
from app.store import RunSource, RunStore
from engine import Engine
from engine.types import Precision, SamplingParams
from tests.conftest import REPOSITORY
from tests.support.experiments import Told
from tests.support.fakes import make_request
from tests.support.stores import new_database

_REPLAY = """
import sys
from pathlib import Path
from app.operations.sentinel.replaying import replay
from app.store import RunStore
from engine import Engine

def report(stage, fraction, /, *, loading=None):
    print(stage, flush=True)

replay(Engine(Path(sys.argv[2])), RunStore.open(sys.argv[1]), report, timed=1)
"""


def picked(engine: Engine, store: RunStore, prompt: str, sampling: SamplingParams) -> str:
    run = LaneRun(make_request(prompt, precision=Precision.INT4, sampling=sampling))
    answer_kept(engine, store, run, person_id=None, source=RunSource.PLAYGROUND, watch=lambda _: None)
    assert run.run_id
    return pick(store, run.run_id)


@pytest.mark.slow
def test_real_answers_stay_and_a_kill_in_the_middle_leaves_nothing_half(
    engine: Engine, models_dir: Path, tmp_path: Path
) -> None:
    url = new_database(tmp_path / "gearbox.db")
    with closing(RunStore.open(url)) as store:
        greedy = picked(engine, store, "Name a colour.", SamplingParams(max_tokens=12))
        drawn = picked(engine, store, "Say hello.", SamplingParams(max_tokens=12, temperature=0.8, seed=7))
        with subprocess.Popen(
            [sys.executable, "-c", _REPLAY, url, str(models_dir)],
            cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, stdout=subprocess.PIPE, text=True,
        ) as other:  # fmt: skip
            assert other.stdout is not None
            for line in other.stdout:
                if "2 of 2" in line:
                    other.kill()
        assert set(store.sentinel.latest()) == {greedy}
        store.look_around()
        assert store.sentinel.under_way is None
        replay(engine, store, Told(), timed=3)
        (only,) = store.sentinel.rounds()
        assert (only.answered, only.ended_at is None) == (2, False)
        found = store.sentinel.latest()
        assert {id: each.deviations for id, each in found.items()} == {greedy: (), drawn: ()}
        assert 0 < (found[greedy].kld or 0) < 0.2
        assert found[greedy].fingerprint["kernel"].startswith("gearbox")
