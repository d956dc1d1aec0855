"""What a chat's turns took, beside what other settings would have."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from app import resources
from app.background.jobs import Jobs
from app.store import RunStore
from engine.types import CacheMode, RunConfig
from tests.support.chat_page import COLD, Open, ask, charted, click, only, words
from tests.support.fakes import FakeEngine, make_metrics
from tests.support.ui import add_run


def test_a_turn_says_what_reuse_saved_derived_and_then_measured(chat: Open, store: RunStore) -> None:
    def answered(**figures: float) -> str:
        metrics = replace(make_metrics(ttft_s=0.4, completion_tokens=2), **figures)  # type: ignore[arg-type]
        return add_run(store, words=("So", "."), metrics=metrics, cache=COLD if not figures["cached_tokens"] else None)

    read = {"prompt_tokens": 200, "cached_tokens": 0, "prefill_s": 0.2}
    reused = {"prompt_tokens": 340, "cached_tokens": 310, "prefill_s": 0.02, "ttft_s": 0.03, "e2e_s": 0.04}
    conversation_id = store.chat.create("Tea", RunConfig(model="smollm2-135m").to_dict(), "")
    before: str | None = None
    for said, run_id in (("One", answered(**read)), ("Two", answered(**reused))):
        asked = store.chat.append(conversation_id, before, "user", said)
        before = store.chat.append(conversation_id, asked, "assistant", "So.", run_id=run_id)
    page = chat(FakeEngine())
    page.query_params["chat"] = conversation_id
    page.run()
    assert not page.error
    assert "310 tokens reused, saved about 310 ms · 30 tokens computed" in words(page)
    assert words(page).count("saved about") == 1
    cold = {**reused, "cached_tokens": 0, "prefill_s": 0.3, "ttft_s": 0.325, "e2e_s": 0.335}
    other = store.chat.append(conversation_id, asked, "assistant", "So.", run_id=answered(**cold))
    page.run()
    assert "310 tokens reused, saved about 310 ms, measured 295 ms" in words(page)
    store.chat.set_leaf(conversation_id, other)
    page.session_state["chat-views"] = {}
    page.run()
    assert "0 tokens reused, reuse saved about 310 ms, measured 295 ms in the other answer" in words(page)


def test_ttft_by_turn_grows_with_the_chat_and_follows_the_branch(chat: Open, store: RunStore) -> None:
    scripted = FakeEngine(["So"], delay_s=0.01)
    page = ask(chat(scripted), "One")
    assert page.get("plotly_chart") == []
    ask(page, "Two")
    scripted.delay_s = 0.02
    ask(page, "Three")
    assert charted(page) == {"this chat, prefix": [10.0, 10.0, 20.0]}
    click(page, f"chat-branch-{only(store).messages[3].id}")
    assert charted(page) == {"this chat, prefix": [10.0, 10.0]}
    store.delete([only(store).messages[1].run_id or ""])
    page.run()
    assert charted(page) == {"this chat, prefix": [None, 10.0]}


def test_the_other_settings_are_measured_once_and_drawn_beside_the_chat(
    chat: Open, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = Jobs()
    monkeypatch.setattr(resources, "get_jobs", lambda: jobs)
    scripted = FakeEngine(["So"])
    page = ask(ask(chat(scripted), "One"), "Two")
    click(page, "chat-measure")
    key = f"chat ttft {only(store).id}"
    deadline = time.monotonic() + 10
    while (job := jobs.state(key)) and job.running:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert job
    assert (job.status, job.error) == ("done", None)
    page.run()
    own = [10.0, 10.0]
    assert charted(page) == {"this chat, prefix": own, "kv, replayed": own, "off, replayed": own}
    assert "chat-measure" not in {button.key for button in page.button}
    assert store.page().total == 2
    # kept with the conversation; a new turn is the only one left to measure
    click(page, "chat-new")
    click(page, f"chat-open-{only(store).id}")
    ask(page, "Three")
    assert charted(page)["kv, replayed"] == [10.0, 10.0, None]
    asked = len(scripted.requests)
    click(page, "chat-measure")
    jobs.close()
    assert [r.config.optimization.cache_mode for r in scripted.requests[asked:]] == [CacheMode.KV, CacheMode.OFF]


def test_a_measurement_shows_its_progress_and_can_be_cancelled(
    chat: Open, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = Jobs()
    monkeypatch.setattr(resources, "get_jobs", lambda: jobs)
    scripted = FakeEngine(["So", "."])
    page = ask(ask(chat(scripted), "One"), "Two")
    scripted.queued = range(10**9)  # waits for its turn, on and on
    click(page, "chat-measure")
    assert page.button(key="chat-measure").disabled
    click(page, f"cancel-chat ttft {only(store).id}")
    jobs.close()
    page.run()
    assert "Cancelled. What was done so far is kept" in words(page)
    assert not page.button(key="chat-measure").disabled
