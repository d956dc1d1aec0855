"""What the kernels refuse: whatever would make them read or write outside of what they were given."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.cache import KVCache
from engine.generation.choosing import Chooser
from engine.generation.token_buffer import TokenBuffer
from engine.models.decoders.native_decoder import NativeDecoder
from engine.native.compilation import built_library
from engine.native.kernels import Kind, Library, Matrix, Model, Segment, Sequence, library
from engine.native.structures import REFUSALS
from engine.quantization import cuda_scheme_of, scheme_of
from engine.quantization.bf16 import NativeBf16Linear
from engine.quantization.int4 import NativeInt4Linear
from engine.quantization.int8 import NativeInt8Linear
from engine.quantization.nf4 import NativeNf4Linear
from engine.types import KVDtype, Precision, SamplingParams
from tests.engine.models.test_decoder import load_tiny
from tests.engine.native.test_kernels import needs_kernels
from tests.engine.quantization.test_schemes import matrix
from tests.support.tiny import make_tiny_checkpoint

DIMENSIONS = ("n_layers", "hidden", "inner", "n_heads", "n_kv_heads", "head_dim")
MATRICES = ("qkv", "o", "gate_up", "down")
MOST = 2**31 - 1


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> NativeDecoder:
    folder = make_tiny_checkpoint(tmp_path_factory.mktemp("tiny"), "qwen3", hidden_size=128, intermediate_size=256)
    decoder = load_tiny(folder, Precision.INT4)
    assert isinstance(decoder, NativeDecoder)
    return decoder


def kernels() -> Library:
    found = library()
    assert found is not None
    return found


def status_of(decoder: NativeDecoder, **changed: Any) -> int:
    """What the C function returns for a call of two rows into a cache of eight and one into another, some of the
    arguments changed, or of the members of the first segment."""
    caches, ids = [decoder.new_cache(8) for _ in range(2)], torch.tensor([1, 2, 3])
    hidden = torch.zeros(3, 128)
    segments = (Segment * 2)(*(Segment(rows, 0, 8, c.addresses, 0) for rows, c in zip((2, 1), caches, strict=True)))
    for name in [name for name, _ in Segment._fields_ if name in changed]:
        setattr(segments[0], name, changed.pop(name))
    arguments = {
        "model": ctypes.byref(decoder._model),
        "ids": ids.data_ptr(),
        "segments": segments,
        "count": 2,
        "hidden": hidden.data_ptr(),
        "threads": 1,
    }
    return cast(int, kernels()._lib.gearbox_forward(*(arguments | changed).values()))


@needs_kernels
@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({}, None),
        ({"start": 6}, None),
        ({"model": None}, "address is missing"),
        ({"ids": None}, "address is missing"),
        ({"kv": None}, "address is missing"),
        pytest.param({"kv": (ctypes.c_void_p * 2)()}, "address is missing", id="no layer has KV"),
        ({"hidden": None}, "address is missing"),
        ({"segments": None}, "address is missing"),
        ({"count": 0}, "no sequences"),
        ({"count": -1}, "no sequences"),
        ({"count": MOST}, "no sequences"),
        ({"rows": 2**31 - 65, "capacity": 2**31 - 65}, "no rows, or too many"),
        ({"rows": 0}, "no rows"),
        ({"rows": -1}, "no rows"),
        ({"rows": -(2**63)}, "no rows"),
        ({"rows": 9}, "beyond the KV cache"),
        ({"rows": 2**63 - 1}, "beyond the KV cache"),
        ({"start": -1}, "beyond the KV cache"),
        ({"start": 7}, "beyond the KV cache"),
        ({"start": 2**63 - 1}, "beyond the KV cache"),
        ({"capacity": 0}, "beyond the KV cache"),
        ({"capacity": 2**40}, "beyond the KV cache"),
        ({"threads": 0}, "threads"),
        ({"threads": -3}, "threads"),
        ({"threads": MOST}, "threads"),
    ],
    ids=str,
)
def test_a_pass_is_computed_or_refused_with_the_reason(
    decoder: NativeDecoder, changed: dict[str, Any], says: str | None
) -> None:
    status = status_of(decoder, **changed)
    assert (says is None) == (status == 0)
    if says:
        assert says in REFUSALS[status]


@needs_kernels
@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 383), min_size=1, max_size=8))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@torch.inference_mode()
def test_token_ids_are_looked_up_only_inside_the_vocabulary(decoder: NativeDecoder, ids: list[int]) -> None:
    cache = decoder.new_cache(8)
    if all(0 <= token < 384 for token in ids):
        decoder.forward(torch.tensor(ids), cache)
        assert cache.length == len(ids)
        return
    with pytest.raises(ValueError, match="outside the model's vocabulary"):
        decoder.forward(torch.tensor(ids), cache)
    assert cache.length == 0
    with pytest.raises(ValueError, match="outside the model's vocabulary"):
        kernels().lookup(decoder._model.embedding, torch.tensor(ids))


@needs_kernels
@torch.inference_mode()
def test_tensors_of_another_type_or_shape_are_refused(decoder: NativeDecoder) -> None:
    cache = decoder.new_cache(8)
    with pytest.raises(ValueError, match=r"torch\.int64"):
        decoder.forward(torch.tensor([1, 2], dtype=torch.int32), cache)
    with pytest.raises(ValueError, match="no rows"):
        decoder.forward(torch.empty(0, dtype=torch.int64), cache)
    for wrong in (torch.zeros(1, 64), torch.zeros(1, 128, dtype=torch.bfloat16), torch.zeros(128)):
        with pytest.raises((ValueError, IndexError)):
            decoder.logits(wrong)
    with pytest.raises(ValueError, match="strides"):
        kernels().summarize(torch.zeros(20)[::2])
    with pytest.raises(ValueError, match="no rows"):
        kernels().summarize(torch.zeros(0))


@needs_kernels
@pytest.mark.parametrize("form", [(1, 2, 32), (2, 1, 32), (2, 2, 16), (3, 2, 32)], ids=str)
def test_the_cache_of_another_model_is_refused(decoder: NativeDecoder, form: tuple[int, int, int]) -> None:
    n_layers, kv_heads, head_dim = form
    with pytest.raises(ValueError, match="a cache of"):
        decoder.forward(torch.tensor([1]), KVCache(n_layers, 8, kv_heads, head_dim))


# --- texts that are written -----------------------------------------------------------------------------


def a_sequence(decoder: NativeDecoder, keep: list[Any], **changed: Any) -> Sequence:
    """Three tokens asked for behind a text of two, some of the structure's members changed.

    Args:
        decoder: whose text it is.
        keep: takes what the structure points to.
        changed: members and their values.
    """
    cache, text = decoder.new_cache(8), TokenBuffer([1, 2], 8)
    cache.commit(1)
    out = [(ctypes.c_double * 4)() for _ in range(4)]
    state = torch.Generator().manual_seed(1).get_state()
    sequence = Sequence(
        ids=text.address,
        length=2,
        room=8,
        kv=cache.addresses,
        kv_length=1,
        kv_capacity=8,
        vocabulary=384,
        temperature=1.0,
        top_p=0.9,
        penalty=1.1,
        generator=state.data_ptr(),
        most=3,
        seconds=10.0,
        interrupted=ctypes.pointer(ctypes.c_int32(0)),
        logprobs=out[0],
        entropies=out[1],
        margins=out[2],
        times=out[3],
    )
    for name, value in changed.items():
        setattr(sequence, name, value)
    with torch.inference_mode():
        for layer in cache.layers:
            layer.zero_()
    keep += [cache, text, out, state, sequence]
    return sequence


def status_of_writing(decoder: NativeDecoder, asked: list[Sequence | None], **changed: Any) -> int:
    """What the C function returns, some of its arguments changed."""
    texts = (ctypes.POINTER(Sequence) * len(asked))(*(s and ctypes.pointer(s) for s in asked))
    arguments = {
        "model": decoder._model,
        "head": decoder._head_matrix,
        "sequences": texts,
        "count": len(asked),
        "interrupted": ctypes.c_int32(0),
        "threads": 1,
    }
    return cast(int, kernels()._lib.gearbox_write(*(arguments | changed).values()))


def written(decoder: NativeDecoder, **changed: Any) -> int:
    """What it returns for a text that is spoilt, beside one that is not, whichever comes first; the same for both."""
    keep: list[Any] = []
    spoilt, sound = a_sequence(decoder, keep, **changed), a_sequence(decoder, keep)
    status = status_of_writing(decoder, [spoilt])
    assert status_of_writing(decoder, [sound, a_sequence(decoder, keep, **changed)]) == status
    assert sound.written == (0 if status else 3)
    return status


@needs_kernels
@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({}, None),
        ({"model": None}, "address is missing"),
        ({"head": None}, "address is missing"),
        ({"sequences": None}, "address is missing"),
        ({"interrupted": None}, "address is missing"),
        ({"count": 0}, "no sequences"),
        ({"count": -7}, "no sequences"),
        ({"count": MOST}, "no sequences"),
        ({"threads": 0}, "threads"),
    ],
    ids=str,
)
def test_texts_are_written_or_refused_with_the_reason(
    decoder: NativeDecoder, changed: dict[str, Any], says: str | None
) -> None:
    keep: list[Any] = []
    status = status_of_writing(decoder, [a_sequence(decoder, keep), a_sequence(decoder, keep)], **changed)
    assert (says is None) == (status == 0)
    if says:
        assert says in REFUSALS[status]


@needs_kernels
def test_a_text_that_is_not_there_is_not_written(decoder: NativeDecoder) -> None:
    keep: list[Any] = []
    assert "address is missing" in REFUSALS[status_of_writing(decoder, [a_sequence(decoder, keep), None])]
    rows = (ctypes.c_void_p * 1)(None)
    texts = (ctypes.POINTER(Sequence) * 1)(ctypes.pointer(a_sequence(decoder, keep)))
    assert "address is missing" in REFUSALS[kernels()._lib.gearbox_choose(rows, texts, 1, 1)]
    with pytest.raises(ValueError, match="8 logits for a vocabulary of 384"):
        kernels().choose([torch.zeros(8)], [a_sequence(decoder, keep)])


EVERYTHING = (ctypes.c_int32 * 12)(*[-1] * 12)
"""A bit for each of 384 tokens."""


def biases(*pairs: tuple[int, float]) -> dict[str, Any]:
    ids, added = zip(*pairs, strict=True)
    count = len(pairs)
    return {"bias_ids": (ctypes.c_int64 * count)(*ids), "biases": (ctypes.c_float * count)(*added), "n_biases": count}


@needs_kernels
@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({}, None),
        ({"temperature": 0.0, "generator": None}, None),
        ({"ids": None}, "address is missing"),
        ({"ids": 8 * 10**6 + 1}, "where its type wants it"),
        ({"kv": None}, "address is missing"),
        ({"generator": None}, "address is missing"),
        ({"interrupted": None}, "address is missing"),
        ({"times": None}, "address is missing"),
        ({"n_stop_ids": 1}, "address is missing"),
        ({"n_stop_ids": -1}, "address is missing"),
        ({"length": 0}, "beyond the KV cache"),
        ({"length": 6}, "beyond the KV cache"),
        ({"length": 2**62}, "beyond the KV cache"),
        ({"room": 4}, "beyond the KV cache"),
        ({"most": 0}, "beyond the KV cache"),
        ({"most": MOST}, "beyond the KV cache"),
        ({"kv_length": 6}, "beyond the KV cache"),
        ({"kv_length": -1}, "beyond the KV cache"),
        ({"kv_capacity": 3}, "beyond the KV cache"),
        ({"vocabulary": 0}, "another shape"),
        ({"vocabulary": 385}, "another shape"),
        ({"temperature": float("nan")}, "not finite"),
        ({"temperature": -1.0}, "not finite"),
        ({"penalty": 0.0}, "not finite"),
        ({"top_p": float("inf")}, "not finite"),
        ({"top_k": -1}, "not finite"),
        ({"seconds": float("nan")}, "not finite"),
        ({"frequency": float("nan")}, "not finite"),
        ({"presence": float("inf")}, "not finite"),
        ({"frequency": 0.5, "answer_start": 2}, None),
        ({"answer_start": 3}, "beyond the KV cache"),
        ({"answer_start": -1}, "beyond the KV cache"),
        ({"answer_start": 2**62}, "beyond the KV cache"),
        (biases((383, 1.0), (0, -100.0)), None),
        (biases((384, 1.0)), "outside the model's vocabulary"),
        (biases((-1, 1.0)), "outside the model's vocabulary"),
        (biases((2**40, 1.0)), "outside the model's vocabulary"),
        (biases((1, float("inf"))), "not finite"),
        ({**biases((1, 1.0)), "biases": None}, "address is missing"),
        ({**biases((1, 1.0)), "bias_ids": None}, "address is missing"),
        ({"n_biases": 1}, "address is missing"),
        ({"n_biases": -1}, "address is missing"),
        ({"allowed": ctypes.addressof(EVERYTHING)}, None),
        ({"allowed": ctypes.addressof(EVERYTHING) + 1}, "where its type wants it"),
        ({"n_top": 1}, "address is missing"),
        ({"n_top": -1}, "not finite"),
        ({"n_top": 65}, "not finite"),
        ({"n_top": 3, "top_ids": (ctypes.c_int64 * 9)(), "top_logprobs": (ctypes.c_double * 9)()}, None),
        ({"n_top": 3, "top_ids": (ctypes.c_int64 * 9)()}, "address is missing"),
    ],
    ids=lambda value: " and ".join(value) if isinstance(value, dict) else str(value),
)
def test_a_text_is_written_or_refused_with_the_reason(
    decoder: NativeDecoder, changed: dict[str, Any], says: str | None
) -> None:
    status = written(decoder, **changed)
    assert (says is None) == (status == 0)
    if says:
        assert says in REFUSALS[status]


@needs_kernels
@torch.inference_mode()
def test_a_text_with_an_unknown_token_is_not_gone_on_with(decoder: NativeDecoder) -> None:
    for token in (384, -1, 2**40):
        chooser = Chooser(TokenBuffer([1, token], 8), SamplingParams(), 384)
        asked = chooser.ask(ctypes.c_int32(), 3, 1.0)
        assert asked is not None
        with pytest.raises(ValueError, match="outside the model's vocabulary"):
            decoder.write_many([(asked, decoder.new_cache(8))], ctypes.c_int32())
        assert len(chooser.text) == 2


@needs_kernels
def test_a_generator_in_an_unknown_state_is_refused(decoder: NativeDecoder) -> None:
    state = torch.Generator().manual_seed(1).get_state()
    state[8:12] = 255
    assert "not finite" in REFUSALS[written(decoder, generator=state.data_ptr())]


# --- models and matrices --------------------------------------------------------------------------------


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
    elif value == getattr(spoilt, field) or (field == "kind" and value in (Kind.INT4, Kind.NF4, Kind.BF16)):
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
@pytest.mark.parametrize("kind", [4, -1, 77, MOST])
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


# --- what has no case of its own ------------------------------------------------------------------------


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
    for precision in Precision:
        assert scheme_of(precision, native=False).kernel
        assert cuda_scheme_of(precision, torch.device("cpu")).kernel
