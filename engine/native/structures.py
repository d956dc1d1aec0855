"""What the kernels are handed, as ctypes sees it, and what they answer. The other half is ``model.h``."""

from __future__ import annotations

from collections.abc import Iterator
from ctypes import POINTER, Structure, c_double, c_float, c_int32, c_int64, c_void_p, sizeof
from enum import IntEnum


class Kind(IntEnum):
    """How a matrix is held; see ``panels.h`` for the layouts."""

    INT4 = 0
    NF4 = 1
    INT8 = 2
    BF16 = 3
    BF16_PANELS = 4


class PairPath(IntEnum):
    """What multiplies matrices of 16 bits; see ``pairs.h``. All give the same bits."""

    PLAIN = 0
    AVX2 = 1
    AVX512 = 2
    AVX512_BF16 = 3


PARTS = (
    "lookup", "norms and rounding", "qkv", "rotation", "attention", "o", "gate and up", "SiLU", "down", "head",
    "choice", "waiting",
)  # fmt: skip
"""What passes spend their time with, in the order of ``Part`` of ``profile.h``."""


class Matrix(Structure):
    """``Matrix`` of ``panels.h``."""

    _fields_ = (
        ("kind", c_int32),
        ("outputs", c_int32),
        ("inputs", c_int32),
        ("data", c_void_p),
        ("scales", c_void_p),
        ("bias", c_void_p),
    )


class Layer(Structure):
    """``Layer`` of ``model.h``."""

    _fields_ = (
        ("input_norm", c_void_p),
        ("post_norm", c_void_p),
        ("q_norm", c_void_p),
        ("k_norm", c_void_p),
        ("qkv", Matrix),
        ("o", Matrix),
        ("gate_up", Matrix),
        ("down", Matrix),
        ("window", c_int64),
    )


class Model(Structure):
    """``Model`` of ``model.h``."""

    _fields_ = (
        ("n_layers", c_int32),
        ("hidden", c_int32),
        ("inner", c_int32),
        ("n_heads", c_int32),
        ("n_kv_heads", c_int32),
        ("head_dim", c_int32),
        ("norm_eps", c_float),
        ("rope_scaling", c_float),
        ("inv_freq", c_void_p),
        ("final_norm", c_void_p),
        ("layers", POINTER(Layer)),
        ("embedding", Matrix),
    )


class Segment(Structure):
    """``Segment`` of ``segments.h``: rows of one sequence in a pass."""

    _fields_ = (
        ("rows", c_int64),
        ("start", c_int64),
        ("capacity", c_int64),
        ("kv", POINTER(c_void_p)),
        ("kv_in_int8", c_int32),
    )


class Sequence(Structure):
    """``Sequence`` of ``choice.h``: one text that is being written."""

    _fields_ = (
        ("ids", c_void_p),
        ("length", c_int64),
        ("room", c_int64),
        ("kv", POINTER(c_void_p)),
        ("kv_length", c_int64),
        ("kv_capacity", c_int64),
        ("kv_in_int8", c_int32),
        ("vocabulary", c_int32),
        ("temperature", c_float),
        ("top_p", c_float),
        ("penalty", c_float),
        ("top_k", c_int32),
        ("generator", c_void_p),
        ("frequency", c_float),
        ("presence", c_float),
        ("answer_start", c_int64),
        ("bias_ids", POINTER(c_int64)),
        ("biases", POINTER(c_float)),
        ("n_biases", c_int32),
        ("n_top", c_int32),
        ("allowed", c_void_p),
        ("top_ids", POINTER(c_int64)),
        ("top_logprobs", POINTER(c_double)),
        ("stop_ids", POINTER(c_int64)),
        ("n_stop_ids", c_int32),
        ("most", c_int32),
        ("seconds", c_double),
        ("interrupted", POINTER(c_int32)),
        ("logprobs", POINTER(c_double)),
        ("entropies", POINTER(c_double)),
        ("margins", POINTER(c_double)),
        ("times", POINTER(c_double)),
        ("written", c_int32),
        ("status", c_int32),
    )


def layout() -> list[int]:
    """What both halves must agree on: sizes, the place of each member, the kinds' numbers; ``layout.h``."""
    return [*_places(Matrix), *_places(Layer), *_places(Model), *_places(Segment), *_places(Sequence), *Kind]


def _places(structure: type[Structure]) -> Iterator[int]:
    yield sizeof(structure)
    for name, *_ in structure._fields_:
        yield getattr(structure, name).offset


NO_MEMORY, FAILED, NO_NUMBERS = -1, -11, -12

REFUSALS = {
    -2: "an address is missing",
    -3: "a matrix is of an unknown kind, or of one that rows cannot be looked up in",
    -4: "a matrix has another shape than its kind or its model wants, or the model's dimensions do not go together",
    -5: "there are no rows, or too many",
    -6: "the rows or the text reach beyond the KV cache or the memory for their ids",
    -7: "a token id lies outside the model's vocabulary",
    -8: "the number of threads is out of range",
    -9: "a number of the model or of the sampling is not finite or has the wrong sign",
    -10: "an address does not lie where its type wants it",
    -13: "there are no sequences, or too many for one pass",
}
"""What the kernels say no to, by the number they return: ``Status`` of ``model.h``."""
