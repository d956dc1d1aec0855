"""Matrices of 16 bits: every path adds in the one order that is promised, whatever the shape and the company."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
import torch
from torch import Tensor

from engine.native.compilation import why_not
from engine.native.kernels import Library, PairPath, library
from engine.quantization.bf16 import Bf16PanelLinear

pytestmark = pytest.mark.skipif(library() is None, reason=why_not() or "the kernels were not built")

SHAPES = [(1, 1), (16, 2), (17, 3), (33, 31), (48, 64), (64, 33), (389, 108), (576, 257)]
"""Outputs and inputs: whole panels and pairs, and what is left of them."""
ROWS = [1, 2, 3, 4, 5, 7, 8, 11, 12, 13, 23, 24, 25, 47]


def kernels() -> Library:
    found = library()
    assert found is not None
    return found


@pytest.fixture
def paths() -> Iterator[Library]:
    """The kernels, whose path a test may change."""
    lib = kernels()
    fastest = lib.pair_path
    yield lib
    lib.use_pair_path(fastest)


def random(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def in_order(weight: Tensor, x: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x Wᵀ + bias`` as ``pairs.h`` promises it, fp32 ``[rows, out]``.

    A product of two bf16 is exact in 64 bits, and so is, of what rounds to 32 bits, the sum with one in 32 bits: each
    step is a fused multiply-add. (Denormals are left out: there are none.)
    """
    w, v = weight.to(torch.bfloat16).double(), x.to(torch.bfloat16).double()
    sums = torch.zeros(x.shape[0], weight.shape[0])
    inputs = weight.shape[1]
    for even in range(0, inputs, 2):
        for k in (even + 1, even):
            if k < inputs:
                sums = (sums.double() + v[:, k, None] * w[None, :, k]).float()
    return sums if bias is None else sums + bias


@pytest.mark.parametrize("path", PairPath)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_path_adds_in_the_order_that_is_promised(paths: Library, path: PairPath, shape: tuple[int, int]) -> None:
    if path > paths.pair_path:
        pytest.skip(f"this processor has no {path.name}")
    weight, bias = random(shape, 0).bfloat16(), random(shape[:1], 1)
    linear = Bf16PanelLinear.pack(weight, bias)
    paths.use_pair_path(path)
    for rows in ROWS:
        x = random((rows, shape[1]), rows)
        assert torch.equal(paths.multiply(linear.matrix, x), in_order(weight, x, bias)), rows


@pytest.mark.parametrize("path", PairPath)
def test_the_smallest_and_the_largest_numbers_come_out_alike(paths: Library, path: PairPath) -> None:
    """Denormals count as zero everywhere, products that leave the range are infinite, and no NaN is lost."""
    if path > paths.pair_path:
        pytest.skip(f"this processor has no {path.name}")
    generator = torch.Generator().manual_seed(7)
    bits = torch.randint(-(2**15), 2**15, (80, 30), generator=generator, dtype=torch.int16)
    weight = bits.view(torch.bfloat16)
    weight[:16] = random((16, 30), 1) * 1e-38
    weight[16:32] = random((16, 30), 2) * 1e-20
    x = torch.cat([random((9, 30), seed) * 10.0**power for seed, power in enumerate((-45, -39, -38, -20, 0, 20, 38))])
    x[4, 3], x[5, 7], x[6, 0] = torch.nan, torch.inf, -torch.inf
    linear = Bf16PanelLinear.pack(weight, None)
    wanted = paths.multiply(linear.matrix, x)
    paths.use_pair_path(path)
    got = paths.multiply(linear.matrix, x)
    assert torch.equal(got.isnan(), wanted.isnan())
    assert torch.equal(got.nan_to_num(), wanted.nan_to_num())
    assert got[4].isnan().all()
    assert not got[5:7].isfinite().any()
    ordinary = got[9:, :16]
    assert ordinary.isfinite().all()


def test_a_product_keeps_to_the_path_that_it_began_with(paths: Library) -> None:
    """Paths lay rows out in blocks and bytes of their own."""
    linear = Bf16PanelLinear.pack(random((64, 256), 0), None)
    x = random((301, 256), 1)
    wanted = paths.multiply(linear.matrix, x)
    over = Event()

    def switch() -> None:
        while not over.is_set():
            for path in PairPath:
                if path <= fastest:
                    paths.use_pair_path(path)

    fastest = paths.pair_path
    with ThreadPoolExecutor() as pool:
        switching = pool.submit(switch)
        try:
            got = [paths.multiply(linear.matrix, x) for _ in range(100)]
        finally:
            over.set()
        switching.result()
    assert all(torch.equal(each, wanted) for each in got)


def test_denormals_of_what_was_asked_for_after_it_are_left_alone() -> None:
    """What the kernels set for themselves is not left behind in the threads that they borrow."""
    linear = Bf16PanelLinear.pack(random((64, 64), 0), None)
    linear(random((30, 64), 1))
    tiny = torch.full((100_000,), 1e-40)
    assert bool((tiny * 1.0 == tiny).all())


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_row_is_the_same_beside_any_number_of_others(threads: int) -> None:
    weight, bias = random((200, 96), 0), random((200,), 1)
    linear = Bf16PanelLinear.pack(weight, bias)
    x = random((4096, 96), 2)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        whole = kernels().multiply(linear.matrix, x)
        for rows in (*range(1, 30), 63, 128, 131, 509, 512, 2047, 4095):
            first = rows * 7 % (4097 - rows)
            part = kernels().multiply(linear.matrix, x[first : first + rows])
            assert torch.equal(part, whole[first : first + rows]), rows
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_an_embeddings_rows_are_the_weights(shape: tuple[int, int]) -> None:
    weight = random(shape, 0).bfloat16()
    linear = Bf16PanelLinear.pack(weight, None)
    ids = torch.tensor([shape[0] - 1, 0, shape[0] // 2])
    assert torch.equal(linear.rows(ids), weight[ids])
    assert torch.equal(kernels().lookup(linear.matrix, ids), weight[ids].float())


def test_a_path_that_the_processor_lacks_is_refused(paths: Library) -> None:
    for number in (-1, len(PairPath)):
        with pytest.raises(ValueError, match="this processor has no"):
            paths.use_pair_path(_Wrong(number))


class _Wrong(int):
    name = "such path"
