"""A real judge on real traffic: what it says is a score or is counted, and a person's run ends its question."""

from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path

import pytest

from app.operations.idle.giving_way import GaveWayError
from app.operations.judging.options import Judged, JudgingOptions
from app.operations.judging.running import Judging
from app.runs.answers import answer_unkept
from app.store import RunStore
from engine import Engine
from engine.types import Precision, SamplingParams
from tests.conftest import SMALL
from tests.support.experiments import Told
from tests.support.fakes import make_request
from tests.support.stores import new_database
from tests.support.ui import add_run


@pytest.mark.slow
def test_a_real_judge_is_counted_and_gives_way(engine: Engine, tmp_path: Path) -> None:
    with closing(RunStore.open(new_database(tmp_path / "gearbox.db"))) as store:
        JudgingOptions(on=True, judge=Judged(SMALL, "int4"), share=1.0, money_a_day=1e6).keep(store.options)
        judging = Judging(
            engine=engine, store=store, open=lambda judge: judge.opened(engine, None, None), per_hour=3600.0
        )
        add_run(store)
        assert judging.run(Told()) == 1
        (counts,) = store.judging.counts()
        assert counts.asked == sum(each.count for each in store.judging.sums()) + sum(counts.unanswered.values())
        assert counts.prompt_tokens > 100
        assert counts.cost == pytest.approx(counts.seconds)

        add_run(store)
        asked = make_request(
            "Tell me a very long story.", precision=Precision.INT4, sampling=SamplingParams(max_tokens=600)
        )
        comes = threading.Thread(target=answer_unkept, args=(engine, asked, lambda _: None))

        class SomebodyComes(Told):
            def at(self, stage: str) -> None:
                if "1 of 1" in stage and not comes.ident:
                    comes.start()

        with pytest.raises(GaveWayError):
            judging.run(SomebodyComes())
        comes.join()
        assert store.judging.counts()[0].asked == 1
        assert judging.run(Told()) == 1
