"""The gears of a lane as they reach the engine; caching."""

from __future__ import annotations

from typing import Any

from engine.types import Backend, CacheMode, Precision
from tests.support.fakes import FakeEngine
from tests.support.playground import LANE_B, run, words


def test_lane_settings_reach_the_engine(playground: Any) -> None:
    scripted = FakeEngine()
    page = playground(scripted)

    key = LANE_B.key
    page.selectbox(key=key("model")).select("qwen2.5-coder-0.5b")
    page.segmented_control(key=key("precision")).set_value(Precision.NF4)
    page.number_input(key=key("temperature")).set_value(0.7)
    page.number_input(key=key("seed")).set_value(11)
    page.number_input(key=key("max-tokens")).set_value(4)
    run(page)
    plain, changed = (request.config for request in scripted.requests)
    assert (changed.model, changed.precision) == ("qwen2.5-coder-0.5b", Precision.NF4)
    assert (changed.sampling.temperature, changed.sampling.seed, changed.sampling.max_tokens) == (0.7, 11, 4)
    assert (plain.model, plain.precision, plain.sampling.temperature) == ("smollm2-135m", Precision.BF16, 0.0)


def test_reference_backend_switches_the_gears_off(playground: Any) -> None:
    scripted = FakeEngine()
    page = playground(scripted)
    page.segmented_control(key=LANE_B.key("backend")).set_value(Backend.REFERENCE).run()
    assert page.toggle(key=LANE_B.key("no-quantization")).disabled
    run(page)
    assert scripted.requests[1].config.optimization.quantization is None


def test_the_kv_caching_gear_starts_cold_unless_asked_for_warm(playground: Any) -> None:
    scripted = FakeEngine()
    page = playground(scripted)
    page.toggle(key=LANE_B.key("kv-cache")).set_value(True).run()
    run(page)
    plain, kept = scripted.requests
    assert plain.config.optimization.cache_mode is CacheMode.KV
    assert (kept.config.optimization.cache_mode, kept.cold) == (CacheMode.PREFIX, True)
    assert kept.cache_salt
    page.toggle(key=LANE_B.key("warm")).set_value(True).run()
    run(page)
    assert not scripted.requests[3].cold
    assert scripted.requests[3].cache_salt == kept.cache_salt
    page.segmented_control(key=LANE_B.key("cache-mode")).set_value(CacheMode.OFF).run()
    run(page)
    assert scripted.requests[5].config.optimization.cache_mode is CacheMode.OFF


def test_a_zero_in_reused_tokens_says_why_and_one_click_starts_the_next_run_warm(playground: Any) -> None:
    scripted = FakeEngine()
    page = run(playground(scripted))
    assert words(page).count("0 reused: this run started cold.") == 1  # the plain lane is meant to reuse nothing
    (button,) = [button for button in page.button if button.label == "Start warm"]
    button.click().run()
    assert not page.exception
    assert page.toggle(key=LANE_B.key("warm")).value
    assert "this run started cold. The next one starts warm." in words(page)
    assert not [button for button in page.button if button.label == "Start warm"]
    run(page)
    plain, warm = scripted.requests[2:]
    assert (plain.cold, warm.cold, warm.config.optimization.cache_mode) == (True, False, CacheMode.PREFIX)
    assert "nothing that was kept begins like this prompt" in words(page)
