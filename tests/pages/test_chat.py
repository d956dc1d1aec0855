"""The chat, opened through the entry, on a scripted engine and a real store."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from streamlit.testing.v1 import AppTest

import engine
from app import resources
from app.jobs import Jobs
from app.session import chat as chat_session
from app.settings import Settings
from app.store import Conversation, RunStatus, RunStore, StoreError
from engine.errors import ModelNotInstalledError
from engine.types import (
    CacheMode,
    CacheReport,
    Drafter,
    KVDtype,
    MissCause,
    OptimizationConfig,
    Precision,
    RunConfig,
    SamplingParams,
    SpeculationConfig,
)
from tests.support.cascading import SMALL, CascadingEngine
from tests.support.drafting import SpeculatingEngine, make_report
from tests.support.fakes import FakeEngine, make_metrics
from tests.support.ui import add_run, open_app, texts

Open = Callable[..., AppTest]
COLD = CacheReport(
    cause=MissCause.COLD, nearest_tokens=0, parted_at=None, kept_text="", came_text="", detail="", lost_tokens=0
)
TITLES = {"smollm2-135m": "SmolLM2 135M", "qwen2.5-coder-0.5b": "Qwen2.5 Coder 0.5B"}


@pytest.fixture
def chat(tmp_path: Path, store: RunStore, monkeypatch: pytest.MonkeyPatch) -> Open:
    """Open the page on an engine."""

    def open_page(
        scripted: FakeEngine, installed: Collection[str] = tuple(TITLES), problem: str | None = None
    ) -> AppTest:
        settings = Settings(data_dir=tmp_path, database_url="", models_dir=tmp_path / "models")
        models = [
            SimpleNamespace(name=name, title=title, in_catalog=True, installed=name in installed, problem=problem)
            for name, title in TITLES.items()
        ]
        monkeypatch.setattr(resources, "get_settings", lambda: settings)
        monkeypatch.setattr(engine, "list_models", lambda _: models)
        return open_app(monkeypatch, store, "pages/chat.py", engine=scripted)

    return open_page


def ask(page: AppTest, text: str) -> AppTest:
    page.chat_input(key=chat_session.INPUT).set_value(text).run()
    assert not page.exception
    return page


def click(page: AppTest, key: str) -> AppTest:
    page.button(key=key).click().run()
    assert not page.exception
    return page


def shown(page: AppTest) -> list[str]:
    return [text.value for text in page.text]


def words(page: AppTest) -> str:
    titles = [alert.proto.title for alert in [*page.warning, *page.info, *page.error]]
    return "\n".join([*titles, texts(page, "info", "warning", "error", "caption", "title")])


def only(store: RunStore) -> Conversation:
    (summary,) = store.chat.conversations()
    return store.chat.get(summary.id)


def test_an_empty_page_says_what_it_does_and_keeps_nothing(chat: Open, store: RunStore) -> None:
    page = chat(FakeEngine())
    assert "Say something below" in words(page)
    assert not page.chat_input(key=chat_session.INPUT).disabled
    assert store.chat.conversations() == ()


def test_turns_are_answered_with_the_history_and_its_tokens(chat: Open, store: RunStore) -> None:
    scripted = FakeEngine(["Blue", " light"], delay_s=0.01)
    page = ask(ask(chat(scripted), "Why is the sky blue?"), "And at dusk?")
    assert shown(page) == ["Why is the sky blue?", "Blue light", "And at dusk?", "Blue light"]
    assert page.title[0].value == "Why is the sky blue?"
    first, second = scripted.requests
    assert [(m.role, m.content, m.token_ids) for m in second.messages] == [
        ("user", "Why is the sky blue?", ()),
        ("assistant", "Blue light", (100, 101)),
        ("user", "And at dusk?", ()),
    ]
    assert first.cache_salt == second.cache_salt != ""
    assert {run.person_id for run in store.page().rows} == {first.cache_salt}
    assert first.config.optimization.cache_mode is CacheMode.PREFIX
    # figures, and a link to each run
    assert words(page).count("TTFT 10.0 ms · 0 tokens reused · ") == 2
    assert "10 tokens computed" in words(page)
    assert words(page).count("smollm2-135m · int4 · prefix cache") == 1
    queries = [link.proto.query_string for link in page.get("page_link")]
    assert queries == [f"run={run.id}" for run in reversed(store.page().rows)]


def test_an_edit_branches_and_both_branches_can_be_shown(chat: Open, store: RunStore) -> None:
    page = ask(ask(chat(FakeEngine(["So"])), "One"), "Two")
    one = only(store).messages[0]
    click(page, f"chat-edit-{one.id}")
    page.text_area(key=f"chat-wording-{one.id}").set_value("Uno")
    click(page, "chat-save-edit")
    assert shown(page) == ["Uno", "So"]
    assert "2 of 2" in words(page)
    uno = only(store).path()[0]
    click(page, f"chat-previous-{uno.id}")
    assert shown(page) == ["One", "So", "Two", "So"]
    assert "1 of 2" in words(page)
    assert len(only(store).messages) == 6


def test_an_edit_can_be_given_up(chat: Open, store: RunStore) -> None:
    page = ask(chat(FakeEngine(["So"])), "One")
    click(page, f"chat-edit-{only(store).messages[0].id}")
    click(page, "chat-cancel-edit")
    assert shown(page) == ["One", "So"]
    assert len(only(store).messages) == 2


def test_the_last_turn_is_answered_again(chat: Open, store: RunStore) -> None:
    scripted = FakeEngine(["So"])
    page = ask(chat(scripted), "One")
    scripted.tokens = ("Thus",)
    click(page, f"chat-again-{only(store).leaf_id}")
    assert shown(page) == ["One", "Thus"]
    click(page, f"chat-previous-{only(store).leaf_id}")
    assert shown(page) == ["One", "So"]
    assert [request.config.sampling.seed for request in scripted.requests] == [0, 1]


def test_a_chat_branches_at_an_earlier_answer_and_comes_back(chat: Open, store: RunStore) -> None:
    page = ask(ask(chat(FakeEngine(["So"])), "One"), "Two")
    click(page, f"chat-branch-{only(store).messages[1].id}")
    assert shown(page) == ["One", "So"]
    click(page, "chat-forward")
    assert shown(page) == ["One", "So", "Two", "So"]
    click(page, f"chat-branch-{only(store).messages[1].id}")
    ask(page, "Other")
    assert shown(page) == ["One", "So", "Other", "So"]


def test_settings_belong_to_the_conversation(chat: Open, store: RunStore) -> None:
    scripted = FakeEngine(["So"])
    page = chat(scripted)
    page.segmented_control(key="chat-new-cache-mode").set_value(CacheMode.OFF)
    page.toggle(key="chat-new-quantization").set_value(False)
    page.text_area(key="chat-new-system").set_value("Be brief.").run()
    ask(page, "One")
    chat_id = only(store).id
    page.segmented_control(key=f"chat-{chat_id}-cache-mode").set_value(CacheMode.KV)
    page.selectbox(key=f"chat-{chat_id}-model").select("qwen2.5-coder-0.5b").run()
    ask(page, "Two")
    first, second = scripted.requests
    assert (first.config.optimization.cache_mode, first.config.precision) == (CacheMode.OFF, Precision.BF16)
    assert (first.messages[0].role, first.messages[0].content) == ("system", "Be brief.")
    assert (second.config.optimization.cache_mode, second.config.model) == (CacheMode.KV, "qwen2.5-coder-0.5b")
    assert only(store).config["model"] == "qwen2.5-coder-0.5b"
    click(page, "chat-new")
    assert page.segmented_control(key="chat-new-cache-mode").value is CacheMode.OFF
    click(page, f"chat-open-{chat_id}")
    assert page.selectbox(key=f"chat-{chat_id}-model").value == "qwen2.5-coder-0.5b"


def test_a_cascade_is_set_kept_and_told_of(chat: Open, store: RunStore) -> None:
    scripted = CascadingEngine()
    page = chat(scripted)
    page.selectbox(key="chat-new-model").select("qwen2.5-coder-0.5b").run()
    page.toggle(key="chat-new-cascade").set_value(True).run()
    page.slider(key="chat-new-cascade-first-threshold").set_value(0.6)
    page.toggle(key="chat-new-cascade-keep-tier").set_value(True).run()
    ask(ask(page, "One"), "Two")
    first, second = scripted.requests
    gear = second.config.optimization.cascade
    assert gear is not None
    assert (gear.smaller, gear.thresholds, gear.keep_tier) == ((SMALL,), (0.6,), True)
    assert (first.last_tier, second.last_tier) == (None, "qwen2.5-coder-0.5b int4")
    captions = texts(page, "caption")
    assert "smollm2-135m int4 → qwen2.5-coder-0.5b int4, escalate at 0.60, keeps its tier" in captions
    assert "answered by qwen2.5-coder-0.5b int4 · 3 tokens thrown away" in captions
    # one model's replay would say nothing of a cascade's turns
    assert list(charted(page)) == ["this chat"]
    assert "chat-measure" not in {button.key for button in page.button}
    chat_id = only(store).id
    page.slider(key=f"chat-{chat_id}-cascade-first-threshold").set_value(0.7).run()
    kept = RunConfig.from_dict(only(store).config).optimization.cascade
    assert kept == replace(gear, thresholds=(0.7,))


def test_speculation_is_set_kept_and_told_of(chat: Open, store: RunStore) -> None:
    scripted = SpeculatingEngine(report=make_report(plain_steps=40))
    page = chat(scripted)
    page.toggle(key="chat-new-speculation").set_value(True).run()
    page.selectbox(key="chat-new-drafter").set_value("ngram")
    page.number_input(key="chat-new-gamma").set_value(3).run()
    ask(page, "One")
    gear = SpeculationConfig(drafter=Drafter.NGRAM, gamma=3)
    assert scripted.requests[0].config.optimization == OptimizationConfig.at(
        Precision.INT4, CacheMode.PREFIX, speculation=gear
    )
    assert RunConfig.from_dict(only(store).config) == scripted.requests[0].config
    said = words(page)
    assert "smollm2-135m · int4 · prefix cache · drafts: n-grams, γ 3" in said
    assert "50 % of 4 drafted tokens accepted" in said
    assert "Speculation paused itself: 40 of 42 steps were plain." in said
    # another tab that opens the conversation has it too; turned off, it is asked for no more
    other = chat(scripted)
    click(other, f"chat-open-{only(store).id}")
    assert other.selectbox(key=f"chat-{only(store).id}-drafter").value == "ngram"
    assert other.number_input(key=f"chat-{only(store).id}-gamma").value == 3
    other.toggle(key=f"chat-{only(store).id}-speculation").set_value(False).run()
    ask(other, "Two")
    assert scripted.requests[1].config.optimization == OptimizationConfig.at(Precision.INT4, CacheMode.PREFIX)
    assert words(other).count("drafted tokens accepted") == 1


def test_a_drafter_that_does_not_fit_is_refused_and_the_way_out_stays(chat: Open, store: RunStore) -> None:
    scripted = SpeculatingEngine()
    page = chat(scripted)
    page.toggle(key="chat-new-speculation").set_value(True).run()
    page.selectbox(key="chat-new-drafter").set_value("self int4").run()
    assert not page.exception
    assert "The model is in int4 already" in words(page)
    page.selectbox(key="chat-new-drafter").set_value("auto").run()
    assert "drafts: auto" in words(page)
    assert not page.error


def test_only_what_makes_sense_in_a_chat_is_offered(chat: Open) -> None:
    page = chat(FakeEngine())
    offered = {element.key for element in [*page.toggle, *page.segmented_control, *page.number_input]}
    assert {"chat-new-quantization", "chat-new-kv-cache", "chat-new-speculation", "chat-new-cascade"} <= offered
    assert offered.isdisjoint({"chat-new-backend", "chat-new-warm", "chat-new-seed"})


def test_what_has_no_widget_stays_in_the_configuration(chat: Open, store: RunStore) -> None:
    """Of a conversation that was begun with more than the page can set."""
    whole = RunConfig(
        model="smollm2-135m",
        optimization=OptimizationConfig.at(Precision.INT4, CacheMode.PREFIX, KVDtype.INT8, 256),
        sampling=SamplingParams(top_p=0.9, top_k=40, repetition_penalty=1.1, stop=("END",), max_tokens=32),
    )
    conversation_id = store.chat.create("Tea", whole.to_dict(), "")
    page = chat(FakeEngine())
    page.query_params["chat"] = conversation_id
    page.run()
    assert RunConfig.from_dict(only(store).config) == whole
    page.segmented_control(key=f"chat-{conversation_id}-cache-mode").set_value(CacheMode.OFF).run()
    assert not page.exception
    changed = RunConfig.from_dict(only(store).config)
    assert changed.optimization == OptimizationConfig.at(Precision.INT4, CacheMode.OFF)
    assert changed.sampling == whole.sampling


def test_an_answer_in_circles_raises_the_alarm(chat: Open, store: RunStore) -> None:
    metrics = replace(make_metrics(completion_tokens=64), repetition=0.9)
    run_id = add_run(store, metrics=metrics)
    conversation_id = store.chat.create("Tea", RunConfig(model="smollm2-135m").to_dict(), "")
    asked = store.chat.append(conversation_id, None, "user", "Tell me about tea.")
    store.chat.append(conversation_id, asked, "assistant", "Tea is tea is tea.", run_id=run_id)
    page = chat(FakeEngine())
    page.query_params["chat"] = conversation_id
    page.run()
    assert "90 % of this answer" in words(page)


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


def test_8_bit_kv_and_a_window_are_set_where_there_is_a_cache(chat: Open, store: RunStore) -> None:
    scripted = FakeEngine(["So"])
    page = chat(scripted)
    page.toggle(key="chat-new-kv-int8").set_value(True)
    page.number_input(key="chat-new-kv-window").set_value(128).run()
    ask(page, "One")
    (request,) = scripted.requests
    assert request.config.optimization == OptimizationConfig.at(Precision.INT4, CacheMode.PREFIX, KVDtype.INT8, 128)
    assert "prefix cache · KV int8 · window 128" in words(page)
    page.segmented_control(key=f"chat-{only(store).id}-cache-mode").set_value(CacheMode.OFF).run()
    assert not page.exception
    assert f"chat-{only(store).id}-kv-int8" not in {toggle.key for toggle in page.toggle}
    assert words(page).count("KV int8") == 1  # under the answer, which was asked for otherwise than is set now


def test_an_answer_is_started_cold_with_its_own_seed(chat: Open, store: RunStore) -> None:
    scripted = FakeEngine(["So"])
    page = ask(chat(scripted), "One")
    click(page, f"chat-again-{only(store).leaf_id}")
    click(page, f"chat-cold-{only(store).leaf_id}")
    assert [(r.config.sampling.seed, r.cold) for r in scripted.requests] == [(0, False), (1, False), (1, True)]
    assert "3 of 3" in words(page)
    page.segmented_control(key=f"chat-{only(store).id}-cache-mode").set_value(CacheMode.KV).run()
    click(page, f"chat-again-{only(store).leaf_id}")
    assert f"chat-cold-{only(store).leaf_id}" not in {button.key for button in page.button}


def test_what_a_killed_server_had_written_is_there_when_the_chat_is_opened(chat: Open, store: RunStore) -> None:
    conversation_id = store.chat.create("Tea", RunConfig(model="smollm2-135m").to_dict(), "")
    asked = store.chat.append(conversation_id, None, "user", "Tell me about tea.")
    add_run(store, words=("Tea", " is"), status=RunStatus.INTERRUPTED, group_id=asked)
    page = chat(FakeEngine())
    click(page, f"chat-open-{conversation_id}")
    assert shown(page) == ["Tell me about tea.", "Tea is"]
    assert "Interrupted: the server was stopped" in words(page)
    page.run()
    assert len(only(store).messages) == 2


def charted(page: AppTest) -> dict[str, list[float | None]]:
    """The lines of the TTFT chart."""
    (chart,) = page.get("plotly_chart")
    figure = json.loads(chart.proto.spec)
    assert figure["layout"]["title"]["text"] == "TTFT by turn, measured"
    return {line["name"]: line["y"] for line in figure["data"]}


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


def test_conversations_are_listed_reopened_renamed_and_deleted(chat: Open, store: RunStore) -> None:
    page = ask(chat(FakeEngine(["So"])), "One")
    click(page, "chat-new")
    assert "Say something below" in words(page)
    ask(page, "Uno")
    new, old = store.chat.conversations()
    click(page, f"chat-open-{old.id}")
    assert shown(page) == ["One", "So"]
    page.text_input(key=f"chat-title-{old.id}").set_value("First").run()
    assert page.title[0].value == "First"
    click(page, "chat-delete")
    click(page, "chat-confirm-delete")
    assert [chat.id for chat in store.chat.conversations()] == [new.id]
    assert store.page().total == 2


def listed(page: AppTest) -> list[str]:
    return [button.label for button in page.sidebar.button if button.key != "chat-new"]


def test_three_hundred_conversations_are_paged_and_searched(chat: Open, store: RunStore) -> None:
    config = RunConfig(model="smollm2-135m").to_dict()
    made = [store.chat.create(f"Chat {number}", config) for number in range(300)]
    store.chat.append(made[7], None, "user", "Tell me of Zürich.")
    page = chat(FakeEngine())
    assert listed(page) == ["Chat 7", *(f"Chat {number}" for number in range(299, 275, -1))]
    assert "1 to 25 of 300 conversations" in words(page)
    page.session_state["chat-page-"] = 12
    page.run()
    assert listed(page) == [f"Chat {number}" for number in range(25, -1, -1) if number != 7]
    assert "276 to 300 of 300 conversations" in words(page)
    click(page, f"chat-open-{made[0]}")
    assert page.title[0].value == "Chat 0"
    page.text_input(key="chat-search").set_value("zurich").run()
    assert listed(page) == ["Chat 7"]
    assert "1 conversation that holds this" in words(page)
    page.text_input(key="chat-search").set_value("%").run()
    assert listed(page) == []
    assert "No conversation holds this." in words(page)
    page.text_input(key="chat-search").set_value("chat 29").run()
    assert "11 conversations that hold this" in words(page)
    page.text_input(key="chat-search").set_value("").run()
    assert "1 to 25 of 300 conversations" in words(page)


def test_a_page_of_conversations_that_is_no_longer_there_gives_way_to_the_last(chat: Open, store: RunStore) -> None:
    config = RunConfig(model="smollm2-135m").to_dict()
    made = [store.chat.create(f"Chat {number}", config) for number in range(26)]
    page = chat(FakeEngine())
    page.session_state["chat-page-"] = 2
    page.run()
    assert listed(page) == ["Chat 0"]
    store.chat.delete(made[0])
    page.run()
    assert not page.exception
    assert len(listed(page)) == 25
    assert "25 conversations" in words(page)


def test_a_conversation_deleted_elsewhere_is_told_of(chat: Open, store: RunStore) -> None:
    page = ask(chat(FakeEngine(["So"])), "One")
    store.chat.delete(only(store).id)
    page.run()
    assert not page.exception
    assert "no longer there" in words(page)
    assert page.title[0].value == "Chat"


def test_a_chat_survives_leaving_the_page(chat: Open) -> None:
    page = ask(chat(FakeEngine(["So"])), "One")
    page.switch_page("pages/runs.py").run()
    page.switch_page("pages/chat.py").run()
    assert not page.exception
    assert shown(page) == ["One", "So"]


def test_a_failed_turn_says_why_and_can_be_tried_again(chat: Open, store: RunStore) -> None:
    scripted = FakeEngine(["So"], failure=ModelNotInstalledError("Install it first."))
    page = ask(chat(scripted), "One")
    assert "Install it first." in words(page)
    assert shown(page) == ["One"]
    scripted.failure = None
    click(page, "chat-answer")
    assert shown(page) == ["One", "So"]
    assert "Install it first." not in words(page)


def test_a_turn_left_without_an_answer_is_offered_one(chat: Open, store: RunStore) -> None:
    page = ask(chat(FakeEngine(["So"])), "One")
    chat_id = only(store).id
    store.chat.append(chat_id, only(store).leaf_id, "user", "Two")
    page.run()
    click(page, "chat-other-tab")
    assert "This turn has no answer yet." in words(page)
    click(page, "chat-answer")
    assert shown(page) == ["One", "So", "Two", "So"]


def test_blank_words_are_refused(chat: Open, store: RunStore) -> None:
    scripted = FakeEngine(["So"])
    page = ask(chat(scripted), "  ")
    assert "type something" in words(page)
    assert (scripted.requests, store.chat.conversations()) == ([], ())


def test_an_answer_that_cannot_be_asked_for_is_told_of(
    chat: Open, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise StoreError("The run database is locked.")

    page = chat(FakeEngine())
    monkeypatch.setattr(store, "create_run", refuse)
    ask(page, "One")
    assert "The run database is locked." in words(page)


def test_an_answer_outlives_its_run(chat: Open, store: RunStore) -> None:
    page = ask(chat(FakeEngine(["So"])), "One")
    (run,) = store.page().rows
    assert run.status is RunStatus.FINISHED
    store.delete([run.id])
    page.run()
    assert shown(page) == ["One", "So"]
    assert "the run that wrote this was deleted" in words(page)


def test_a_missing_model_is_explained_with_a_way_out(chat: Open) -> None:
    page = chat(FakeEngine(), installed=())
    assert "Not installed yet: SmolLM2 135M" in words(page)
    assert page.chat_input(key=chat_session.INPUT).disabled
    assert [link.proto.page for link in page.get("page_link")] == ["model-library"]
    page = chat(FakeEngine(), installed=("smollm2-135m",))
    assert "Not installed yet" not in words(page)
    assert not page.chat_input(key=chat_session.INPUT).disabled


def test_a_model_that_is_here_and_cannot_be_run_says_why(chat: Open) -> None:
    page = chat(FakeEngine(), installed=(), problem="It has no tokenizer.json.")
    assert "It has no tokenizer.json." in words(page)
    assert "Not installed yet" not in words(page)
    assert page.chat_input(key=chat_session.INPUT).disabled


def test_an_answer_that_fails_a_second_time_hides_none_that_is_there(chat: Open, store: RunStore) -> None:
    scripted = FakeEngine(["So"])
    page = ask(chat(scripted), "One")
    scripted.failure = ModelNotInstalledError("Install it first.")
    click(page, f"chat-again-{only(store).leaf_id}")
    assert "Install it first." in words(page)
    click(page, "chat-forward")
    assert shown(page) == ["One", "So"]
