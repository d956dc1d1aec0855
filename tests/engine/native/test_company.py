"""What the kernels compute for a sequence is the same to the last bit, whoever is beside it in a pass."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ctypes import c_int32
from dataclasses import dataclass
from itertools import cycle, zip_longest

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.cache import KVCache
from engine.errors import NonFiniteLogitsError
from engine.generation.choice import Choice
from engine.generation.choosing import Chooser
from engine.generation.token_buffer import TokenBuffer
from engine.models.decoders.native_decoder import NativeDecoder, Segment
from engine.types import KVDtype, Precision, SamplingParams
from tests.engine.models.test_decoder import load_tiny
from tests.engine.native.test_kernels import QUANTIZED, UNQUANTIZED, needs_kernels
from tests.support.tiny import FAMILIES, make_tiny_checkpoint

pytestmark = needs_kernels

NEVER = c_int32(0)
WINDOW = 64


@pytest.fixture(scope="module", params=[*QUANTIZED, Precision.BF16], ids=str)
def precision(request: pytest.FixtureRequest) -> Precision:
    found: Precision = request.param
    return found


@pytest.fixture(scope="module", params=FAMILIES)
def decoder(
    request: pytest.FixtureRequest, precision: Precision, tmp_path_factory: pytest.TempPathFactory
) -> NativeDecoder:
    """Every family at every precision that the kernels know; two families with layers that see a window."""
    sizes = {"hidden_size": 128, "intermediate_size": 256}
    windows = {"mistral": {"sliding_window": 16}}
    windows["qwen3"] = {"sliding_window": 16, "use_sliding_window": True, "max_window_layers": 1}
    folder = make_tiny_checkpoint(
        tmp_path_factory.mktemp("tiny"), request.param, **sizes, **windows.get(request.param, {})
    )
    with pytest.MonkeyPatch.context() as patch:
        if precision is Precision.BF16:
            patch.setattr("engine.models.decoders.weights.scheme_of", lambda precision, native: UNQUANTIZED)
        loaded = load_tiny(folder, precision)
    assert isinstance(loaded, NativeDecoder)
    return loaded


@contextmanager
def on_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class Text:
    """A sequence, and the pieces in which it is read."""

    pieces: tuple[int, ...]
    seed: int
    dtype: KVDtype
    slides: bool

    @property
    def ids(self) -> torch.Tensor:
        return torch.randint(0, 384, (sum(self.pieces),), generator=torch.Generator().manual_seed(self.seed))

    def new_cache(self, decoder: NativeDecoder) -> KVCache:
        return decoder.new_cache(max(1, sum(self.pieces)), self.dtype, WINDOW if self.slides else None)


texts = st.builds(
    Text,
    pieces=st.lists(st.just(1) | st.integers(1, 24), min_size=1, max_size=7).map(tuple),
    seed=st.integers(0, 10_000),
    dtype=st.sampled_from(KVDtype),
    slides=st.booleans(),
)


def kv_of(cache: KVCache) -> list[torch.Tensor]:
    return [layer[: cache.length] for layer in cache.layers]


def read_in_company(
    decoder: NativeDecoder, asked: Sequence[Text], order: random.Random, threads: Sequence[int]
) -> list[list[torch.Tensor]]:
    """Some of the texts' next pieces in each pass, in any order, on one number of threads after the other: each one's
    hidden states and logits, then its KV."""
    turns = cycle(threads)
    caches = [text.new_cache(decoder) for text in asked]
    waiting = {i: list(text.ids.split(text.pieces)) for i, text in enumerate(asked)}
    results: list[list[torch.Tensor]] = [[] for _ in asked]
    while waiting:
        company = order.sample(sorted(waiting), order.randint(1, len(waiting)))
        with on_threads(next(turns)):
            hidden = decoder.forward_many([Segment(waiting[i].pop(0), caches[i]) for i in company])
            scored = decoder.logits_many(hidden)
        for i, states, logits in zip(company, hidden, scored, strict=True):
            results[i] += [states, logits]
            if not waiting[i]:
                del waiting[i]
    return [[*result, *kv_of(cache)] for result, cache in zip(results, caches, strict=True)]


def read_alone(decoder: NativeDecoder, text: Text) -> list[torch.Tensor]:
    cache, results = text.new_cache(decoder), []
    for piece in text.ids.split(text.pieces):
        hidden = decoder.forward(piece, cache)
        results += [hidden, decoder.logits(hidden)]
    return [*results, *kv_of(cache)]


thread_counts = st.lists(st.integers(1, 5), min_size=1, max_size=3)


@given(st.lists(texts, min_size=1, max_size=6), st.randoms(use_true_random=False), thread_counts)
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@torch.inference_mode()
def test_rows_and_their_kv_do_not_depend_on_other_sequences(
    decoder: NativeDecoder, asked: list[Text], order: random.Random, threads: list[int]
) -> None:
    with on_threads(1):
        wanted = [read_alone(decoder, text) for text in asked]
    got = read_in_company(decoder, asked, order, threads)
    for mine, alone in zip(got, wanted, strict=True):
        assert len(mine) == len(alone)
        assert all(torch.equal(a, b) for a, b in zip(mine, alone, strict=True))


# --- texts that are written beside one another ------------------------------------------------------------

samplings = st.builds(
    SamplingParams,
    temperature=st.sampled_from([0.0, 0.8, 1.5]),
    top_p=st.sampled_from([1.0, 0.9]),
    top_k=st.sampled_from([0, 20]),
    repetition_penalty=st.sampled_from([1.0, 1.2]),
    seed=st.integers(0, 100),
)


class Written:
    """A text that is being written, with what it is written with."""

    def __init__(self, decoder: NativeDecoder, text: Text, sampling: SamplingParams, stop_ids: Sequence[int]) -> None:
        ids = text.ids.tolist()
        self.decoder = decoder
        self.chooser = Chooser(TokenBuffer(ids, len(ids) + 200), sampling, 380, stop_ids)
        self.cache = decoder.new_cache(len(ids) + 200, text.dtype, WINDOW if text.slides else None)
        for piece in text.ids.split(24):
            decoder.forward(piece, self.cache)
        self.cache.truncate(self.cache.length - 1)  # the last token is read again
        self.choices: list[Choice] = []

    def write_with(self, *others: Written, most: int, interrupt: c_int32 = NEVER) -> int:
        """Have the kernels write a few tokens; how many."""
        asked = [(text.chooser.ask(NEVER, most, 60.0), text.cache) for text in (self, *others)]
        self.decoder.write_many([(told, cache) for told, cache in asked if told is not None], interrupt)
        taken = [text.chooser.take() for text in (self, *others)]
        for text, choices in zip((self, *others), taken, strict=True):
            text.choices += [choice._replace(t=0.0) for choice in choices]
        assert len({len(choices) for choices in taken}) == 1
        return len(taken[0])


@given(
    st.lists(st.tuples(texts, samplings), min_size=2, max_size=5),
    st.lists(st.integers(1, 9), min_size=1, max_size=5),
    st.randoms(use_true_random=False),
    thread_counts,
)
@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@torch.inference_mode()
def test_tokens_and_their_scores_do_not_depend_on_other_sequences(
    decoder: NativeDecoder,
    asked: list[tuple[Text, SamplingParams]],
    at_most: list[int],
    order: random.Random,
    threads: list[int],
) -> None:
    together = [Written(decoder, *each, ()) for each in asked]
    for most, count in zip(at_most, cycle(threads)):
        company = order.sample(together, order.randint(1, len(together)))
        with on_threads(count):
            company[0].write_with(*company[1:], most=most)
    for each, text in zip(asked, together, strict=True):
        alone = Written(decoder, *each, ())
        while len(alone.choices) < len(text.choices):
            alone.write_with(most=len(text.choices) - len(alone.choices))
        assert text.choices == alone.choices
        assert text.chooser.text.since(0) == alone.chooser.text.since(0)
        assert torch.equal(text.chooser.generator.get_state(), alone.chooser.generator.get_state())
        assert all(torch.equal(a, b) for a, b in zip(kv_of(text.cache), kv_of(alone.cache), strict=True))


@pytest.fixture(scope="module")
def int4(tmp_path_factory: pytest.TempPathFactory) -> NativeDecoder:
    folder = make_tiny_checkpoint(tmp_path_factory.mktemp("tiny"), "qwen3", hidden_size=128, intermediate_size=256)
    loaded = load_tiny(folder, Precision.INT4)
    assert isinstance(loaded, NativeDecoder)
    return loaded


def a_text(seed: int, length: int = 6) -> Text:
    return Text((length,), seed, KVDtype.BF16, slides=False)


@torch.inference_mode()
def test_models_that_take_turns_do_not_disturb_one_another(
    int4: NativeDecoder, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Another family, precision, width and number of heads."""
    folder = make_tiny_checkpoint(tmp_path_factory.mktemp("other"), "llama", hidden_size=192, intermediate_size=320)
    other = load_tiny(folder, Precision.NF4)
    assert isinstance(other, NativeDecoder)
    text = Text((1, 30, 1, 3, 14, 1), 5, KVDtype.BF16, slides=False)
    caches = [text.new_cache(model) for model in (int4, other)]
    got: list[list[torch.Tensor]] = [[], []]
    for number, piece in enumerate(text.ids.split(text.pieces)):
        for model, cache, results in zip((int4, other), caches, got, strict=True):
            with on_threads(1 + number % 3):
                hidden = model.forward(piece, cache)
                results += [hidden, model.logits(hidden)]
    for model, cache, results in zip((int4, other), caches, got, strict=True):
        for mine, alone in zip_longest([*results, *kv_of(cache)], read_alone(model, text)):
            assert torch.equal(mine, alone)


@torch.inference_mode()
def test_writing_ends_for_all_with_the_first_that_ends(int4: NativeDecoder) -> None:
    alone = Written(int4, a_text(1), SamplingParams(), ())
    alone.write_with(most=20)
    answer = [choice.token_id for choice in alone.choices]
    stop = answer[7]
    one, other = Written(int4, a_text(1), SamplingParams(), [stop]), Written(int4, a_text(2), SamplingParams(), ())
    assert one.write_with(other, most=20) == answer.index(stop) + 1
    assert other.write_with(one, most=20, interrupt=c_int32(1)) == 1
    assert [choice.token_id for choice in one.choices] == answer[: len(one.choices)]


@torch.inference_mode()
def test_a_sequence_without_numbers_fails_alone(int4: NativeDecoder) -> None:
    sampling = SamplingParams(temperature=1.0)
    sound, broken = Written(int4, a_text(1), sampling, ()), Written(int4, a_text(2), sampling, ())
    for layer in broken.cache.layers:
        layer.fill_(torch.nan)
    asked = [(text.chooser.ask(NEVER, 8, 60.0), text.cache) for text in (sound, broken)]
    int4.write_many([(told, cache) for told, cache in asked if told is not None], NEVER)
    (choice,) = sound.chooser.take()
    with pytest.raises(NonFiniteLogitsError):
        broken.chooser.take()
    assert (len(broken.chooser.text), broken.cache.length) == (6, 5)
    alone = Written(int4, a_text(1), sampling, ())
    alone.write_with(most=1)
    assert alone.choices == [choice._replace(t=0.0)]


@pytest.mark.parametrize("wrong", ["full", "shared", "another model's", "unknown token"])
@torch.inference_mode()
def test_a_pass_with_one_bad_segment_reads_nothing_of_anybody(int4: NativeDecoder, wrong: str) -> None:
    full = int4.new_cache(500, window=WINDOW)  # the first would have to slide
    int4.forward(torch.arange(30), full)
    int4.forward(torch.arange(30), full)
    int4.forward(torch.arange(4), full)
    bad = {
        "full": Segment(torch.arange(9), int4.new_cache(8)),
        "shared": Segment(torch.arange(2), full),
        "another model's": Segment(torch.arange(2), KVCache(1, 8, 2, 32)),
        "unknown token": Segment(torch.tensor([384]), int4.new_cache(8)),
    }[wrong]
    before = [layer.clone() for layer in full.layers]
    with pytest.raises(ValueError, match=r"8|share|a cache of|vocabulary"):
        int4.forward_many([Segment(torch.arange(3), full), bad])
    if wrong != "unknown token":  # only the kernels see that one, after the window has slid
        assert (full.length, full.dropped) == (64, 0)
        assert all(torch.equal(a, b) for a, b in zip(before, full.layers, strict=True))
    assert full.tokens == 64
    assert bad.cache is full or bad.cache.length == 0
