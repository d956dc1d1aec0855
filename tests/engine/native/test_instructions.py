"""Whatever instructions the kernels are built for, and however many rows share a product: the same bits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import inf, nan

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import GearboxError
from engine.models.decoders.native_decoder import NativeDecoder
from engine.native.compilation import (
    INSTRUCTIONS,
    Instructions,
    build,
    build_in_background,
    built_library,
    instructions,
    kernels_built,
    lacking,
)
from engine.native.kernels import Kind, Library, Matrix
from engine.types import KVDtype, Precision
from tests.engine.models.test_decoder import load_tiny
from tests.engine.native.test_company import on_threads
from tests.engine.native.test_kernels import needs_kernels
from tests.support.tiny import make_tiny_checkpoint

pytestmark = needs_kernels

LEVELS = torch.arange(-120, 120, 15, dtype=torch.int8), torch.arange(0, 128, 8, dtype=torch.int8)
HALVES = {Kind.INT4: 16, Kind.NF4: 8, Kind.INT8: 0}
"""fp16 scales and minima of a group of a panel."""
CODES = {Kind.INT4: 128, Kind.NF4: 128, Kind.INT8: 256}
"""Bytes of a group of a panel before them."""


def built_for(wanted: Instructions) -> Library:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(INSTRUCTIONS, str(wanted))
        path = build()
    assert path is not None
    kernels = Library(path)
    kernels.set_nf4_table(*LEVELS)
    return kernels


@pytest.fixture(scope="module", params=Instructions, ids=str)
def kernels(request: pytest.FixtureRequest) -> Library:
    if missing := lacking(request.param):
        pytest.skip(f"this processor lacks {', '.join(sorted(missing))}: its {request.param} kernels are not run here")
    return built_for(request.param)


@pytest.fixture(scope="module")
def plainest() -> Library:
    return built_for(Instructions.AVX2)


@dataclass(frozen=True)
class Product:
    """Random weights and activations of a shape."""

    kind: Kind
    panels: int
    groups: int
    rows: int
    biased: bool
    seed: int

    @cached_property
    def _generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed)

    @cached_property
    def data(self) -> torch.Tensor:
        shape = self.panels, self.groups, CODES[self.kind] + 2 * HALVES[self.kind]
        data = torch.randint(0, 256, shape, generator=self._generator).to(torch.uint8)
        if count := HALVES[self.kind]:
            halves = torch.randn((self.panels, self.groups, count), generator=self._generator).half()
            data[..., CODES[self.kind] :] = halves.view(torch.uint8)
        return data

    @cached_property
    def per_output(self) -> torch.Tensor:
        return torch.randn((2, 8 * self.panels), generator=self._generator)

    @cached_property
    def x(self) -> torch.Tensor:
        return torch.randn((self.rows, 32 * self.groups), generator=self._generator)

    @property
    def matrix(self) -> Matrix:
        scales, bias = (row.data_ptr() for row in self.per_output)
        scaled = self.kind is Kind.INT8
        outputs, inputs = 8 * self.panels, 32 * self.groups
        return Matrix(
            self.kind, outputs, inputs, self.data.data_ptr(), scales if scaled else None, bias if self.biased else None
        )


products = st.builds(
    Product,
    kind=st.sampled_from([Kind.INT4, Kind.NF4, Kind.INT8]),
    panels=st.integers(1, 9),
    groups=st.integers(1, 40),
    rows=st.one_of(st.integers(1, 40), st.integers(41, 300), st.sampled_from([511, 512, 2048, 4096])),
    biased=st.booleans(),
    seed=st.integers(0, 1000),
)


@given(st.lists(products, min_size=1, max_size=2), st.integers(1, 5), st.data())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_row_is_what_the_plainest_kernels_make_of_it_alone(
    kernels: Library, plainest: Library, asked: list[Product], threads: int, data: st.DataObject
) -> None:
    """Of matrices in turn, on more threads than there are panels too."""
    for product in asked:
        with on_threads(threads):
            got = kernels.multiply(product.matrix, product.x)
        some = data.draw(st.lists(st.integers(0, product.rows - 1), min_size=1, max_size=4, unique=True))
        with on_threads(1):
            for row in (*some, product.rows - 1):
                assert torch.equal(got[row : row + 1], plainest.multiply(product.matrix, product.x[row : row + 1]))


@pytest.mark.parametrize("kind", HALVES, ids=lambda kind: kind.name.lower())
@pytest.mark.parametrize("bad", [nan, inf, -inf])
@pytest.mark.parametrize("rows", [3, 30])
def test_what_is_no_number_stays_none_and_alone(kernels: Library, kind: Kind, bad: float, rows: int) -> None:
    product = Product(kind, 5, 20, rows, biased=False, seed=1)
    sound = kernels.multiply(product.matrix, product.x)
    product.x[1, 333] = bad
    got = kernels.multiply(product.matrix, product.x)
    assert got[1].isnan().all()
    others = torch.arange(rows) != 1
    assert torch.equal(got[others], sound[others])


@pytest.fixture(scope="module", params=[(1, 32), (2, 64), (1, 80)], ids=lambda shape: f"{shape[0]} of {shape[1]}")
def decoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> NativeDecoder:
    """Key-value heads for four heads of so many dimensions. Its second layer sees a window."""
    kv_heads, head_dim = request.param
    folder = make_tiny_checkpoint(
        tmp_path_factory.mktemp("tiny"),
        "qwen3",
        hidden_size=128,
        intermediate_size=256,
        num_key_value_heads=kv_heads,
        head_dim=head_dim,
        sliding_window=40,
        use_sliding_window=True,
        max_window_layers=1,
    )
    loaded = load_tiny(folder, Precision.INT4)
    assert isinstance(loaded, NativeDecoder)
    return loaded


@pytest.mark.parametrize("dtype", KVDtype, ids=str)
@pytest.mark.parametrize("pieces", [(150,), (37, 113), (90, 1, 59), (3, 147)], ids=str)
@torch.inference_mode()
def test_long_pieces_of_a_text_are_read_as_token_by_token(
    kernels: Library, plainest: Library, decoder: NativeDecoder, dtype: KVDtype, pieces: tuple[int, ...]
) -> None:
    """Attention of many rows too, beside another text."""
    ids = torch.randint(0, 384, (sum(pieces),), generator=torch.Generator().manual_seed(len(pieces)))

    def read(library: Library, cut: tuple[int, ...]) -> list[torch.Tensor]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(decoder, "_library", library)
            cache = decoder.new_cache(len(ids), dtype)
            hidden = [decoder.forward(piece, cache) for piece in ids.split(cut)]
        return [torch.cat(hidden), *(layer[: cache.length] for layer in cache.layers)]

    with on_threads(1):
        wanted = read(plainest, (1,) * len(ids))
    with on_threads(2):
        got = read(kernels, pieces)
    assert all(torch.equal(a, b) for a, b in zip(got, wanted, strict=True))


def test_the_instructions_are_the_best_there_are_unless_others_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(INSTRUCTIONS, raising=False)
    monkeypatch.setattr("engine.native.compilation.processor_features", lambda: frozenset({"avx2", "fma", "f16c"}))
    assert instructions() is Instructions.AVX2
    with_vnni = frozenset({"avx2", "fma", "f16c", "avx_vnni"})
    monkeypatch.setattr("engine.native.compilation.processor_features", lambda: with_vnni)
    assert instructions() is Instructions.AVX_VNNI
    monkeypatch.setenv(INSTRUCTIONS, "avx2")
    assert instructions() is Instructions.AVX2
    monkeypatch.setenv(INSTRUCTIONS, "avx512-vnni")
    with pytest.raises(GearboxError, match=r"lacks .*avx512_vnni.* has is avx-vnni, avx2\."):
        instructions()
    monkeypatch.setenv(INSTRUCTIONS, "mmx")
    with pytest.raises(GearboxError, match=r"'mmx'.* has is avx-vnni, avx2\."):
        instructions()


@pytest.mark.parametrize("call", [build, built_library, kernels_built, build_in_background])
def test_what_is_asked_for_in_vain_is_refused_where_there_can_be_kernels(
    call: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(INSTRUCTIONS, "mmx")
    with pytest.raises(GearboxError, match="GEARBOX_INSTRUCTIONS"):
        call()
    monkeypatch.setattr("engine.native.compilation.processor_features", lambda: frozenset({"neon"}))
    assert call() is None
