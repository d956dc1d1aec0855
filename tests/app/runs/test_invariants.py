"""What figures cannot say: whatever the engine measures says nothing of the kind, and whatever does is found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.runs.invariants import (
    SPEEDUP_SLACK,
    Measured,
    bandwidth_note,
    pair_fault,
    run_faults,
    share_faults,
    speedup_fault,
    totals_faults,
)
from app.runs.race import LaneRun
from app.runs.service import stream
from app.store import Latency, Percentiles, Reports, RunStatus, RunStore, Timeline, Totals
from engine import Engine
from engine.types import (
    NEVER,
    Backend,
    CacheMode,
    CascadeConfig,
    Drafter,
    GenerationRequest,
    KVDtype,
    Message,
    OptimizationConfig,
    Precision,
    PrefillDone,
    RouterKind,
    RunConfig,
    RunMetrics,
    SamplingParams,
    SpeculationConfig,
    Tier,
    TokenEvent,
)
from tests.support.cascading import make_cascade_report
from tests.support.drafting import make_report
from tests.support.fakes import make_metrics
from tests.support.tiny import make_tiny_checkpoint

WORDS = "the quick brown fox jumps over the lazy dog the quick brown fox"
NGRAM = SpeculationConfig(drafter=Drafter.NGRAM)
SMALL = Tier(model="small", precision=Precision.INT4)
TWIN = Tier(model="twin", precision=Precision.INT8)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Random models with one tokenizer; the largest has a twin, much of whose answers it takes over."""
    folder = tmp_path_factory.mktemp("ladder")
    make_tiny_checkpoint(folder / "small", "qwen3", seed=1, max_position_embeddings=1024)
    for name in ("large", "twin"):
        make_tiny_checkpoint(folder / name, "llama", seed=3, hidden_size=128, max_position_embeddings=1024)
    engine = Engine(folder, verify_cache=0.5)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunStore]:
    store = RunStore.open(f"sqlite:///{tmp_path_factory.mktemp('kept') / 'gearbox.db'}")
    yield store
    store.close()


# --- whatever real runs measure -----------------------------------------------------------------------

DRAFTERS = (
    None,
    SpeculationConfig(),
    NGRAM,
    replace(NGRAM, gamma=4),
    SpeculationConfig.with_self(gamma=2),
    *(SpeculationConfig.with_model("small", gamma=gamma) for gamma in (None, 3)),
)
CASCADES = (
    None,
    *(
        CascadeConfig(smaller=(SMALL,), router=router, thresholds=(threshold,))
        for router, threshold in (
            (RouterKind.ESCALATE, 0.0),
            (RouterKind.ESCALATE, 0.9),
            (RouterKind.ESCALATE, NEVER),
            (RouterKind.ROUTE, 0.5),
            (RouterKind.RANDOM, 0.5),
        )
    ),
    *(CascadeConfig(smaller=(TWIN,), thresholds=(0.0,), after_tokens=after) for after in (None, 3)),
    CascadeConfig(smaller=(SMALL, TWIN), thresholds=(0.0, 0.0)),
)


@st.composite
def configs(draw: st.DrawFn) -> RunConfig:
    sampling = SamplingParams(
        temperature=draw(st.sampled_from([0.0, 0.8])),
        seed=draw(st.integers(0, 3)),
        max_tokens=draw(st.integers(1, 24)),
        stop=draw(st.sampled_from([(), ("e",)])),
    )
    if draw(st.integers(0, 9)) == 0:
        return RunConfig(model="small", backend=Backend.REFERENCE, sampling=sampling)
    gears = OptimizationConfig.at(
        Precision.INT8,
        draw(st.sampled_from([CacheMode.KV, CacheMode.PREFIX])),
        draw(st.sampled_from(list(KVDtype))),
        draw(st.sampled_from([None, 64])),
        draw(st.sampled_from(DRAFTERS)),
        draw(st.sampled_from(CASCADES)),
    )
    return RunConfig(model="large", optimization=gears, sampling=sampling)


def check(store: RunStore, lane: LaneRun) -> None:
    """A run contradicts itself neither as it was followed nor as it was kept."""
    assert lane.run_id is not None
    stored = Measured.of_record(store.get(lane.run_id), store.timeline(lane.run_id) or Timeline())
    for run in (Measured.of_lane(lane), stored):
        if run:
            assert run_faults(run) == ()
            assert run.metrics.accepted_tokens <= run.metrics.drafted_tokens
    assert stored is not None or lane.status is not RunStatus.FINISHED


def answer(engine: Engine, store: RunStore, request: GenerationRequest, events_read: int) -> LaneRun:
    """A run whose reader goes away after so many events."""
    lane = LaneRun(request)
    with closing(stream(engine, store, request, person_id="s")) as events:
        for _, event in zip(range(events_read), events, strict=False):
            lane.take(event)
    return lane


@given(configs(), st.integers(1, 12), st.integers(0, 4), st.sampled_from([3, 9, 20, 10_000]))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_run_of_the_engine_contradicts_itself(
    tiny: Engine, kept: RunStore, config: RunConfig, words: int, salt: int, events_read: int
) -> None:
    prompt = " ".join(WORDS.split()[:words])
    asked = GenerationRequest(messages=(Message("user", prompt),), config=config, cache_salt=str(salt))
    first = answer(tiny, kept, asked, events_read)
    said = Message("assistant", first.text, first.token_ids)
    again = replace(asked, messages=(*asked.messages, said, Message("user", "Go on.")))
    for lane in (first, answer(tiny, kept, again, events_read)):
        check(kept, lane)


@pytest.mark.parametrize("cascade", CASCADES)
@pytest.mark.parametrize("speculation", DRAFTERS)
def test_no_pair_of_gears_makes_a_run_contradict_itself(
    tiny: Engine, kept: RunStore, speculation: SpeculationConfig | None, cascade: CascadeConfig | None
) -> None:
    gears = OptimizationConfig.at(Precision.INT8, CacheMode.PREFIX, speculation=speculation, cascade=cascade)
    config = RunConfig(model="large", optimization=gears, sampling=SamplingParams(max_tokens=24))
    lane = answer(tiny, kept, GenerationRequest(messages=(Message("user", WORDS),), config=config), 10_000)
    assert lane.status is RunStatus.FINISHED
    check(kept, lane)


# --- whatever contradicts itself ----------------------------------------------------------------------


def sound(**metrics: Any) -> Measured:
    """A drafted run of six tokens, after a smaller tier's three."""
    report = make_report(plain_steps=1, verification_s=0.01)
    cascade = make_cascade_report(large="large int8")
    attempts = (replace(cascade.attempts[0], seconds=0.05), replace(cascade.attempts[1], seconds=0.1))
    measured = RunMetrics(
        ttft_s=0.1,
        tpot_s=0.01,
        itl_p50_s=0.01,
        itl_p99_s=0.012,
        e2e_s=0.15,
        queue_s=0.01,
        load_s=0.25,
        prefill_s=0.03,
        prompt_tokens=40,
        cached_tokens=24,
        completion_tokens=6,
        drafted_tokens=4,
        accepted_tokens=2,
        weights_bytes=1,
        kv_bytes=1,
        peak_rss_bytes=1,
        repetition=0.2,
        discarded_tokens=3,
        verification_steps=2,
    )
    sources = ("target", "draft", "draft", "bonus", "target", "target")
    tokens = [
        TokenEvent(100 + n, "x", t, -0.5, 1.0, source)  # type: ignore[arg-type]
        for n, (t, source) in enumerate(zip((0.1, 0.11, 0.11, 0.12, 0.14, 0.15), sources, strict=True))
    ]
    return Measured(
        config=RunConfig(
            model="large",
            optimization=OptimizationConfig.at(Precision.INT8, speculation=NGRAM),
            sampling=SamplingParams(max_tokens=6),
        ),
        metrics=replace(measured, **metrics),
        reports=Reports(speculation=report, cascade=replace(cascade, attempts=attempts)),
        timeline=Timeline.from_events(tokens),
        prefill=PrefillDone(24, 16),
    )


def changed_report(**figures: Any) -> Callable[[Measured], Measured]:
    def change(run: Measured) -> Measured:
        assert run.reports.speculation is not None
        return replace(run, reports=replace(run.reports, speculation=replace(run.reports.speculation, **figures)))

    return change


def changed_cascade(**figures: Any) -> Callable[[Measured], Measured]:
    def change(run: Measured) -> Measured:
        assert run.reports.cascade is not None
        return replace(run, reports=replace(run.reports, cascade=replace(run.reports.cascade, **figures)))

    return change


def changed_attempt(**figures: Any) -> Callable[[Measured], Measured]:
    """In the tier that was thrown away."""

    def change(run: Measured) -> Measured:
        assert run.reports.cascade is not None
        small, large = run.reports.cascade.attempts
        return changed_cascade(attempts=(replace(small, **figures), large))(run)

    return change


def changed_tokens(**columns: Any) -> Callable[[Measured], Measured]:
    return lambda run: replace(run, timeline=replace(run.timeline or Timeline(), **columns))


def measured(**figures: Any) -> Callable[[Measured], Measured]:
    return lambda run: replace(run, metrics=replace(run.metrics, **figures))


def capped(run: Measured) -> Measured:
    return replace(run, config=replace(run.config, sampling=SamplingParams(max_tokens=5)))


PLANTED: dict[str, tuple[Callable[[Measured], Measured], str]] = {
    "a time that is no number": (measured(prefill_s=float("nan")), "prefill_s is nan"),
    "a time below zero": (measured(queue_s=-0.5), "queue_s is -0.5"),
    "prefill after the first token": (measured(prefill_s=0.2), "is less than queueing, smaller tiers and prefill"),
    "queueing after the first token": (measured(queue_s=0.2), "is less than queueing"),
    "a smaller tier after the first token": (changed_attempt(seconds=0.09), "is less than queueing, smaller tiers"),
    "a first token after the last": (measured(ttft_s=0.2), "is more than E2E"),
    "another TPOT": (measured(tpot_s=0.02), "is not (E2E − TTFT) / (tokens − 1)"),
    "percentiles that fall": (measured(itl_p50_s=0.02), "Half of the gaps"),
    "more reused than read": (measured(cached_tokens=41), "41 tokens were reused, of 40"),
    "reused and computed": (lambda run: replace(run, prefill=PrefillDone(24, 17)), "are not the prompt's 40"),
    "more accepted than drafted": (measured(accepted_tokens=5), "5 tokens of 4 drafted"),
    "more accepted than written": (measured(accepted_tokens=6, drafted_tokens=8), "in an answer of 6"),
    "more passes than drafts": (measured(verification_steps=5), "5 passes verified 4 drafted tokens"),
    "more tokens than asked for": (capped, "at most 5 were asked for"),
    "a share above one": (measured(repetition=1.2), "Repetition is 120 %"),
    "a score above one": (changed_attempt(answer_score=1.4), "The score of smollm2-135m int4 is 140 %"),
    "drafts that were not counted": (measured(drafted_tokens=5), "4 drafted and 2 accepted tokens in 2 drafts"),
    "too few passes": (changed_report(plain_steps=0), "2 passes cannot have given 5 tokens"),
    "too many passes": (changed_report(plain_steps=9), "11 passes cannot have given 5 tokens"),
    "parts above their whole": (changed_report(verification_s=2.0), "more than E2E"),
    "tiers above their whole": (changed_attempt(seconds=3.0), "Queueing and the tiers took"),
    "tokens thrown away unseen": (measured(discarded_tokens=4), "4 are counted as thrown away"),
    "more taken over than thrown away": (changed_cascade(salvaged_tokens=4), "4 tokens were taken over of 3"),
    "a token that was not kept": (lambda run: replace(run, timeline=Timeline()), "0 tokens were kept, and 6 counted"),
    "a last token before E2E": (changed_tokens(t_s=(0.1, 0.11, 0.11, 0.12, 0.13, 0.14)), "The last token came at"),
    "a first token after TTFT": (changed_tokens(t_s=(0.105, 0.11, 0.11, 0.12, 0.13, 0.15)), "The first token came at"),
    "times that go back": (changed_tokens(t_s=(0.1, 0.13, 0.11, 0.12, 0.14, 0.15)), "times go back"),
    "sources that were not counted": (changed_tokens(source=("target",) * 6), "0 tokens were drafted, and 2"),
    "a probability above one": (changed_tokens(logprob=(0.1,) * 6), "probability is above 100 %"),
}


def test_figures_that_agree_are_no_fault() -> None:
    assert run_faults(sound()) == ()
    assert run_faults(Measured(config=sound().config, metrics=make_metrics())) == ()


@pytest.mark.parametrize("planted", PLANTED)
def test_a_contradiction_is_told(planted: str) -> None:
    change, told = PLANTED[planted]
    assert told in " ".join(run_faults(change(sound())))


def drafted(tpot_s: float, *, accepted: int, tokens: int = 41, **changed: Any) -> Measured:
    """A run of which nothing was reported but its counts."""
    metrics = replace(
        make_metrics(tpot_s=tpot_s, completion_tokens=tokens),
        drafted_tokens=2 * accepted,
        accepted_tokens=accepted,
        verification_steps=accepted,
    )
    config = RunConfig(model="m", optimization=OptimizationConfig.at(Precision.INT8, speculation=NGRAM))
    return replace(Measured(config=config, metrics=metrics), **changed)


def plain(tpot_s: float, **changed: Any) -> Measured:
    config = RunConfig(model="m", optimization=OptimizationConfig.at(Precision.INT8))
    return replace(Measured(config=config, metrics=make_metrics(tpot_s=tpot_s, completion_tokens=41)), **changed)


def test_a_speed_up_above_tokens_a_pass_is_a_fault_whichever_run_comes_first() -> None:
    # 40 tokens after the first, 20 of them drafted: two a pass
    fast = drafted(0.01, accepted=20)
    assert fast.tokens_per_pass == 2
    told = pair_fault(plain(0.044), fast)
    assert told is not None
    assert "4.4× the time a token" in told
    assert "2.00 tokens each" in told
    assert pair_fault(fast, plain(0.044)) == told
    assert pair_fault(plain(0.02 * SPEEDUP_SLACK), fast) is None
    assert pair_fault(plain(0.005), fast) is None


def test_a_run_that_contradicts_itself_is_compared_with_none() -> None:
    odd = plain(0.02)
    odd = replace(odd, metrics=replace(odd.metrics, cached_tokens=99))
    for pair in ((odd, plain(0.02)), (plain(0.02), odd)):
        assert "not compared" in str(pair_fault(*pair))


def test_runs_that_differ_in_more_than_drafting_are_not_held_against_each_other() -> None:
    fast = drafted(0.01, accepted=20)
    for config in (
        RunConfig(model="m", backend=Backend.REFERENCE),
        RunConfig(model="m"),
        RunConfig(model="other", optimization=OptimizationConfig.at(Precision.INT8)),
        RunConfig(model="m", optimization=OptimizationConfig.at(Precision.INT8, kv_dtype=KVDtype.INT8)),
    ):
        assert pair_fault(plain(0.09, config=config), fast) is None
    assert pair_fault(drafted(0.09, accepted=1), fast) is None


def test_the_tier_that_answered_counts_not_the_model_that_was_asked() -> None:
    report = make_cascade_report(went_up=False)
    small = replace(report, attempts=(replace(report.attempts[0], tier="m int8"),))
    answered = replace(drafted(0.01, accepted=20), reports=Reports(cascade=small))
    cascading = replace(answered, config=RunConfig(model="large"))
    assert pair_fault(plain(0.09), cascading) is not None


@given(st.floats(1, 10), st.floats(0.01, 100))
def test_a_speed_up_is_possible_up_to_tokens_a_pass(tokens: float, speedup: float) -> None:
    assert (speedup_fault(speedup, tokens) is None) == (speedup <= SPEEDUP_SLACK * tokens)


def test_a_share_of_bandwidth_above_one_is_explained_by_a_cache_or_a_fault() -> None:
    assert bandwidth_note(0.9, 80e6, None) is None
    assert "fit the last-level cache of 286 MiB" in str(bandwidth_note(1.4, 80e6, 300_000_000))
    for cache in (None, 60_000_000):
        assert "Measurement fault: 140 %" in str(bandwidth_note(1.4, 80e6, cache))


def totals(**changed: Any) -> Totals:
    counts = dict.fromkeys(("runs", "finished", "stopped", "failed", "interrupted", "running"), 1) | {"disturbed": 0}
    tokens = {"prompt_tokens": 10, "cached_tokens": 4, "completion_tokens": 9, "drafted_tokens": 6}
    sizes = dict.fromkeys(("weights_bytes", "kv_bytes", "peak_rss_bytes"))
    return Totals(**{**counts, **tokens, "accepted_tokens": 3, "discarded_tokens": 0, **sizes, **changed})


def test_figures_over_many_runs_are_held_against_each_other_too() -> None:
    rising = Latency(ttft_s=Percentiles(0.1, 0.2, 0.3))
    assert totals_faults(totals(), rising) == ()
    assert "7 tokens of 6 drafted" in " ".join(totals_faults(totals(accepted_tokens=7), rising))
    assert "11 tokens were reused, of 10" in " ".join(totals_faults(totals(cached_tokens=11), rising))
    falling = Latency(e2e_s=Percentiles(0.3, 0.2, 0.4))
    assert "percentiles of E2E" in " ".join(totals_faults(totals(), falling))


def test_shares_lie_between_nothing_and_all() -> None:
    assert share_faults({"a": 0.0, "b": 1.0, "c": None, "d": float("nan")}) == ()
    assert share_faults({"a": 1.5, "b": 0.5}) == ("a is 150 %, which no share can be.",)
    assert share_faults({"a": -0.2}) == ("a is -20 %, which no share can be.",)
