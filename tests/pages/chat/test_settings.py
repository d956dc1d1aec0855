"""A conversation's gears and settings: set, kept, told of."""

from __future__ import annotations

from dataclasses import replace

from app.store import RunStore
from engine.types import (
    CacheMode,
    Drafter,
    KVDtype,
    OptimizationConfig,
    Precision,
    RunConfig,
    SamplingParams,
    SpeculationConfig,
)
from tests.support.cascading import SMALL, CascadingEngine
from tests.support.chat_page import Open, ask, charted, click, only, words
from tests.support.drafting import SpeculatingEngine, make_report
from tests.support.fakes import FakeEngine
from tests.support.ui import texts


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
