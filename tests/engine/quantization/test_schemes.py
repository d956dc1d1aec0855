"""Every precision's matrix: how far its product may lie from 16 bits, and what must not matter."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from engine.native.kernels import library
from engine.quantization import GroupCodes, Linear, quantize_groups, scheme_of
from engine.quantization.bf16 import Bf16Linear, Bf16PanelLinear, NativeBf16Linear
from engine.quantization.int4 import MIN_ROWS_DEQUANTIZED, Int4Linear, NativeInt4Linear
from engine.quantization.int8 import Int8Linear, NativeInt8Linear
from engine.quantization.native import NativeLinear
from engine.quantization.nf4 import NativeNf4Linear, Nf4Linear
from engine.types import CPU_PRECISIONS, PRECISIONS, Precision

PACKED: dict[str, tuple[type[Linear], float]] = {
    "bf16": (Bf16Linear, 0.01),
    "int8": (Int8Linear, 0.02),
    "int4": (Int4Linear, 0.13),
    "nf4": (Nf4Linear, 0.13),
}
NATIVE: dict[str, tuple[type[Linear], float]] = {
    "native-bf16": (NativeBf16Linear, 0.01),
    "native-bf16-panels": (Bf16PanelLinear, 0.01),
    "native-int8": (NativeInt8Linear, 0.02),
    "native-int4": (NativeInt4Linear, 0.13),
    "native-nf4": (NativeNf4Linear, 0.13),
}
if library():
    PACKED |= NATIVE
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
    if cls not in (Bf16Linear, Bf16PanelLinear, NativeBf16Linear):
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


def on_a_grid(out_features: int, groups: int, seed: int) -> GroupCodes:
    """Codes as a Q4_1 file has them, not every group using all sixteen levels."""
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(0, 16, (out_features, groups * 32), generator=generator, dtype=torch.uint8)
    codes[::3] = codes[::3].clamp(2, 11)
    scale = (torch.rand(out_features, groups, generator=generator) * 0.02 + 0.001).half().float()
    return GroupCodes(codes, scale, (-8 * scale).half().float())


@pytest.mark.parametrize("name", ["int4", "native-int4"])
def test_int4_keeps_the_codes_it_is_given(name: str) -> None:
    if name not in PACKED:
        pytest.skip("the kernels of our own cannot be built here")
    codes = on_a_grid(64, 4, seed=7)
    linear = PACKED[name][0].pack(torch.zeros(64, 128), None, codes)
    if isinstance(linear, NativeInt4Linear):
        kept = linear.codes()
        assert torch.equal(kept.codes, codes.codes)
        assert torch.equal(kept.dequantize(), codes.dequantize())
    else:
        assert isinstance(linear, Int4Linear)
        assert relative_error(linear.dequantize_transposed().T, codes.dequantize()) < 0.004


def test_int4_finds_the_codes_of_a_full_grid_again() -> None:
    codes = on_a_grid(64, 4, seed=7)
    codes.codes.view(64, 4, 32)[..., :2] = torch.tensor([0, 15], dtype=torch.uint8)
    assert relative_error(quantize_groups(codes.dequantize()).dequantize(), codes.dequantize()) < 1e-3


def test_int4_beats_the_grid_from_minimum_to_maximum() -> None:
    weight = matrix(64, 256).float()
    groups = weight.view(64, 8, 32)
    low, high = torch.aminmax(groups, dim=-1, keepdim=True)
    scale = (high - low) / 15
    plain = (((groups - low) / scale).round() * scale + low).view(64, 256)
    assert relative_error(quantize_groups(weight).dequantize(), weight) < 0.97 * relative_error(plain, weight)


@pytest.mark.parametrize("precision", [p for p in CPU_PRECISIONS if p is not Precision.BF16])
@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("shape", [(60, 64), (64, 48), (61, 37)], ids=str)
def test_a_shape_that_a_kernel_refuses_is_held_in_another_way(
    precision: Precision, native: bool, shape: tuple[int, int]
) -> None:
    if native and not library():
        pytest.skip("the kernels of our own cannot be built here")
    weight, x = matrix(*shape), matrix(3, shape[1], seed=1)
    for is_head in (False, True):
        linear = scheme_of(precision, native=native).linear(*shape, is_head=is_head).pack(weight, None)
        assert relative_error(linear(x), x.float() @ weight.float().T) < 0.13
        if native and f"native-{precision}" in NATIVE:
            assert isinstance(linear, NativeLinear)


def test_int4_keeps_a_constant_group() -> None:
    weight = torch.full((64, 64), 0.5, dtype=torch.bfloat16)
    x = torch.ones(1, 64, dtype=torch.bfloat16)
    for name in PACKED.keys() & {"int4", "native-int4"}:
        assert torch.allclose(PACKED[name][0].pack(weight, None)(x), torch.tensor(32.0, dtype=torch.bfloat16))


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


@pytest.mark.skipif(not library(), reason="the kernels of our own cannot be built here")
def test_native_nf4_has_the_values_of_bitsandbytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.quantization.nf4.fused_kernel_available", lambda: False)
    weight = matrix(64, 128)
    wanted = Nf4Linear.pack(weight, None).dequantize().float()
    eye = torch.eye(128)  # one input at a time: quantized activations are exact
    got = NativeNf4Linear.pack(weight, None)(eye).T
    assert torch.allclose(got, wanted, rtol=2**-8, atol=1e-4)  # bitsandbytes rounds to bf16


@pytest.mark.parametrize("rows", [1, 2, 5, 8, 16, 40])
def test_a_row_is_the_same_whatever_is_computed_beside_it(rows: int) -> None:
    """Bit for bit; speculation and prefix reuse rest on it."""
    x = matrix(64, 256, seed=3).float()
    for name, (cls, _) in PACKED.items():
        if not name.startswith("native"):
            continue
        linear = cls.pack(matrix(192, 256), matrix(1, 192, seed=2)[0])
        assert torch.equal(linear(x[7 : 7 + rows]), linear(x)[7 : 7 + rows]), name


@pytest.mark.skipif(not library(), reason="the kernels of our own cannot be built here")
def test_what_is_not_a_number_stays_visible() -> None:
    x = torch.ones(2, 64)
    x[1, 5] = torch.inf
    for cls, _ in NATIVE.values():
        y = cls.pack(matrix(64, 64), None)(x)
        assert torch.isfinite(y[0]).all()
        assert not torch.isfinite(y[1]).any()


def test_embedding_rows_are_the_weights_rows() -> None:
    weight = matrix(64, 32)
    ids = torch.tensor([3, 3, 63, 0])
    for precision in PRECISIONS:
        for native in (False, True) if library() else (False,):
            head = scheme_of(precision, native=native).head.pack(weight, None)
            assert relative_error(head.rows(ids), weight[ids]) < 0.01
