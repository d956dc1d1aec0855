"""Where a pass spends its time, over one row, eight and a prompt's 512, and what bounds each part.

The kernels are built once more so that they look at the clock between two parts. A part's time is that of a thread, on
average; *waiting* is for other threads, and *outside* what calls take beside all of them. *memory* is the share of the
machine's bandwidth, measured in the same run: what stays in a cache may read faster. *products* is the share of what
the same kernel makes of a small matrix and many rows, with next to nothing to read.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from ctypes import c_int32
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import pytest
import torch
from tests.benchmarks.bandwidth import MemoryReader

from engine import list_models
from engine.cache import KVCache
from engine.generation.choosing import Chooser
from engine.generation.token_buffer import TokenBuffer
from engine.models.decoders.native_decoder import NativeDecoder
from engine.native import build
from engine.native.compilation import PROFILE
from engine.native.kernels import Library
from engine.serving.memory.pool import ModelPool
from engine.types import Precision, SamplingParams
from tests.benchmarks.decode import THREADS, Options
from tests.benchmarks.divergence import open_decoder
from tests.benchmarks.table import Row

ROWS = (1, 8, 512)
CONTEXT = 256
"""Tokens before the rows."""
TOKENS = 32
"""Written in one call, where a pass has one row."""
PRECISIONS = (Precision.INT8, Precision.INT4, Precision.NF4)
ATTENTION = "attention"
BOUND = 0.6
"""From this share of a limit on, a part is bound by it."""
_LIMIT_ROWS = 960
_LIMIT_REPEATS = 20


@dataclass(frozen=True, slots=True)
class _Limits:
    """Of this machine and a precision, in this run."""

    bytes_s: float
    products_s: float


def run(models_dir: Path, options: Options) -> list[Row]:
    """Profile each installed model that is asked for, at each of our own precisions that is."""
    torch.set_num_threads(THREADS)
    installed = {model.name for model in list_models(models_dir) if model.installed}
    asked = [
        (model, precision)
        for model in options.models
        for precision in PRECISIONS
        if model in installed and precision in options.lanes
    ]
    rows: list[Row] = []
    with _telling_kernels() as kernels, closing(MemoryReader(THREADS)) as memory, torch.inference_mode():
        for model, precision in asked:
            decoder = open_decoder(ModelPool(models_dir), model, precision)
            assert isinstance(decoder, NativeDecoder)
            limits = _Limits(memory.measure(), _products_s(decoder))
            for count in ROWS:
                label = {"model": model, "precision": str(precision), "rows": count}
                rows += [label | part for part in _profile(kernels, decoder, count, options.rounds, limits)]
    return rows


@contextmanager
def _telling_kernels() -> Iterator[Library]:
    """Kernels that tell where their time goes, for every model that is loaded meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PROFILE, "1")
        path = build()
        if path is None:
            raise RuntimeError("the kernels cannot be built here")
        kernels = Library(path)
        patch.setattr("engine.native.kernels._loaded", kernels)
        yield kernels


def _products_s(decoder: NativeDecoder) -> float:
    """What the kernel does at best, with a small matrix of the model."""
    matrix = decoder._modules["layers.0.o"]
    x = torch.randn((_LIMIT_ROWS, decoder.config.n_heads * decoder.config.head_dim))
    times = []
    for _ in range(_LIMIT_REPEATS):
        begun = perf_counter()
        y = matrix(x)
        times.append(perf_counter() - begun)
    return x.numel() * y.shape[1] / min(times)


def _profile(kernels: Library, decoder: NativeDecoder, rows: int, rounds: int, limits: _Limits) -> list[Row]:
    """Medians over passes of so many rows, the first left out."""
    one_pass = _pass_of(decoder, rows)
    totals: list[float] = []
    parts: list[dict[str, float]] = []
    for _ in range(10 * rounds + 1):
        kernels.profile()
        begun = perf_counter()
        passes = one_pass()
        totals.append((perf_counter() - begun) / passes)
        parts.append({part: spent / THREADS / passes for part, spent in kernels.profile().items()})
    whole = statistics.median(totals[1:])
    medians = {part: statistics.median(each[part] for each in parts[1:]) for part in parts[0]}
    medians["outside"] = max(0.0, whole - sum(medians.values()))
    works = _works(decoder, rows)
    return [
        {
            "part": part,
            "median_ms": 1000 * spent,
            "share": spent / whole,
            **_bounds(part, works.get(part), spent, limits),
        }
        for part, spent in {**medians, "all": whole}.items()
    ]


def _pass_of(decoder: NativeDecoder, rows: int) -> Callable[[], int]:
    """Does passes of so many rows behind the context; how many."""
    ids, block = (
        torch.randint(0, min(1000, decoder.config.vocab_size), (count,), generator=torch.Generator().manual_seed(0))
        for count in (CONTEXT, rows)
    )
    cache = decoder.new_cache(CONTEXT + max(rows, TOKENS) + 1)
    decoder.read(ids, cache, lambda: False)
    if rows == 1:
        return lambda: _write(decoder, cache, ids)

    def read() -> int:
        cache.truncate(CONTEXT)
        few = rows < decoder.prefill_chunk
        hidden = decoder.forward(block, cache) if few else decoder.read(block, cache, lambda: False)
        assert hidden is not None  # nobody cancels
        decoder.logits(hidden)
        return 1

    return read


def _write(decoder: NativeDecoder, cache: KVCache, ids: torch.Tensor) -> int:
    """Plain decoding in one call."""
    cache.truncate(CONTEXT)
    never = c_int32(0)
    text = TokenBuffer([*ids.tolist(), 1], CONTEXT + TOKENS + 1)
    chooser = Chooser(text, SamplingParams(), decoder.config.vocab_size)
    asked = chooser.ask(never, TOKENS, 60.0)
    assert asked is not None
    decoder.write_many([(asked, cache)], never)
    return len(chooser.take())


def _works(decoder: NativeDecoder, rows: int) -> dict[str, tuple[int, int]]:
    """Bytes that a part reads and products that it makes, as far as it does one of the two."""
    config, chunks = decoder.config, -(-rows // decoder.prefill_chunk)
    works = {}
    for part, name in (("qkv", "qkv"), ("o", "o"), ("gate and up", "gate_up"), ("down", "down")):
        each = [decoder._modules[f"layers.{i}.{name}"] for i in range(config.n_layers)]
        weights = sum(linear.out_features * linear.in_features for linear in each)  # type: ignore[attr-defined]
        works[part] = chunks * sum(linear.data.nbytes for linear in each), rows * weights  # type: ignore[attr-defined]
    head = decoder.head
    scored = rows if rows < decoder.prefill_chunk else 1
    works["head"] = head.data.nbytes, scored * head.out_features * head.in_features  # type: ignore[attr-defined]
    seen = sum(CONTEXT + row + 1 for row in range(rows))
    products = 2 * config.n_layers * config.n_heads * config.head_dim * seen
    works[ATTENTION] = chunks * config.kv_bytes(CONTEXT + rows), products
    return works


def _bounds(part: str, work: tuple[int, int] | None, spent: float, limits: _Limits) -> Row:
    """How near a part comes to what the machine can do."""
    if work is None or not spent:
        return dict.fromkeys(("read_mb", "gb_per_s", "memory", "gmac_per_s", "products", "bound_by"))
    read, products = work
    memory = read / spent / limits.bytes_s
    # the limit is of bytes and integers, and attention adds in fp32
    made = None if part == ATTENTION else products / spent / limits.products_s
    nearest = max(("memory", memory), ("products", made or 0.0), key=lambda each: each[1])
    return {
        "read_mb": read / 1e6,
        "gb_per_s": read / spent / 1e9,
        "memory": memory,
        "gmac_per_s": products / spent / 1e9,
        "products": made,
        "bound_by": nearest[0] if nearest[1] >= BOUND else None,
    }
