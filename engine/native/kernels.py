"""The built kernels as Python sees them. Tensors go in by address: their owner keeps them alive."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, c_float, c_int, c_int32, c_int64, c_void_p
from enum import IntEnum
from pathlib import Path

import torch
from torch import Tensor

from engine.native.compilation import built_library


class Kind(IntEnum):
    """How a matrix is held; see ``panels.h`` for the layouts."""

    INT4 = 0
    NF4 = 1
    INT8 = 2
    BF16 = 3


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
    """``Layer`` of ``forward.cpp``."""

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
    """``Model`` of ``forward.cpp``."""

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


class Library:
    """The kernels, typed. Every call runs on as many threads as torch does."""

    def __init__(self, path: Path) -> None:
        # after torch, so that both share one OpenMP runtime and its threads
        self._lib = ctypes.CDLL(str(path))
        self._lib.gearbox_forward.argtypes = (
            POINTER(Model), c_void_p, c_int64, c_int64, POINTER(c_void_p), c_int, c_void_p, c_int,
        )  # fmt: skip
        self._lib.gearbox_multiply.argtypes = (POINTER(Matrix), c_void_p, c_int64, c_void_p, c_int)
        self._lib.gearbox_lookup.argtypes = (POINTER(Matrix), c_void_p, c_int64, c_void_p)
        self._lib.gearbox_lookup.restype = None
        self._lib.gearbox_summarize.argtypes = (c_void_p, c_int64, c_void_p)
        self._lib.gearbox_summarize.restype = None
        self._lib.gearbox_set_nf4_table.argtypes = (c_void_p, c_void_p)
        self._lib.gearbox_set_nf4_table.restype = None

    def forward(
        self, model: Model, ids: Tensor, start: int, kv: ctypes.Array[c_void_p], hidden: Tensor, *, kv_in_int8: bool
    ) -> None:
        """Append ``ids`` int64 ``[rows]`` at position ``start``.

        Args:
            model: addresses of the weights.
            ids: contiguous.
            start: positions already in the cache.
            kv: for each layer the address of its keys and values, laid out as ``engine.cache.KVCache`` says.
            hidden: fp32 ``[rows, hidden]``, filled with the final norm's output.
            kv_in_int8: whether keys and values are kept in 8 bits instead of bf16.

        Raises:
            MemoryError: no room for the activations.
        """
        status = self._lib.gearbox_forward(
            model, ids.data_ptr(), ids.shape[0], start, kv, int(kv_in_int8), hidden.data_ptr(), torch.get_num_threads()
        )
        _check(status)

    def multiply(self, matrix: Matrix, x: Tensor) -> Tensor:
        """``x`` fp32 ``[rows, in]`` -> fp32 ``[rows, out]``.

        Raises:
            MemoryError: no room for the activations.
        """
        x = x.contiguous()
        y = torch.empty((x.shape[0], matrix.outputs))
        _check(self._lib.gearbox_multiply(matrix, x.data_ptr(), x.shape[0], y.data_ptr(), torch.get_num_threads()))
        return y

    def lookup(self, matrix: Matrix, ids: Tensor) -> Tensor:
        """Rows of an embedding: int64 ``[n]`` -> fp32 ``[n, in]``."""
        ids = ids.contiguous()
        x = torch.empty((ids.shape[0], matrix.inputs))
        self._lib.gearbox_lookup(matrix, ids.data_ptr(), ids.shape[0], x.data_ptr())
        return x

    def summarize(self, logits: Tensor) -> tuple[float, float, float, float]:
        """Of contiguous fp32 ``[n]``: log Σ exp, the entropy of their softmax in nats, the largest, the second."""
        out = (c_float * 4)()
        self._lib.gearbox_summarize(logits.data_ptr(), logits.shape[0], out)
        log_sum, entropy, largest, second = out
        return log_sum, entropy, largest, second

    def set_nf4_table(self, high: Tensor, low: Tensor) -> None:
        """The sixteen levels of NF4, int8 ``[16]`` each: 128 · high + low, in steps of 1 / 16256."""
        self._lib.gearbox_set_nf4_table(high.data_ptr(), low.data_ptr())


_loaded: Library | None = None


def library() -> Library | None:
    """The kernels, or ``None`` while they have not been built. Asked again, it looks again."""
    global _loaded
    if _loaded is None and (path := built_library()):
        _loaded = Library(path)
    return _loaded


def _check(status: int) -> None:
    if status:
        raise MemoryError("there is no room for the activations")
