"""Contexts of many thousand tokens: how fast a long prefix is found and lent, and how fast is written behind one.

Decoding speed does not depend on what a context says, so ours is filled with random keys and values; llama.cpp, where
it is installed, reads a prompt of as many tokens once. Its KV is in f16 or q8_0, ours in bf16 or in 8 bits.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from ctypes import c_int32
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from engine import list_models
from engine.cache import CacheIdentity, Ids, KVCache, PrefixCache, as_ids, explain, write_kv
from engine.generation.choosing import Chooser
from engine.generation.token_buffer import TokenBuffer
from engine.models import CATALOG
from engine.models.decoders.decoder import Decoder
from engine.passes import Continuation
from engine.serving.memory.pool import ModelPool
from engine.types import KVDtype, Message, OptimizationConfig, Precision, RunConfig, SamplingParams
from tests.benchmarks.decode import THREADS, Options
from tests.benchmarks.peers import installed_peers
from tests.benchmarks.peers.process import PeerError, PeerProcess
from tests.benchmarks.table import Row
from tests.support.loading import load_model, open_model

PEER = "llama.cpp"
CONTEXTS = (1_024, 8_192, 32_768)
"""Tokens, what is written included."""
NEW_TOKENS = 32
PREFIX_TOKENS = 30_000
KEPT_SEQUENCES = 20
PREFIX_ROUNDS = 15
_FILLED_AT_ONCE = 4_096


def run(models_dir: Path, options: Options) -> list[Row]:
    """The prefix's times, then the curve of each installed model."""
    torch.set_num_threads(THREADS)
    rows = prefix_rows(PREFIX_TOKENS)
    installed = {model.name for model in list_models(models_dir) if model.installed}
    peers = [PEER] if options.peers and PEER in installed_peers() else []
    if options.peers and not peers:
        print(f"Not installed: {PEER}; `make bench-peers` installs it.")
    for model in options.models:
        if model in installed:
            rows += _curve(models_dir, model, peers, options.rounds)
        else:
            print(f"{model} is not installed.")
    return rows


# --- a prefix of 30,000 tokens --------------------------------------------------------------------------


def prefix_rows(tokens: int) -> list[Row]:
    """One session's chat of so many tokens among others of that length: medians and the longest, in milliseconds."""
    mine = CacheIdentity("weights", "int4", "kernel", str(KVDtype.BF16), None, "me")
    cache, ids = PrefixCache(2**50), _texts(tokens)
    for number, text in enumerate(ids):
        identity = mine if number % 2 else replace(mine, salt=str(number))
        lease = cache.lend(identity, text[:-2], tokens, _half_a_billions, most_tokens=32_768, cold=True)
        _write(lease.kv, tokens - 2, written=number == len(ids) - 1)  # what nobody reads takes no memory
        cache.settle(lease, text[:-2], (Message("user", "A long story."),))
    longest = ids[-1]
    times: dict[str, list[float]] = {}

    def timed(what: str, work: Callable[[], object]) -> None:
        begun = perf_counter()
        work()
        times.setdefault(what, []).append(1000 * (perf_counter() - begun))

    for _ in range(PREFIX_ROUNDS):
        timed("found", lambda: cache.index.nearest([mine], longest))
        timed("explained", lambda: explain(cache.index, mine, longest, (), str, cold=False))
        begun = perf_counter()
        lease = _lend(cache, mine, longest, tokens + 100)
        times.setdefault("lent where it goes on", []).append(1000 * (perf_counter() - begun))
        assert lease.cached_tokens == tokens - 2
        _write(lease.kv, 2, written=True)
        timed("kept again", lambda lease=lease: cache.discard(lease))  # type: ignore[misc]
        branch = as_ids([*longest[: tokens - 100].tolist(), 1, 2, 3])
        begun = perf_counter()
        lease = _lend(cache, mine, branch, tokens + 100)
        times.setdefault("lent to a branch, copied", []).append(1000 * (perf_counter() - begun))
        assert lease.cached_tokens >= tokens - 101
        cache.discard(lease)
        del lease  # its memory goes back to the system outside of what is timed
    return [
        {
            "what": what,
            "tokens": tokens,
            "kept": KEPT_SEQUENCES,
            "median_ms": statistics.median(each),
            "longest_ms": max(each),
        }
        for what, each in times.items()
    ]


def _texts(tokens: int) -> list[Ids]:
    """Sequences that all begin alike and part near their end: the longest comparisons there are."""
    common = np.random.default_rng(0).integers(0, 50_000, tokens, dtype=np.int32)
    texts = []
    for number in range(KEPT_SEQUENCES):
        texts.append(common.copy())
        texts[-1][tokens - 50 :] += number
    return texts


def _lend(cache: PrefixCache, identity: CacheIdentity, ids: Ids, capacity: int):  # type: ignore[no-untyped-def]
    return cache.lend(identity, ids, capacity, _half_a_billions, most_tokens=32_768)


def _half_a_billions(capacity: int) -> KVCache:
    """A cache of the 0.5B's shape, with room for its context, as a loaded model makes it."""
    return KVCache(24, 32_768, 2, 64)


def _write(kv: KVCache, tokens: int, *, written: bool) -> None:
    start, end = kv.claim(tokens)
    if written:
        for layer in kv.layers:
            layer[start:end] = 1
    kv.commit(tokens)


# --- the curve ------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Lane:
    """One engine at one precision of KV behind one context."""

    engine: str
    kv: str
    tokens: int
    measure: Callable[[], float]
    """Seconds a token."""
    kv_bytes: Callable[[], int]
    times: list[float] = field(default_factory=list)
    error: str | None = None


def _curve(models_dir: Path, model: str, peers: Sequence[str], rounds: int) -> list[Row]:
    """Lanes take turns, context by context, so that a slow minute falls on all of them."""
    pool, rows = ModelPool(models_dir), list[Row]()
    context_length = open_model(pool, model).config.context_length
    config = RunConfig(model=model, optimization=OptimizationConfig.at(Precision.INT4))
    with ExitStack() as stack, torch.inference_mode():
        decoder: Decoder = load_model(pool, config).decoder  # type: ignore[attr-defined]
        asked = [
            stack.enter_context(PeerProcess(name, models_dir / CATALOG[model].file_name, THREADS)) for name in peers
        ]
        for context in sorted({min(context, context_length) for context in CONTEXTS}):
            tokens = context - 2 * NEW_TOKENS
            lanes = [_own_lane(decoder, tokens, dtype) for dtype in KVDtype]
            lanes += [_peer_lane(peer, tokens, kv) for peer in asked for kv in ("f16", "q8_0")]
            for round_ in range(rounds + 1):  # the first warms up, and reads what is to be read
                for lane in lanes:
                    with _failing(lane):
                        seconds = lane.measure()
                        if round_:
                            lane.times.append(seconds)
            rows += [_row(model, lane) for lane in lanes]
    return rows


def _own_lane(decoder: Decoder, tokens: int, dtype: KVDtype) -> _Lane:
    cache = decoder.new_cache(tokens + 2 * NEW_TOKENS, dtype)
    _fill(cache, tokens, decoder.config.n_kv_heads, decoder.config.head_dim)
    ids = torch.randint(
        0, min(1_000, decoder.config.vocab_size), (tokens + 1,), generator=torch.Generator().manual_seed(0)
    ).tolist()

    def measure() -> float:
        cache.truncate(tokens)
        text = TokenBuffer(ids, len(ids) + NEW_TOKENS)
        chooser, written = Chooser(text, SamplingParams(), decoder.config.vocab_size), 0
        begun = perf_counter()
        while written < NEW_TOKENS:
            most = NEW_TOKENS - written
            written += len(Continuation(decoder, chooser, cache, most, 60.0, c_int32(0)).perform())
        return (perf_counter() - begun) / NEW_TOKENS

    return _Lane("local", str(dtype), tokens, measure, lambda: cache.used_bytes)


def _fill(cache: KVCache, tokens: int, heads: int, head_dim: int) -> None:
    generator = torch.Generator().manual_seed(0)
    cache.claim(tokens)
    for start in range(0, tokens, _FILLED_AT_ONCE):
        rows = min(_FILLED_AT_ONCE, tokens - start)
        keys, values = torch.randn(2, rows, heads, head_dim, generator=generator).to(torch.bfloat16)
        write_kv(cache.layers[0], start, keys, values)
    for layer in cache.layers[1:]:
        layer[:tokens] = cache.layers[0][:tokens]
    cache.commit(tokens)


def _peer_lane(peer: PeerProcess, tokens: int, kv: str) -> _Lane:
    return _Lane(
        peer.name,
        kv,
        tokens,
        lambda: peer.behind(tokens, NEW_TOKENS, kv).tpot_s,
        lambda: peer.behind(tokens, NEW_TOKENS, kv).kv_bytes,
    )


@contextmanager
def _failing(lane: _Lane) -> Iterator[None]:
    """A lane's failure is its row's error, and ends nothing else."""
    try:
        yield
    except PeerError as error:
        lane.error = str(error)


def _row(model: str, lane: _Lane) -> Row:
    rates, kv_bytes = [1 / seconds for seconds in lane.times], 0
    with _failing(lane):
        kv_bytes = lane.kv_bytes()
    whole = lane.error is None and len(rates) > 1
    quarters = statistics.quantiles(rates, n=4) if whole else [0.0] * 3
    return {
        "model": model,
        "engine": lane.engine,
        "kv": lane.kv,
        "tokens": lane.tokens,
        "decode_tps": statistics.median(rates) if whole else None,
        "spread": (quarters[2] - quarters[0]) / statistics.median(rates) if whole else None,
        "kv_bytes": kv_bytes if whole else None,
        "error": lane.error,
    }
