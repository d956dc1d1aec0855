"""Every precision's matrix: how far its product may lie from 16 bits, and what must not matter."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from engine.quantization import SCHEMES, Linear
from engine.quantization.bf16 import Bf16Linear
from engine.quantization.int4 import MIN_ROWS_DEQUANTIZED, Int4Linear
from engine.quantization.int8 import Int8Linear
from engine.quantization.nf4 import Nf4Linear

PACKED = {
    "bf16": (Bf16Linear, 0.01),
    "int8": (Int8Linear, 0.02),
    "int4": (Int4Linear, 0.13),
    "nf4": (Nf4Linear, 0.13),
}
"""Class, and the largest relative error its product may have on normally distributed weights."""


def matrix(out_features: int, in_features: int, seed: int = 0) -> Tensor:
    return torch.randn(out_features, in_features, generator=torch.Generator().manual_seed(seed)).to(torch.bfloat16)


def relative_error(got: Tensor, wanted: Tensor) -> float:
    return float((got.float() - wanted.float()).norm() / wanted.float().norm())


@pytest.fixture(params=PACKED, ids=str)
def packed(request: pytest.FixtureRequest) -> tuple[type[Linear], float]:
    return PACKED[request.param]


@pytest.mark.parametrize("rows", [1, 3, 40, MIN_ROWS_DEQUANTIZED, 200])
@pytest.mark.parametrize("biased", [False, True])
def test_product_is_close_to_full_precision(packed: tuple[type[Linear], float], rows: int, biased: bool) -> None:
    cls, bound = packed
    weight, x = matrix(192, 256), matrix(rows, 256, seed=1)
    bias = matrix(1, 192, seed=2)[0] * 10 if biased else None
    wanted = torch.nn.functional.linear(x.float(), weight.float(), None if bias is None else bias.float())
    error = relative_error(cls.pack(weight, bias)(x), wanted)
    assert error < bound
    if cls is not Bf16Linear:
        assert error > 1e-4, "nothing was quantized"


def test_state_round_trips(packed: tuple[type[Linear], float]) -> None:
    cls, _ = packed
    linear = cls.pack(matrix(128, 128), matrix(1, 128, seed=3)[0])
    again = cls.from_state({name: tensor.clone() for name, tensor in linear.state().items()})
    x = matrix(2, 128, seed=4)
    assert torch.equal(again(x), linear(x))


def test_estimate_is_what_the_state_weighs(packed: tuple[type[Linear], float]) -> None:
    cls, _ = packed
    state = cls.pack(matrix(192, 256), None).state()
    weight = sum(tensor.nbytes for name, tensor in state.items() if name != "shape")
    assert cls.estimate_bytes(192, 256) == weight


def test_nf4_estimate_holds_without_the_fused_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.quantization.nf4.fused_kernel_available", lambda: False)
    state = Nf4Linear.pack(matrix(192, 256), None).state()
    assert Nf4Linear.estimate_bytes(192, 256) == state["codes"].nbytes + state["absmax"].nbytes


def test_strided_rows_give_the_same_product(packed: tuple[type[Linear], float]) -> None:
    linear = packed[0].pack(matrix(128, 128), None)
    wide = matrix(4, 256, seed=5)
    strided = wide[:, ::2]
    assert torch.equal(linear(strided), linear(strided.contiguous()))


@pytest.mark.parametrize("out_features", [192, 80], ids=["whole blocks", "a part of a block"])
def test_int4_prefill_uses_the_weights_that_decoding_uses(out_features: int) -> None:
    linear = Int4Linear.pack(matrix(out_features, 256), None)
    x = matrix(MIN_ROWS_DEQUANTIZED, 256, seed=6)
    row_by_row = torch.cat([linear(row[None]) for row in x])
    assert relative_error(linear(x), row_by_row) < 0.005


def test_int4_finds_the_codes_of_a_grid_again() -> None:
    """Weights on a 16-level grid per group, as a Q4_1 file has them, lose only the grid's rounding."""
    generator = torch.Generator().manual_seed(7)
    codes = torch.randint(0, 16, (64, 4, 32), generator=generator)
    codes[..., 0], codes[..., 1] = 0, 15
    scale = torch.rand(64, 4, 1, generator=generator) * 0.02 + 0.001
    low = -8 * scale
    weight = (codes * scale + low).view(64, 128).to(torch.bfloat16)
    got = Int4Linear.pack(weight, None).dequantize_transposed().T
    assert relative_error(got, weight) < 0.004


@pytest.mark.parametrize("shape", [(60, 64), (64, 48)])
def test_int4_refuses_shapes_its_kernel_cannot_read(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="int4 needs"):
        Int4Linear.pack(matrix(*shape), None)


def test_int4_keeps_a_constant_group() -> None:
    weight = torch.full((64, 64), 0.5, dtype=torch.bfloat16)
    x = torch.ones(1, 64, dtype=torch.bfloat16)
    assert torch.allclose(Int4Linear.pack(weight, None)(x), torch.tensor(32.0, dtype=torch.bfloat16))


def test_nf4_unpacked_weights_take_the_slow_way_to_the_same_product(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fused kernel reads plain codes as garbage, so they must never reach it."""
    fused = Nf4Linear.pack(matrix(128, 128), None)
    monkeypatch.setattr("engine.quantization.nf4.fused_kernel_available", lambda: False)
    plain = Nf4Linear.pack(matrix(128, 128), None)
    x = matrix(3, 128, seed=8)
    assert relative_error(plain(x), fused(x)) < 0.01
    assert relative_error(fused.dequantize(), plain.dequantize()) < 0.01


def test_nf4_takes_rows_that_do_not_divide_by_its_block() -> None:
    weight, x = matrix(72, 64), matrix(2, 64, seed=9)
    wanted = x.float() @ weight.float().T
    assert relative_error(Nf4Linear.pack(weight, None)(x), wanted) < 0.13


def test_embedding_rows_are_the_weights_rows() -> None:
    weight = matrix(64, 32)
    ids = torch.tensor([3, 3, 63, 0])
    for scheme in SCHEMES.values():
        assert relative_error(scheme.head.pack(weight, None).rows(ids), weight[ids]) < 0.01
