"""The gear in the engine: loading drafters, the other gears, the report, and reading an answer again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from engine import Engine
from engine.errors import InvalidRequestError
from engine.native.kernels import library
from engine.types import (
    COPY_PRECISIONS,
    CPU_PRECISIONS,
    TEXT_DRAFTERS,
    CacheMode,
    Drafter,
    GenerationRequest,
    KVDtype,
    Message,
    OptimizationConfig,
    Precision,
    RunConfig,
    RunFinished,
    SamplingParams,
    SpeculationConfig,
    SpeculationReport,
    TokenEvent,
)
from tests.conftest import SMALL
from tests.engine.test_engine import PROMPTS, failure, finish
from tests.support.near_ties import NearTies
from tests.support.tiny import make_tiny_checkpoint

NGRAM = SpeculationConfig(drafter=Drafter.NGRAM)
COPY = (
    "Repeat this text word for word: The quick brown fox jumps over the lazy dog while the cat sleeps on the warm "
    "windowsill and dreams of fish."
)


def request_for(
    prompt: str,
    precision: Precision,
    speculation: SpeculationConfig | None,
    *,
    model: str = SMALL,
    cache_mode: CacheMode = CacheMode.KV,
    kv_dtype: KVDtype = KVDtype.BF16,
    window: int | None = None,
    salt: str = "",
    **sampling: object,
) -> GenerationRequest:
    gears = OptimizationConfig.at(precision, cache_mode, kv_dtype, window, speculation)
    config = RunConfig(model=model, optimization=gears, sampling=SamplingParams(**sampling))  # type: ignore[arg-type]
    return GenerationRequest(messages=(Message("user", prompt),), config=config, cache_salt=salt)


def report_of(run: RunFinished) -> SpeculationReport:
    assert run.speculation is not None
    return run.speculation


@pytest.mark.parametrize(
    ("precision", "speculation"),
    [
        (Precision.INT4, NGRAM),
        (Precision.INT8, SpeculationConfig.with_self()),
        (Precision.BF16, SpeculationConfig.with_self(Precision.NF4, gamma=3)),
        (Precision.NF4, replace(NGRAM, gamma=6)),
        (Precision.INT8, SpeculationConfig()),
    ],
    ids=str,
)
def test_the_tokens_are_plain_decodings(engine: Engine, precision: Precision, speculation: SpeculationConfig) -> None:
    for prompt in (COPY, PROMPTS[2]):
        plain = finish(engine, request_for(prompt, precision, None, max_tokens=40))
        drafted = finish(engine, request_for(prompt, precision, speculation, max_tokens=40))
        assert drafted.token_ids == plain.token_ids
        assert drafted.text == plain.text
        metrics, report = drafted.metrics, report_of(drafted)
        assert metrics is not None
        assert plain.metrics is not None
        assert plain.speculation is None
        assert metrics.drafted_tokens == sum(len(entry.token_ids) for entry in report.rounds)
        assert metrics.accepted_tokens == sum(entry.accepted for entry in report.rounds)
        assert metrics.verification_steps == len(report.rounds)
        assert SpeculationReport.from_dict(_as_json(report)) == report
    assert metrics.drafted_tokens > 0 or report.notes or speculation.drafter is not Drafter.SELF


def _as_json(report: SpeculationReport) -> dict[str, object]:
    tree: dict[str, object] = json.loads(json.dumps(asdict(report)))
    return tree


@pytest.mark.timeout(1_200)
@pytest.mark.slow
@pytest.mark.parametrize("precision", CPU_PRECISIONS)
def test_a_hundred_answers_equal_plain_decodings(
    engine: Engine,
    models_dir: Path,
    precision: Precision,
    record_property: Callable[[str, object], None],
) -> None:
    """Divergences are counted, and each must be a near-tie; where rows are computed alike there is none at all."""
    prompts = [
        f"{prompt} {more}" for prompt in PROMPTS for more in ("", "Be brief.", "Say it twice.", "Why?", "And then?")
    ]
    assert len(prompts) >= 100
    drafters = [replace(NGRAM, gamma=4), NGRAM, SpeculationConfig()]
    if precision in (Precision.BF16, Precision.INT8):
        drafters.append(SpeculationConfig.with_self(gamma=3))
    parted, exact = 0, NearTies(models_dir, precision)
    for place, prompt in enumerate(prompts):
        plain = finish(engine, request_for(prompt, precision, None, max_tokens=32)).token_ids
        speculation = drafters[place % len(drafters)]
        drafted = finish(engine, request_for(prompt, precision, speculation, max_tokens=32)).token_ids
        if drafted != plain:
            assert library() is None, f"{prompt!r}: our kernels compute rows alike"
            exact.check([Message("user", prompt)], drafted, plain)
            parted += 1
    record_property("identical", f"{precision}: {len(prompts) - parted} of {len(prompts)}, the rest near-ties")


def test_prefix_reuse_and_speculation_work_together(engine: Engine) -> None:
    """The second turn reuses the first's KV, drafts from its text, and says what plain decoding says."""
    first = request_for(COPY, Precision.INT4, NGRAM, cache_mode=CacheMode.PREFIX, salt="both", max_tokens=30)
    said = finish(engine, first)
    messages = (*first.messages, Message("assistant", said.text, said.token_ids), Message("user", "Once more, please."))
    drafted = finish(engine, replace(first, messages=messages))
    plain = finish(
        engine,
        replace(
            first,
            messages=messages,
            config=replace(first.config, optimization=OptimizationConfig.at(Precision.INT4)),
        ),
    )
    assert drafted.metrics is not None
    assert drafted.metrics.cached_tokens >= len(said.token_ids)
    assert drafted.metrics.accepted_tokens > 0
    assert drafted.token_ids == plain.token_ids


@pytest.mark.parametrize(
    "form",
    [{"kv_dtype": KVDtype.INT8, "cache_mode": CacheMode.PREFIX}, {"window": 64}, {"cache_mode": CacheMode.OFF}],
    ids=str,
)
def test_every_form_of_kv_goes_with_speculation(engine: Engine, form: dict[str, object]) -> None:
    plain = finish(engine, request_for(COPY, Precision.INT4, None, max_tokens=24, salt="plain", **form))
    drafted = finish(
        engine, request_for(COPY, Precision.INT4, replace(NGRAM, gamma=4), max_tokens=24, salt="drafted", **form)
    )
    assert drafted.token_ids == plain.token_ids
    assert report_of(drafted).rounds


def test_auto_says_that_without_kv_no_model_can_draft(engine: Engine) -> None:
    run = finish(engine, request_for("Hi", Precision.INT4, SpeculationConfig(), cache_mode=CacheMode.OFF, max_tokens=4))
    assert "KV cache" in report_of(run).unavailable[0]
    kept = finish(engine, request_for("Hi", Precision.INT4, SpeculationConfig(), max_tokens=4))
    assert report_of(kept).unavailable == ()


def test_a_session_drafts_from_its_own_earlier_texts_and_from_nobody_elses(engine: Engine) -> None:
    ask = request_for("List three colours.", Precision.INT4, replace(NGRAM, gamma=4), max_tokens=24, salt="one")
    finish(engine, ask)
    again = finish(engine, ask)
    other = finish(engine, replace(ask, cache_salt="other"))
    cold = finish(engine, replace(ask, cold=True))
    assert again.metrics is not None
    assert other.metrics is not None
    assert cold.metrics is not None
    assert 2 * again.metrics.accepted_tokens >= again.metrics.completion_tokens, (
        "the answer stood in the session before"
    )
    assert other.metrics.accepted_tokens == cold.metrics.accepted_tokens < again.metrics.accepted_tokens
    engine.forget_session("one")
    forgotten = finish(engine, ask)
    assert forgotten.metrics is not None
    assert forgotten.metrics.accepted_tokens == cold.metrics.accepted_tokens


def test_a_drafter_with_another_tokenizer_is_refused_with_the_reason(engine: Engine, tmp_path: Path) -> None:
    other = make_tiny_checkpoint(tmp_path / "other", "llama")
    speculation = SpeculationConfig.with_model(str(other))
    failed = failure(engine, request_for("Hi", Precision.INT4, speculation))
    assert failed.kind == "InvalidRequestError"
    assert "tokenizers differ" in failed.error


def test_a_smaller_model_drafts_for_a_larger_one(tmp_path: Path) -> None:
    large = make_tiny_checkpoint(tmp_path / "large", "llama", hidden_size=128, intermediate_size=256)
    small = make_tiny_checkpoint(tmp_path / "small", "qwen3", seed=3)
    engine = Engine(tmp_path)
    speculation = SpeculationConfig.with_model(str(small), Precision.INT8, gamma=3)
    asks = [request_for("Hi there", Precision.INT8, s, model=str(large), max_tokens=20) for s in (None, speculation)]
    plain, drafted = (finish(engine, ask) for ask in asks)
    assert drafted.token_ids == plain.token_ids
    assert {entry.drafter for entry in report_of(drafted).rounds} == {f"{small} int8"}
    weights = {model.model: model.weights_bytes for model in engine.status().resident}
    assert plain.metrics is not None
    assert drafted.metrics is not None
    assert plain.metrics.weights_bytes == weights[str(large)]
    assert drafted.metrics.weights_bytes == weights[str(large)] + weights[str(small)]
    engine.close()


def test_a_drafter_that_is_let_go_between_rounds_drafts_on(tmp_path: Path) -> None:
    """The run holds it; the pool may need its room for what comes next."""
    folder = make_tiny_checkpoint(tmp_path / "model", "llama", hidden_size=128, intermediate_size=256)
    engine = Engine(tmp_path)
    ask = request_for("Hi", Precision.INT8, SpeculationConfig.with_self(gamma=2), model=str(folder), max_tokens=20)
    plain = finish(engine, request_for("Hi", Precision.INT8, None, model=str(folder), max_tokens=20))
    generation = engine.generate(ask)
    last = None
    for event in generation:
        if isinstance(event, TokenEvent) and engine._pool:
            engine._pool.residents._loaded.clear()
        last = event
    assert isinstance(last, RunFinished)
    assert last.token_ids == plain.token_ids
    engine.close()


def test_cancelled_inside_a_round_the_next_answer_is_whole(engine: Engine) -> None:
    ask = request_for(
        COPY, Precision.INT4, replace(NGRAM, gamma=8), cache_mode=CacheMode.PREFIX, salt="cut", max_tokens=40
    )
    generation = engine.generate(ask)
    seen = 0
    for event in generation:
        seen += isinstance(event, TokenEvent)
        if seen == 10:
            generation.cancel()
    whole = finish(engine, ask)
    plain = finish(engine, request_for(COPY, Precision.INT4, None, max_tokens=40))
    assert whole.token_ids == plain.token_ids


@pytest.mark.parametrize("precision", [Precision.INT4, Precision.BF16])
def test_reading_an_answer_again_confirms_it(engine: Engine, precision: Precision) -> None:
    ask = request_for(COPY, precision, NGRAM, max_tokens=40, repetition_penalty=1.1)
    run = finish(engine, ask)
    checked = engine.check_losslessness(ask, run.token_ids)
    assert checked.holds
    assert checked.checked == checked.tokens == len(run.token_ids)
    assert checked.divergence is None


def test_reading_an_answer_again_finds_the_token_that_is_not_plain_decodings(engine: Engine) -> None:
    ask = request_for("Count to twenty.", Precision.INT4, NGRAM, max_tokens=30)
    ids = list(finish(engine, ask).token_ids)
    ids[17] = ids[17] + 1
    checked = engine.check_losslessness(ask, ids)
    assert not checked.holds
    assert checked.divergence is not None
    assert checked.checked == checked.divergence.index == 17
    assert checked.divergence.gap > 0
    assert checked.divergence.plain != checked.divergence.written


def test_a_sampled_answer_is_checked_token_by_token_too(engine: Engine) -> None:
    ask = request_for(COPY, Precision.INT4, replace(NGRAM, gamma=3), max_tokens=40, temperature=0.8, top_p=0.95)
    run = finish(engine, ask)
    assert report_of(run).rounds
    checked = engine.check_losslessness(ask, run.token_ids)
    assert checked.holds
    assert checked.checked == len(run.token_ids)
    altered = list(run.token_ids)
    altered[5] += 1
    assert engine.check_losslessness(ask, altered).checked == 5


def test_nothing_to_check_is_said(engine: Engine) -> None:
    with pytest.raises(InvalidRequestError, match="no tokens"):
        engine.check_losslessness(request_for("Hi", Precision.INT4, NGRAM), ())


def test_every_possible_drafter_is_listed_with_why_or_why_not(tmp_path: Path) -> None:
    folder = make_tiny_checkpoint(tmp_path / "large", "llama", hidden_size=128, intermediate_size=256)
    make_tiny_checkpoint(tmp_path / "small", "qwen3")
    engine = Engine(tmp_path)
    choices = {choice.name: choice for choice in engine.drafters("large", Precision.INT8)}
    copies = {f"large {precision}" for precision in COPY_PRECISIONS}
    assert set(choices) == {*TEXT_DRAFTERS, *copies, "small int4"} >= {"ngram", "large int4", "large nf4"}
    assert all(choice.speculation for choice in choices.values())
    assert choices["ngram"].relative_cost == 0
    assert not choices["large int4"].cost_is_measured
    finish(engine, request_for("Hi", Precision.INT8, SpeculationConfig.with_self(), model="large", max_tokens=4))
    measured = {choice.name: choice for choice in engine.drafters("large", Precision.INT8)}
    assert measured["large int4"].cost_is_measured
    refused = {choice.name: choice for choice in engine.drafters("small", Precision.INT4)}
    assert refused["small int4"].why_not is not None
    assert "draft no faster" in refused["small int4"].why_not
    assert refused["large"].why_not is not None
    assert "not smaller" in refused["large"].why_not
    assert folder.exists()
    engine.close()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SpeculationConfig(gamma=33), "between 0 and 32"),
        (lambda: SpeculationConfig(drafter=Drafter.SELF), "needs a precision"),
        (lambda: SpeculationConfig(drafter=Drafter.SELF, draft_precision=Precision.INT8), "int4 or nf4"),
        (lambda: SpeculationConfig(drafter=Drafter.DRAFT, draft_precision=Precision.INT4), "smaller model"),
        (lambda: SpeculationConfig(drafter=Drafter.NGRAM, draft_precision=Precision.INT4), "no precision"),
        (lambda: OptimizationConfig.at(Precision.INT4, speculation=SpeculationConfig.with_self()), "no faster"),
        (
            lambda: OptimizationConfig.at(
                Precision.INT8, CacheMode.OFF, speculation=SpeculationConfig.with_self(Precision.INT4)
            ),
            "needs a KV cache",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(make: object, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        make()  # type: ignore[operator]
