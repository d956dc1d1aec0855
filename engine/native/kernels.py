"""The built kernels as Python sees them. Tensors go in by address: their owner keeps them alive."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence as Numbers
from ctypes import POINTER, c_float, c_int, c_int32, c_int64, c_void_p
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.errors import NonFiniteLogitsError
from engine.native.compilation import built_library
from engine.native.structures import (
    FAILED,
    NO_MEMORY,
    NO_NUMBERS,
    PARTS,
    REFUSALS,
    Kind,
    Layer,
    Matrix,
    Model,
    PairPath,
    Segment,
    Sequence,
    layout,
)

__all__ = [
    "Kind",
    "Layer",
    "Library",
    "Matrix",
    "Model",
    "PairPath",
    "Segment",
    "Sequence",
    "address_of",
    "check",
    "library",
]


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
            POINTER(Model), c_void_p, POINTER(Segment), c_int32, c_void_p, c_int,
        )  # fmt: skip
        self._lib.gearbox_multiply.argtypes = (POINTER(Matrix), c_void_p, c_int64, c_void_p, c_int)
        self._lib.gearbox_pack_pairs.argtypes = (c_void_p, c_int64, c_int64, c_void_p, c_int)
        self._lib.gearbox_lookup.argtypes = (POINTER(Matrix), c_void_p, c_int64, c_void_p)
        sequences = POINTER(POINTER(Sequence))
        self._lib.gearbox_write.argtypes = (
            POINTER(Model), POINTER(Matrix), sequences, c_int32, POINTER(c_int32), c_int,
        )  # fmt: skip
        # calls that keep the GIL: they are so short that giving it up, and waiting for it, would cost more
        self._short = ctypes.PyDLL(str(path))
        self._short.gearbox_summarize.argtypes = (c_void_p, c_int64, c_void_p)
        for either in (self._short, self._lib):
            either.gearbox_choose.argtypes = (POINTER(c_void_p), sequences, c_int32, c_int)
        self._lib.gearbox_profile.argtypes = (POINTER(c_int64), c_int)
        self._lib.gearbox_rows_together.argtypes = (c_int32,)
        self._lib.gearbox_set_nf4_table.argtypes = (c_void_p, c_void_p)
        ours = layout()
        theirs = (c_int64 * len(ours))()
        if self._lib.gearbox_layout(theirs, len(ours)) != len(ours) or list(theirs) != ours:
            raise RuntimeError(f"{path.name} was built for structures of another layout")

    @property
    def pair_path(self) -> PairPath:
        """What multiplies matrices of 16 bits: the fastest that this processor has, unless another was asked for."""
        return PairPath(self._lib.gearbox_pair_path())

    def use_pair_path(self, path: PairPath) -> None:
        """Multiply matrices of 16 bits in another way, to the same bits, in every call that begins after this one.

        Raises:
            ValueError: this processor lacks it.
        """
        if self._lib.gearbox_set_pair_path(path):
            raise ValueError(f"this processor has no {path.name}")

    def rows_together(self, kind: Kind) -> int:
        """Rows that one reading of the weights of a kind serves: of one more, they are read and unpacked once more."""
        return int(self._lib.gearbox_rows_together(kind))

    def profile(self) -> dict[str, float]:
        """Seconds that passes have spent with each of :data:`~engine.native.structures.PARTS` since this was last
        asked, by all threads together; empty where the kernels are not built to tell (``GEARBOX_PROFILE``)."""
        spent = (c_int64 * len(PARTS))()
        told = self._lib.gearbox_profile(spent, len(PARTS))
        return {part: 1e-9 * ns for part, ns in zip(PARTS[:told], spent[:told], strict=True)}

    def check_matrix(self, matrix: Matrix) -> None:
        """Refuse a matrix that is not what its kind allows.

        Raises:
            ValueError: and why.
        """
        check(self._lib.gearbox_check_matrix(matrix))

    def check_model(self, model: Model) -> None:
        """Refuse a model whose dimensions, matrices and norms do not go together, as :meth:`forward` does.

        Raises:
            ValueError: and why.
        """
        check(self._lib.gearbox_check_model(model))

    def forward(self, model: Model, ids: Tensor, segments: Numbers[Segment]) -> Tensor:
        """Append the rows of each segment to its cache; the final norm's output, fp32 ``[rows, hidden]``.

        Every row is what it would be without the others, to the last bit.

        Args:
            model: addresses of the weights.
            ids: int64 ``[rows]``, the segments' one after the other.
            segments: each with KV of its own, laid out as ``engine.cache.KVCache`` says, for each of the model's
                layers. Who calls has seen to it that no two of them have the same.

        Raises:
            MemoryError: no room for the activations.
            ValueError: an id outside the vocabulary, rows beyond a capacity, a tensor of another shape or type, a
                model that does not go together.
        """
        rows = sum(segment.rows for segment in segments)
        address = address_of(ids, torch.int64, (rows,))
        hidden = torch.empty((rows, model.hidden))
        count = len(segments)
        all_of_them = (Segment * count)(*segments)
        check(self._lib.gearbox_forward(model, address, all_of_them, count, hidden.data_ptr(), torch.get_num_threads()))
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
        check(self._lib.gearbox_multiply(matrix, address, rows, y.data_ptr(), torch.get_num_threads()))
        return y

    def pack_pairs(self, weight: Tensor) -> Tensor:
        """bf16 ``[out, in]`` -> its panels, uint8 ``[out / 16, in / 2, 64]``, both rounded up; see ``pairs.h``.

        Raises:
            ValueError: the weight is empty, or of another type.
        """
        outputs, inputs = weight.shape
        data = torch.empty(-(-outputs // 16), -(-inputs // 2), 64, dtype=torch.uint8)
        address = address_of(weight, torch.bfloat16, weight.shape)
        check(self._lib.gearbox_pack_pairs(address, outputs, inputs, data.data_ptr(), torch.get_num_threads()))
        return data

    def lookup(self, matrix: Matrix, ids: Tensor) -> Tensor:
        """Rows of an embedding: int64 ``[n]`` -> fp32 ``[n, in]``.

        Raises:
            ValueError: no rows, an id that the embedding does not have, or a matrix that is none.
        """
        ids = ids.contiguous()
        rows = ids.shape[0]
        address = address_of(ids, torch.int64, (rows,))
        x = torch.empty((rows, matrix.inputs))
        check(self._lib.gearbox_lookup(matrix, address, rows, x.data_ptr()))
        return x

    def summarize(self, logits: Tensor) -> tuple[float, float, float, float]:
        """Of contiguous fp32 ``[n]``: log Σ exp, the entropy of their softmax in nats, the largest, the second.

        Raises:
            ValueError: something else, or nothing.
        """
        out = (c_float * 4)()
        count = logits.shape[0]
        check(self._short.gearbox_summarize(address_of(logits, torch.float, (count,)), count, out))
        log_sum, entropy, largest, second = out
        return log_sum, entropy, largest, second

    def choose(self, logits: Numbers[Tensor], sequences: Numbers[Sequence]) -> None:
        """One more token of each text, from contiguous fp32 ``[vocabulary or more]`` each; see :meth:`write`.

        Raises:
            ValueError: a sequence and its logits do not go together.
        """
        for row, sequence in zip(logits, sequences, strict=True):
            if row.shape[0] < sequence.vocabulary:
                raise ValueError(f"{row.shape[0]} logits for a vocabulary of {sequence.vocabulary}")
        count = len(sequences)
        rows = (c_void_p * count)(*(address_of(row, torch.float, row.shape) for row in logits))
        # one choice is so short that giving the GIL up, and waiting for it, would cost more
        library = self._short if count == 1 else self._lib
        check(library.gearbox_choose(rows, _addresses(sequences), count, torch.get_num_threads()))

    def write(self, model: Model, head: Matrix, sequences: Numbers[Sequence], interrupted: c_int32) -> None:
        """Write tokens of one or several texts beside one another, each chosen from the logits of a pass over the one
        before it, until one of the texts has ``most`` of them or a stop id, its ``seconds`` have passed, or its
        ``interrupted`` or that of all is not 0; at least one. They stand in ``ids``, their KV but for the last one's
        in ``kv``, and ``written`` says how many there are.

        What one of them writes does not depend on the others. ``status`` is what went wrong with it alone, and for
        :func:`check`: then it has written nothing.

        Args:
            model: addresses of the weights.
            head: what logits are made with.
            sequences: the texts; the last token of each has no KV yet. Who calls has seen to it that their addresses
                hold what they say, and that no two of them share any.
            interrupted: ends the call once it is not 0.

        Raises:
            MemoryError: no room for the activations.
            ValueError: something does not go together, or there is no room for so many tokens.
        """
        count, threads = len(sequences), torch.get_num_threads()
        check(self._lib.gearbox_write(model, head, _addresses(sequences), count, interrupted, threads))

    def set_nf4_table(self, high: Tensor, low: Tensor) -> None:
        """The sixteen levels of NF4, int8 ``[16]`` each: 128 · high + low, in steps of 1 / 16256."""
        check(self._lib.gearbox_set_nf4_table(*(address_of(part, torch.int8, (16,)) for part in (high, low))))


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


def _addresses(sequences: Numbers[Sequence]) -> ctypes.Array[Any]:
    return (POINTER(Sequence) * len(sequences))(*(ctypes.pointer(sequence) for sequence in sequences))


def check(status: int) -> None:
    """Raise what the kernels' answer says, if it says anything.

    Raises:
        MemoryError: no room.
        NonFiniteLogitsError: there is no probability to draw by.
        ValueError: they refuse, and why.
    """
    if not status:
        return
    if status == NO_MEMORY:
        raise MemoryError("there is no room for the activations")
    if status == NO_NUMBERS:
        raise NonFiniteLogitsError("The model's logits hold NaN or infinity, so that no token can be drawn.")
    if status == FAILED:
        raise RuntimeError("the kernels failed")
    raise ValueError(f"The kernels refuse: {REFUSALS[status]}.")
