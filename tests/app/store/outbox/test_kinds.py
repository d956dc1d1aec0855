"""Every kind of result waits, and is then there once."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from app.store import DraftFigures, DraftResult, RunStore, TaskAnswer, TurnTiming
from engine.cascade import TierAnswer
from engine.evaluation import Corpus, DivergenceStats, Window, WindowDivergence
from engine.types import Losslessness, SpeculationConfig
from tests.support.waiting import create, finish, locked, open_store, spooled

WINDOW = WindowDivergence(
    kld=np.array([0.5], np.float32), delta_p=np.array([0.25], np.float32), same_top=np.array([True]),
    nll_ref=np.array([1.0], np.float32), nll_cand=np.array([1.5], np.float32),
)  # fmt: skip
LOSSLESS = Losslessness(tokens=2, checked=2, near_ties=0, divergence=None)
TIER_ANSWER = TierAnswer(
    text="4", token_ids=(4,), score=1.0, prompt_tokens=3, completion_tokens=1, prefill_s=0.1, ttft_s=0.1, e2e_s=0.2,
    finish_reason="stop", logprobs=(-0.5,), entropies=(0.5,),
)  # fmt: skip
CORPUS = Corpus(name="c", text="Hello")
FIGURES = DraftFigures(
    plain_tpot_s=0.2, drafted_tpot_s=0.1, tokens=5, identical=5, drafted_tokens=4, accepted_tokens=3,
    verification_steps=2, rejections=1,
)  # fmt: skip


class EveryKind:
    """One result of each kind, to be kept and to be found."""

    def __init__(self, store: RunStore) -> None:
        self.run_id = create(store)
        self.chat_id = store.chat.create("T", {})
        self.asked = store.chat.append(self.chat_id, None, "user", "Why?")
        store.lab.keep_corpus(CORPUS)
        self.corpus_result = store.lab.begin_corpus_result(
            model="m", weights_sha256="w", precision="int8", corpus_sha256=CORPUS.sha256, windows=1
        )
        self.task_result = store.lab.begin_task_result(
            model="m", weights_sha256="w", precision="int8", tasks_sha256="t", tasks=1
        )
        store.router.keep_set("s", "set", [])

    def keep(self, store: RunStore) -> None:
        finish(store, self.run_id, "So.")
        store.keep_losslessness(self.run_id, LOSSLESS)
        store.chat.keep_answer(self.chat_id, self.asked, "So.", token_ids=(1,), run_id=self.run_id)
        store.chat.keep_timing(
            self.chat_id,
            self.asked,
            "setting",
            TurnTiming(ttft_s=0.5, prompt_tokens=10, cached_tokens=5, environment={}),
        )
        store.lab.keep_answer("w", CORPUS.sha256, 0, [Window((1, 2, 3), 1)])
        store.lab.keep_window(self.corpus_result, 0, WINDOW)
        store.lab.finish_corpus_result(self.corpus_result, DivergenceStats.from_tokens(WINDOW))
        store.lab.add_speed(
            model="m", weights_sha256="w", precision="int8", tokens_per_second=9.0, ttft_s=0.1, weights_bytes=7,
            environment={}, measurement=self.corpus_result,
        )  # fmt: skip
        store.lab.keep_task_answer(self.task_result, "1", TaskAnswer("4", True))
        store.drafts.keep(
            DraftResult(
                model="m", weights_sha256="w", precision="int8", config_hash="c", prompt_sha256="p",
                speculation=SpeculationConfig(), created_at=datetime.now(UTC), figures=FIGURES, environment={},
            )
        )  # fmt: skip
        store.router.keep_answer("s", "1", "m int8", "w", TIER_ANSWER, {})

    def found(self, store: RunStore) -> list[object]:
        (stats,) = (result.stats for result in store.lab.corpus_results("m"))
        return [
            (run := store.get(self.run_id)).status,
            (run.text, run.losslessness),
            [message.content for message in store.chat.get(self.chat_id).path()],
            list(store.chat.timings(self.chat_id).values()),
            store.lab.answers("w", CORPUS.sha256),
            len(store.lab.windows(self.corpus_result)),
            stats,
            [speed.tokens_per_second for speed in store.lab.speeds("m")],
            store.lab.task_answers(self.task_result),
            [draft.figures for draft in store.drafts.results("m", "int8")],
            len(store.router.answers("s", "m int8", "w")),
        ]


KINDS = 11


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize("how", ["delivered", "taken in", "taken in twice"])
def test_every_kind_of_result_waits_and_is_then_there_once(file: Path, store: RunStore, how: str) -> None:
    every = EveryKind(store)
    with locked(file):
        every.keep(store)
        assert store.waiting is not None
        assert store.waiting.results == KINDS
        lines = spooled(file.parent)[0].read_bytes()
        if how != "delivered":
            store.close()
    if how == "delivered":
        store._outbox.deliver()
    else:
        store = open_store(file)
    if how == "taken in twice":
        (file.parent / "gearbox.db.waiting-again.jsonl").write_bytes(lines)
        store.close()
        store = open_store(file)
    assert store.waiting is None
    assert spooled(file.parent) == []
    kept = every.found(store)
    with closing(sqlite3.connect(file)) as other:
        tables = ("runs", "run_timelines", "lab_speeds", "lab_drafts", "lab_task_answers", "router_answers")
        counts = [other.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables]
    assert counts == [1] * len(tables)
    every.keep(store)  # once more, and directly: nothing is there twice
    assert every.found(store) == kept
    assert store.refused is None
    store.close()


def test_an_older_result_that_comes_late_does_not_replace_a_newer_one(file: Path, store: RunStore) -> None:
    every = EveryKind(store)
    with locked(file):
        every.keep(store)
        lines = spooled(file.parent)[0].read_bytes()
    store._outbox.deliver()
    newer = replace(FIGURES, tokens=6)
    draft = store.drafts.results("m", "int8")[0]
    store.drafts.keep(replace(draft, created_at=datetime.now(UTC), figures=newer))
    store.rate(every.run_id, 1)
    (file.parent / "gearbox.db.waiting-old.jsonl").write_bytes(lines)
    store._outbox.take_in()
    assert store.drafts.results("m", "int8")[0].figures == newer
    assert store.get(every.run_id).rating == 1
