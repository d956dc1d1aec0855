"""The Cache lab: what is kept, whose it is, why a prompt was not reused, the simulator."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app import resources
from app.background.jobs import Jobs
from app.cache.prefix_tree import prefix_tree
from app.cache.simulations import Simulations
from app.doors.person import TAB_ID
from app.store import RunOutcome, RunStatus, RunStore
from engine import EvictedSequence, KeptSequence
from engine.types import CacheReport, Message, MissCause
from tests.support.fakes import FakeEngine, make_metrics, make_request
from tests.support.ui import add_run, open_app

PAGE = "pages/cache.py"
SYSTEM, ASKED = Message("system", "Be brief."), Message("user", "Name a colour.")


def kept(*messages: Message, salt: str = "", **other: Any) -> KeptSequence:
    plain = KeptSequence(
        weights_sha256="w",
        precision="int4",
        salt=salt,
        tokens=40,
        nbytes=2**20,
        created=1.0,
        used=2.0,
        hits=1,
        reused_tokens=30,
        saved_s=0.25,
        messages=messages,
    )
    return replace(plain, **other)


def words(app: AppTest) -> str:
    return " ".join(str(e.value) for kind in ("caption", "info", "error", "markdown") for e in app.get(kind))


def figures(app: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in app.metric}


def test_an_empty_cache_shows_the_way(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    app = open_app(monkeypatch, store, PAGE)
    assert "Nothing is kept yet" in words(app)
    assert figures(app)["Sequences"] == "0"


def test_ones_own_sequences_are_shown_with_their_texts_and_those_of_others_only_counted(
    monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    engine = FakeEngine()
    app = open_app(monkeypatch, store, PAGE, engine=engine)
    mine = app.session_state[TAB_ID]
    engine.kept = (
        kept(SYSTEM, ASKED, Message("assistant", "Blue."), salt=mine),
        kept(Message("user", "A secret."), salt="stranger"),
    )
    engine.evicted = (
        EvictedSequence(salt=mine, tokens=7, reason="budget", when=3.0, messages=(ASKED,)),
        EvictedSequence(salt="stranger", tokens=8, reason="budget", when=3.0, messages=(Message("user", "Hidden"),)),
    )
    app.run()
    sequences, evicted = (frame.value for frame in app.dataframe)
    assert list(sequences["sequence"]) == ["Name a colour. … Blue."]
    assert list(evicted["tokens"]) == [7]
    assert "1 sequence of others" in words(app)
    assert (figures(app)["Tokens reused"], figures(app)["Prefill saved"]) == ("60", "500 ms")
    assert "secret" not in str(app.main)


def test_a_system_prompt_is_shown_as_what_it_is_and_a_shared_one_to_every_session(
    monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    engine = FakeEngine()
    app = open_app(monkeypatch, store, PAGE, engine=engine)
    mine = app.session_state[TAB_ID]
    engine.kept = (
        kept(Message("system", "Rules of the house."), salt="shared:house", is_system=True),
        kept(Message("system", "A secret."), salt="stranger", is_system=True),
        kept(SYSTEM, salt=mine, is_system=True),
        kept(SYSTEM, ASKED, salt=mine),
    )
    app.run()
    (sequences,) = (frame.value for frame in app.dataframe)
    assert list(sequences["kind"]) == ["Conversation", "System prompt", "Shared: house"]
    assert list(sequences["sequence"]) == ["Be brief. … Name a colour.", "Be brief.", ""]
    assert "1 sequence of others" in words(app)
    assert "secret" not in str(app.main)


def test_the_slider_says_what_it_would_keep_and_nothing_leaves_before_it_is_applied(
    monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    engine = FakeEngine()
    engine.kept = (kept(ASKED, nbytes=600 * 2**20), kept(SYSTEM, nbytes=10 * 2**20))
    app = open_app(monkeypatch, store, PAGE, engine=engine)
    before = engine.kv_cache_bytes
    app.slider(key="cache-budget").set_value(64).run()
    assert "Would keep 1 of 2 sequences" in words(app)
    assert engine.kv_cache_bytes == before
    app.button(key="cache-apply").click().run()
    assert engine.kv_cache_bytes == 64 * 2**20


def test_a_miss_is_explained_with_what_it_cost(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    report = CacheReport(
        cause=MissCause.TURN,
        nearest_tokens=50,
        parted_at=50,
        kept_text="Name a colour",
        came_text="Name a fruit",
        detail="The question of turn 2 differs: edited, or answered anew.",
        lost_tokens=25,
    )
    run_id = store.create_run(make_request(), person_id="s", environment={})
    metrics = replace(make_metrics(prompt_tokens=100), cached_tokens=50, prefill_s=0.5)
    store.finish_run(run_id, RunOutcome(status=RunStatus.FINISHED, text="x", metrics=metrics, cache=report))
    assert store.get(run_id).cache == report
    app = open_app(monkeypatch, store, PAGE)
    app.segmented_control(key="cache-section").set_value("Reuse and misses").run()
    assert not app.exception
    assert "turn 2 differs" in words(app)
    assert "token 51" in words(app)
    assert "Name a fruit" in app.code[0].value
    assert figures(app)["Cost of the miss"] == "250 ms"
    assert "under Runs" not in words(app)
    for _ in range(49):
        add_run(store)
    assert "among the newest 50" not in words(app.run())
    for _ in range(2):
        run_id = store.create_run(make_request(), person_id="s", environment={})
        store.finish_run(run_id, RunOutcome(status=RunStatus.FINISHED, text="x", metrics=metrics, cache=report))
    assert "among the newest 50 of 52 runs" in words(app.run())


def test_without_runs_that_asked_the_cache_the_page_says_so(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    app = open_app(monkeypatch, store, PAGE)
    app.segmented_control(key="cache-section").set_value("Reuse and misses").run()
    assert "asked the prefix cache" in words(app)


def test_a_log_is_simulated_in_the_background(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    jobs = Jobs()
    simulations = Simulations(jobs)
    monkeypatch.setattr(resources, "get_jobs", lambda: jobs)
    monkeypatch.setattr(resources, "get_simulations", lambda: simulations)
    app = open_app(monkeypatch, store, PAGE)
    app.segmented_control(key="cache-section").set_value("Simulator").run()
    app.button(key="cache-simulate").click().run()
    assert "paste a log" in words(app)
    log = json.dumps({"history": [{"user": "Hi", "bot": "Hello."}, {"user": "Bye", "bot": "Goodbye."}]})
    app.text_area(key="cache-log").set_value(log)
    app.button(key="cache-simulate").click().run()
    for thread in list(jobs._threads.values()):
        thread.join(60)
    app.run()
    assert not app.exception
    assert "of prompt tokens reused" in words(app)
    app.text_area(key="cache-log").set_value("no log")
    app.button(key="cache-simulate").click().run()
    for thread in list(jobs._threads.values()):
        thread.join(60)
    app.run()
    assert "Line 1: not JSON" in words(app)
    # a file as another tool writes it, and one that is no text
    uploader = app.get("file_uploader")[0]
    uploader.set_value(("log.jsonl", b"\xef\xbb\xbf" + log.encode() + b"\r\n", "application/jsonl"))
    app.button(key="cache-simulate").click().run()
    for thread in list(jobs._threads.values()):
        thread.join(60)
    app.run()
    assert "of prompt tokens reused" in words(app)
    app.get("file_uploader")[0].set_value(("latin.txt", b"caf\xe9", "text/plain"))
    app.button(key="cache-simulate").click().run()
    assert "latin.txt is not text in UTF-8" in words(app)


def test_a_tree_joins_what_begins_alike_and_parents_come_first() -> None:
    answers = [Message("assistant", text) for text in ("Red.", "Blue.")]
    nodes = prefix_tree([kept(SYSTEM, ASKED, answer) for answer in answers])
    assert [(node.text, node.sequences) for node in nodes] == [
        ("Be brief.", 2),
        ("Name a colour.", 2),
        ("Red.", 1),
        ("Blue.", 1),
    ]
    seen = {""}
    for node in nodes:
        assert node.parent in seen
        seen.add(node.id)
    assert len(prefix_tree([kept(ASKED), kept(ASKED, precision="int8")])) == 2


def test_a_stale_cache_that_was_caught_is_shown(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    add_run(store)
    engine = FakeEngine()
    engine.verified, engine.mismatches = 7, 0
    assert "Reused prefixes of 7 runs verified" in words(open_app(monkeypatch, store, PAGE, engine=engine))
    engine.mismatches = 2
    assert "2 runs of 7 verified" in words(open_app(monkeypatch, store, PAGE, engine=engine))
    shown = words(open_app(monkeypatch, store, "pages/operations.py", engine=engine))
    assert "Since the server started, reused KV gave other logits in 2 runs" in shown
