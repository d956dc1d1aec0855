"""The built kernels as Python sees them. Tensors go in by address: their owner keeps them alive."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence as Numbers
from ctypes import POINTER, c_float, c_int, c_int64, c_void_p
from pathlib import Path

import torch
from torch import Tensor

from engine.errors import NonFiniteLogitsError
from engine.native.compilation import built_library
from engine.native.structures import (
    FAILED,
    NO_MEMORY,
    NO_NUMBERS,
    REFUSALS,
    Kind,
    Layer,
    Matrix,
    Model,
    Sequence,
    layout,
)

__all__ = ["Kind", "Layer", "Library", "Matrix", "Model", "Sequence", "address_of", "library"]


class Library:
    """The kernels, typed. Every call runs on as many threads as torch does.

    Whatever a call is handed is looked at before it is used, there or here: what does not fit is a ``ValueError``.
    """

    def __init__(self, path: Path) -> None:
        """
        Raises:
            RuntimeError: the library was built for structures of another layout.
        """
        # after torch, so that both share one OpenMP runtime and its threads
        self._lib = ctypes.CDLL(str(path))
        self._lib.gearbox_layout.argtypes = (POINTER(c_int64), c_int)
        self._lib.gearbox_check_matrix.argtypes = (POINTER(Matrix),)
        self._lib.gearbox_check_model.argtypes = (POINTER(Model),)
        self._lib.gearbox_forward.argtypes = (
            POINTER(Model), c_void_p, c_int64, c_int64, c_int64, POINTER(c_void_p), c_int, c_void_p, c_int,
        )  # fmt: skip
        self._lib.gearbox_multiply.argtypes = (POINTER(Matrix), c_void_p, c_int64, c_void_p, c_int)
        self._lib.gearbox_lookup.argtypes = (POINTER(Matrix), c_void_p, c_int64, c_void_p)
        self._lib.gearbox_write.argtypes = (POINTER(Model), POINTER(Matrix), POINTER(Sequence), c_int)
        # calls that keep the GIL: they are so short that giving it up, and waiting for it, would cost more
        self._short = ctypes.PyDLL(str(path))
        self._short.gearbox_summarize.argtypes = (c_void_p, c_int64, c_void_p)
        self._short.gearbox_choose.argtypes = (c_void_p, POINTER(Sequence))
        self._lib.gearbox_set_nf4_table.argtypes = (c_void_p, c_void_p)
        ours = layout()
        theirs = (c_int64 * len(ours))()
        if self._lib.gearbox_layout(theirs, len(ours)) != len(ours) or list(theirs) != ours:
            raise RuntimeError(f"{path.name} was built for structures of another layout")

    def check_matrix(self, matrix: Matrix) -> None:
        """Refuse a matrix that is not what its kind allows.

        Raises:
            ValueError: and why.
        """
        _check(self._lib.gearbox_check_matrix(matrix))

    def check_model(self, model: Model) -> None:
        """Refuse a model whose dimensions, matrices and norms do not go together, as :meth:`forward` does.

        Raises:
            ValueError: and why.
        """
        _check(self._lib.gearbox_check_model(model))

    def forward(
        self,
        model: Model,
        ids: Tensor,
        start: int,
        capacity: int,
        kv: ctypes.Array[c_void_p],
        *,
        kv_in_int8: bool,
    ) -> Tensor:
        """Append ``ids`` int64 ``[rows]`` at position ``start``; the final norm's output, fp32 ``[rows, hidden]``.

        Args:
            model: addresses of the weights.
            ids: contiguous.
            start: positions already in the cache.
            capacity: positions there is room for.
            kv: for each layer the address of its keys and values, laid out as ``engine.cache.KVCache`` says.
            kv_in_int8: whether keys and values are kept in 8 bits instead of bf16.

        Raises:
            MemoryError: no room for the activations.
            ValueError: an id outside the vocabulary, rows beyond the capacity, a tensor of another shape or type, a
                model that does not go together.
        """
        if len(kv) != model.n_layers:
            raise ValueError(f"a cache of {len(kv)} layers for a model of {model.n_layers}")
        rows = ids.shape[0]
        address = address_of(ids, torch.int64, (rows,))
        hidden = torch.empty((rows, model.hidden))
        status = self._lib.gearbox_forward(
            model, address, rows, start, capacity, kv, int(kv_in_int8), hidden.data_ptr(), torch.get_num_threads()
        )
        _check(status)
        return hidden

    def multiply(self, matrix: Matrix, x: Tensor) -> Tensor:
        """``x`` fp32 ``[rows, in]`` -> fp32 ``[rows, out]``.

        Raises:
            MemoryError: no room for the activations.
            ValueError: no rows, or of another width or type.
        """
        x = x.contiguous()
        rows = x.shape[0]
        address = address_of(x, torch.float, (rows, matrix.inputs))
        y = torch.empty((rows, matrix.outputs))
        _check(self._lib.gearbox_multiply(matrix, address, rows, y.data_ptr(), torch.get_num_threads()))
        return y

    def lookup(self, matrix: Matrix, ids: Tensor) -> Tensor:
        """Rows of an embedding: int64 ``[n]`` -> fp32 ``[n, in]``.

        Raises:
            ValueError: no rows, an id that the embedding does not have, or a matrix that is none.
        """
        ids = ids.contiguous()
        rows = ids.shape[0]
        address = address_of(ids, torch.int64, (rows,))
        x = torch.empty((rows, matrix.inputs))
        _check(self._lib.gearbox_lookup(matrix, address, rows, x.data_ptr()))
        return x

    def summarize(self, logits: Tensor) -> tuple[float, float, float, float]:
        """Of contiguous fp32 ``[n]``: log Σ exp, the entropy of their softmax in nats, the largest, the second.

        Raises:
            ValueError: something else, or nothing.
        """
        out = (c_float * 4)()
        count = logits.shape[0]
        _check(self._short.gearbox_summarize(address_of(logits, torch.float, (count,)), count, out))
        log_sum, entropy, largest, second = out
        return log_sum, entropy, largest, second

    def choose(self, logits: Tensor, sequence: Sequence) -> None:
        """One more token of a text, from contiguous fp32 ``[vocabulary or more]``; see :meth:`write`.

        Raises:
            NonFiniteLogitsError: there is no probability to draw by.
            ValueError: the sequence or the logits do not go together.
        """
        if logits.shape[0] < sequence.vocabulary:
            raise ValueError(f"{logits.shape[0]} logits for a vocabulary of {sequence.vocabulary}")
        _check(self._short.gearbox_choose(address_of(logits, torch.float, logits.shape), sequence))

    def write(self, model: Model, head: Matrix, sequence: Sequence) -> None:
        """Write tokens, each chosen from the logits of a pass over the one before it, until there are ``most``, one
        is a stop id, ``seconds`` have passed or ``interrupted`` is not 0; at least one. They stand in ``ids``, their
        KV but for the last one's in ``kv``, and ``written`` says how many there are.

        Args:
            model: addresses of the weights.
            head: what logits are made with.
            sequence: the text; its last token has no KV yet. Who calls has seen to it that its addresses hold what
                they say.

        Raises:
            MemoryError: no room for the activations.
            NonFiniteLogitsError: there is no probability to draw by.
            ValueError: something does not go together, or there is no room for so many tokens.
        """
        _check(self._lib.gearbox_write(model, head, sequence, torch.get_num_threads()))

    def set_nf4_table(self, high: Tensor, low: Tensor) -> None:
        """The sixteen levels of NF4, int8 ``[16]`` each: 128 · high + low, in steps of 1 / 16256."""
        _check(self._lib.gearbox_set_nf4_table(*(address_of(part, torch.int8, (16,)) for part in (high, low))))


_loaded: Library | None = None


def library() -> Library | None:
    """The kernels, or ``None`` while they have not been built. Asked again, it looks again."""
    global _loaded
    if _loaded is None and (path := built_library()):
        _loaded = Library(path)
    return _loaded


def address_of(tensor: Tensor, dtype: torch.dtype, shape: Numbers[int]) -> int:
    """Where a tensor begins, for kernels that believe what they are told of it.

    Raises:
        ValueError: it is not contiguous, not in this machine's memory, or of another type or shape.
    """
    if tensor.dtype is not dtype or tensor.shape != shape or not tensor.is_contiguous() or not tensor.is_cpu:
        raise ValueError(
            f"the kernels want a contiguous {dtype} of shape {list(shape)} on the CPU, and this is a {tensor.dtype} of "
            f"shape {list(tensor.shape)} with strides {list(tensor.stride())} on {tensor.device}"
        )
    return tensor.data_ptr()


def _check(status: int) -> None:
    if not status:
        return
    if status == NO_MEMORY:
        raise MemoryError("there is no room for the activations")
    if status == NO_NUMBERS:
        raise NonFiniteLogitsError("The model's logits hold NaN or infinity, so that no token can be drawn.")
    if status == FAILED:
        raise RuntimeError("the kernels failed")
    raise ValueError(f"The kernels refuse: {REFUSALS[status]}.")
