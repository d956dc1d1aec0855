"""What the kernels refuse of models and matrices."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.cache import KVCache
from engine.models.decoders.native_decoder import NativeDecoder
from engine.native.compilation import built_library
from engine.native.kernels import Kind, Library, Matrix, Model
from engine.native.structures import REFUSALS
from engine.quantization import cuda_scheme_of, scheme_of
from engine.quantization.bf16 import Bf16PanelLinear, NativeBf16Linear
from engine.quantization.int4 import NativeInt4Linear
from engine.quantization.int8 import NativeInt8Linear
from engine.quantization.nf4 import NativeNf4Linear
from engine.types import PRECISIONS, KVDtype, Precision
from tests.engine.native.test_kernels import needs_kernels
from tests.engine.quantization.test_schemes import matrix
from tests.support.native_checks import DIMENSIONS, MATRICES, MOST, kernels, status_of

UNSCALED = (Kind.INT4, Kind.NF4, Kind.BF16, Kind.BF16_PANELS)
"""Kinds whose matrices have no scales apart."""


def altered(decoder: NativeDecoder) -> Model:
    """A copy of a decoder's structures that may be spoilt."""
    model = Model.from_buffer_copy(decoder._model)
    layers = type(decoder._layers).from_buffer_copy(decoder._layers)
    model.layers = layers
    return model


@needs_kernels
@torch.inference_mode()
def test_a_model_spoilt_after_it_was_made_computes_nothing(decoder: NativeDecoder) -> None:
    model = altered(decoder)
    model.layers[1].down.kind = 9
    assert "unknown kind" in REFUSALS[status_of(decoder, model=ctypes.byref(model))]


@needs_kernels
def test_a_sound_model_passes(decoder: NativeDecoder) -> None:
    kernels().check_model(altered(decoder))


@needs_kernels
@given(st.sampled_from(DIMENSIONS), st.integers(-(2**31), MOST) | st.integers(-2, 300))
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_model_with_any_other_dimension_is_refused(decoder: NativeDecoder, name: str, value: int) -> None:
    """But for fewer layers, which are a model too."""
    model = altered(decoder)
    sound = getattr(model, name)
    setattr(model, name, value)
    if value == sound or (name == "n_layers" and 0 < value < sound):
        kernels().check_model(model)
    elif name == "n_layers" and value > sound:
        return  # how many layers lie there is the caller's to know: NativeDecoder makes the array
    else:
        with pytest.raises(ValueError, match="The kernels refuse"):
            kernels().check_model(model)


@needs_kernels
@given(
    st.integers(0, 1),
    st.sampled_from(MATRICES),
    st.sampled_from(["kind", "outputs", "inputs", "data"]),
    st.integers(-(2**31), MOST) | st.integers(-2, 300),
)
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_matrix_of_another_shape_or_kind_is_refused(
    decoder: NativeDecoder, layer: int, name: str, field: str, value: int
) -> None:
    model = altered(decoder)
    spoilt: Matrix = getattr(model.layers[layer], name)
    if field == "data":
        spoilt.data = None
    elif value == getattr(spoilt, field) or (field == "kind" and value in UNSCALED):
        return  # kinds of the same shape: that the data are of that kind is NativeLinear's to see to
    else:
        setattr(spoilt, field, value)
    with pytest.raises(ValueError, match="The kernels refuse"):
        kernels().check_model(model)


SPOIL: dict[str, Callable[[Model], Any]] = {
    "no frequencies": lambda m: setattr(m, "inv_freq", None),
    "no final norm": lambda m: setattr(m, "final_norm", None),
    "no layers": lambda m: setattr(m, "layers", None),
    "no input norm": lambda m: setattr(m.layers[1], "input_norm", None),
    "no post norm": lambda m: setattr(m.layers[0], "post_norm", None),
    "one of q and k norms": lambda m: setattr(m.layers[0], "k_norm", None),
    "a norm at an odd address": lambda m: setattr(m.layers[0], "input_norm", m.layers[0].input_norm + 1),
    "a bias at an odd address": lambda m: setattr(m.layers[0].o, "bias", m.final_norm + 2),
    "scales where there are none": lambda m: setattr(m.layers[0].o, "scales", m.final_norm),
    "no scales where there are": lambda m: setattr(m.embedding, "scales", None),
    "an embedding in 4 bits": lambda m: setattr(m.embedding, "kind", Kind.INT4),
    "an embedding of another width": lambda m: setattr(m.embedding, "inputs", 64),
    "a window into the future": lambda m: setattr(m.layers[0], "window", -1),
    "an endless epsilon": lambda m: setattr(m, "norm_eps", float("inf")),
    "a negative epsilon": lambda m: setattr(m, "norm_eps", -1.0),
    "a rope scaling that is no number": lambda m: setattr(m, "rope_scaling", float("nan")),
}


@needs_kernels
@pytest.mark.parametrize("spoil", SPOIL.values(), ids=SPOIL)
def test_a_model_that_lacks_something_is_refused(decoder: NativeDecoder, spoil: Callable[[Model], Any]) -> None:
    model = altered(decoder)
    spoil(model)
    with pytest.raises(ValueError, match="The kernels refuse"):
        kernels().check_model(model)


@needs_kernels
@pytest.mark.parametrize("kind", [len(Kind), -1, 77, MOST])
def test_an_unknown_kind_is_an_error_and_not_eight_bits(kind: int) -> None:
    linear = NativeInt8Linear.pack(matrix(64, 64), None)
    linear.matrix.kind = kind
    with pytest.raises(ValueError, match="unknown kind"):
        linear(torch.ones(1, 64))
    with pytest.raises(ValueError, match="unknown kind"):
        kernels().lookup(linear.matrix, torch.tensor([0]))


def test_structures_of_another_layout_are_no_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    path = built_library()
    if path is None:
        pytest.skip("the kernels were not built")
    Library(path)
    monkeypatch.setattr("engine.native.kernels.layout", lambda: [1, 2, 3])
    with pytest.raises(RuntimeError, match="another layout"):
        Library(path)


@needs_kernels
def test_panels_of_sixteen_bits_are_of_the_features_they_are_said_to_hold() -> None:
    data = Bf16PanelLinear.pack(matrix(50, 33), None).data
    Bf16PanelLinear(data, (50, 33), None)
    Bf16PanelLinear(data, (64, 34), None)
    for features in ((48, 33), (65, 33), (50, 35), (50, 32), (0, 33)):
        with pytest.raises(ValueError, match=r"for .* outputs by .* inputs"):
            Bf16PanelLinear(data, features, None)
    for wrong in (data.float(), data[..., :-1], data[..., ::2], data.to("meta"), data.view(torch.int32)):
        with pytest.raises(ValueError, match="the kernels want"):
            Bf16PanelLinear(wrong, (50, 33), None)
    with pytest.raises(ValueError, match="the kernels want"):
        Bf16PanelLinear(data, (50, 33), torch.zeros(49))


def tensors(cls: type[NativeInt4Linear | NativeInt8Linear | NativeNf4Linear | NativeBf16Linear]) -> dict[str, Any]:
    linear = cls.pack(matrix(64, 64), matrix(1, 64)[0])
    return {"data": linear.data, "scale": linear.scale, "bias": linear.bias}


@needs_kernels
@pytest.mark.parametrize("cls", [NativeInt4Linear, NativeNf4Linear, NativeInt8Linear, NativeBf16Linear])
def test_a_matrix_is_made_of_its_own_kind_of_tensors_alone(cls: type[NativeInt4Linear]) -> None:
    good = tensors(cls)
    cls(**good)
    data, scale, bias = good["data"], good["scale"], good["bias"]
    wrong: list[dict[str, Any]] = [
        {"data": data.float()},
        {"data": data[..., :-1]},
        {"data": data.transpose(0, 1)},
        {"data": data.to("meta")},
        {"data": data.flatten()},
        {"data": data[..., ::2]},
        {"bias": bias[:-1]},
        {"bias": torch.zeros(1, 64)},
        {"bias": bias.to("meta")},
        {"scale": torch.ones(64) if scale is None else None},
    ]
    if cls is not NativeBf16Linear:
        wrong.append({"data": torch.cat([data, data], dim=-1)})
    if scale is not None:
        wrong += [{"scale": scale[:-1]}, {"scale": scale.half()}, {"scale": scale[None]}]
    for change in wrong:
        with pytest.raises(ValueError, match=r"the kernels want|dimensions|against its layout"):
            cls(**good | change)


@needs_kernels
@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("norm", lambda t: t[:-1]),
        ("layers.0.input_norm", lambda t: t[:64]),
        ("layers.1.post_norm", lambda t: torch.cat([t, t])),
        ("layers.0.q_norm", lambda t: t[:16]),
        ("layers.1.k_norm", lambda t: t[None]),
    ],
)
def test_norms_of_another_shape_are_refused(decoder: NativeDecoder, name: str, change: Any) -> None:
    norms = decoder._norms | {name: change(decoder._norms[name])}
    with pytest.raises(ValueError, match="the kernels want"):
        NativeDecoder(decoder.config, kernels(), decoder._modules, norms)
    for missing in ("norm", "layers.0.input_norm", "layers.1.post_norm", "layers.1.q_norm"):
        fewer = {key: norm for key, norm in decoder._norms.items() if key != missing}
        with pytest.raises(ValueError, match="an address is missing"):
            NativeDecoder(decoder.config, kernels(), decoder._modules, fewer)


def test_an_unknown_precision_is_an_error_and_not_sixteen_bits() -> None:
    unknown = cast(Precision, "int3")
    for native in (False, True):
        with pytest.raises(AssertionError):
            scheme_of(unknown, native=native)
    with pytest.raises(AssertionError):
        cuda_scheme_of(unknown, torch.device("cpu"))
    with pytest.raises(AssertionError):
        KVCache(1, 8, 1, 16, dtype=cast(KVDtype, "int2"))
    with pytest.raises(AssertionError):
        KVCache.estimate_bytes(1, 8, 1, 16, cast(KVDtype, "int2"))


def test_every_precision_has_a_scheme() -> None:
    for precision in PRECISIONS:
        assert scheme_of(precision, native=False).kernel
        assert cuda_scheme_of(precision, torch.device("cpu")).kernel
