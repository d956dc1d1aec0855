"""From a checkpoint's safetensors to a decoder at some precision, packed once and then read.

Packing a precision takes seconds, so the packed tensors are kept on disk and the next load only
reads them. The file's name carries all that decides its content; it is written aside and renamed,
and its checksum is looked at before it is trusted. A packed file that does not hold is made again.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from engine.errors import WeightsIntegrityError
from engine.machine.huge_pages import HugePages
from engine.models.decoders.decoder import Decoder, DecoderLayer, EagerDecoder
from engine.models.decoders.graph_step import GraphDecoder
from engine.models.decoders.hybrid_decoder import HybridDecoder
from engine.models.decoders.native_decoder import HEAD_DIM_STEP, NativeDecoder
from engine.models.format.architecture import Architecture, Matrix
from engine.models.format.decoder_config import DecoderConfig
from engine.models.format.manifest import sha256_of
from engine.models.quantized.stored_weights import StoredWeights
from engine.models.sources.file_codes import FileCodes
from engine.native.kernels import library
from engine.quantization import (
    EmbeddingLinear,
    GroupCodes,
    Linear,
    Scheme,
    cuda_scheme_of,
    quantize_groups,
    scheme_of,
    state_bytes,
)
from engine.types import Precision

log = logging.getLogger(__name__)

PACKED_FORMAT = 2
"""Raised when a packed file of the same name would hold something else."""

ROUNDED = "rounded"
"""Names int4 of a checkpoint whose published file is not there, or was altered: its weights are rounded again."""

CPU = torch.device("cpu")

Codes = FileCodes | StoredWeights
"""4-bit codes of a published file: the one that a checkpoint was converted from, or the checkpoint itself."""
Progress = Callable[[float], None]
State = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class LoadedDecoder:
    """A decoder, and what is to be told of its weights."""

    decoder: Decoder
    weights_bytes: int
    """Measured: all tensors, norms and biases included."""
    kernel: str
    """What multiplies."""
    fallbacks: tuple[str, ...]
    """Matrices held in 16 bits because their shape suits no kernel of this precision."""
    codes: str
    """The beginning of the sha256 of the file whose 4-bit codes were taken over, or :data:`ROUNDED`; empty for a
    precision that takes none."""


def load_decoder(
    config: DecoderConfig,
    open_weights: Callable[[], StoredWeights],
    precision: Precision,
    packed_dir: Path,
    progress: Progress,
    verify: Callable[[], None],
    open_codes: Callable[[], Codes | None] = lambda: None,
    codes_sha256: str | None = None,
    device: torch.device = CPU,
) -> LoadedDecoder:
    """Load a decoder. At no time are there two copies of the weights in its memory, only of one matrix.

    Args:
        config: the decoder's shape.
        open_weights: opens the checkpoint's safetensors.
        precision: how to hold the weights.
        packed_dir: where packed weights of this very checkpoint are kept.
        progress: told the fraction done.
        verify: checks the checkpoint's files, called before they are opened.
        open_codes: opens the published file, for a precision that keeps its 4-bit codes; called only to pack.
        codes_sha256: what that file's sha256 has to be, and is if it can be opened; ``None`` if there is no such file.
        device: whose memory they go to.

    Raises:
        WeightsIntegrityError: from ``verify``, a tensor is not as the configuration promises, or a weight is not a
            finite number.
    """
    scheme = _scheme(config, precision, device)
    matrices = list(config.matrices())
    published = codes_sha256 if scheme.keeps_codes else None
    codes_key = (published or ROUNDED)[:16] if scheme.keeps_codes else ""
    packed = _Packed(packed_dir, precision, scheme, device, codes_key)
    kept = packed.read(config, progress) if scheme.packs else None
    codes = None
    if kept is None:
        verify()
        codes = open_codes() if published else None
        if published and codes is None:  # altered, or gone by now
            codes_key = ROUNDED
            packed = _Packed(packed_dir, precision, scheme, device, codes_key)
            kept = packed.read(config, progress) if scheme.packs else None
    if kept is not None:
        modules, norms = kept
    else:
        try:
            modules, norms = _pack(config, matrices, open_weights, scheme, codes, device, progress)
        except SafetensorError as error:
            raise WeightsIntegrityError(
                f"The weights cannot be read: {error}. Copy or download the model again."
            ) from error
        if scheme.packs:
            packed.write({name: module.state() for name, module in modules.items()}, norms)
    if scheme.native:
        _move(modules)
    everything = {f"{n}.{k}": t for n, m in modules.items() for k, t in m.state().items()}
    return LoadedDecoder(
        _assemble(config, scheme, modules, norms),
        state_bytes(everything | norms),
        scheme.kernel,
        tuple(m.name for m in matrices if _linear(m, scheme) is scheme.fallback is not scheme.body),
        codes_key,
    )


def estimate_bytes(config: Architecture, precision: Precision, device: torch.device = CPU) -> int:
    """Bytes the weights will take at a precision, known without reading them (norms and biases left out)."""
    scheme = _scheme(config, precision, device)
    return sum(_linear(m, scheme).estimate_bytes(m.out_features, m.in_features) for m in config.matrices())


def _scheme(config: Architecture, precision: Precision, device: torch.device) -> Scheme:
    if device.type != "cpu":
        return cuda_scheme_of(precision, device)
    return scheme_of(precision, native=config.head_dim % HEAD_DIM_STEP == 0 and library() is not None)


def _linear(matrix: Matrix, scheme: Scheme) -> type[Linear]:
    """The class that holds a matrix."""
    return scheme.linear(matrix.out_features, matrix.in_features, is_head=matrix.is_head)


def _pack(
    config: DecoderConfig,
    matrices: list[Matrix],
    open_weights: Callable[[], StoredWeights],
    scheme: Scheme,
    codes: Codes | None,
    device: torch.device,
    progress: Progress,
) -> tuple[dict[str, Linear], State]:
    """Read the checkpoint matrix by matrix; only one is held unpacked at a time."""
    with open_weights() as weights:
        modules: dict[str, Linear] = {}
        for done, matrix in enumerate(matrices):
            linear = _linear(matrix, scheme)
            parts = [weights.read(f"{source}.weight") for source in matrix.sources]
            biases = [weights.read(f"{source}.bias") for source in matrix.sources] if matrix.biased else []
            known = _joined_codes(codes, matrix, parts) if codes and linear is scheme.body else None
            # cat copies, so what is kept never leans on the file
            weight, bias = torch.cat(parts).to(device), torch.cat(biases).to(device) if biases else None
            modules[matrix.name] = linear.pack(weight, bias, known and known.to(device))
            progress((done + 1) / len(matrices))
        norms = {ours: weights.read(theirs).to(device, copy=True) for ours, theirs, _ in config.norms()}
    return modules, norms


def _joined_codes(codes: Codes, matrix: Matrix, parts: list[Tensor]) -> GroupCodes | None:
    """The file's codes of a joined matrix, parts that the file holds otherwise quantized here; ``None`` if all are."""
    found = [codes.find(f"{source}.weight", part.shape) for source, part in zip(matrix.sources, parts, strict=True)]
    if not any(found):
        return None
    return GroupCodes.joined([f or quantize_groups(part) for f, part in zip(found, parts, strict=True)])


def _move(modules: dict[str, Linear]) -> None:
    """Into large pages, matrix by matrix; small parts stay where they are."""
    room = HugePages(sum(HugePages.size_of(module.state()["data"]) for module in modules.values()))
    for name, module in modules.items():
        state = module.state()
        modules[name] = type(module).from_state(state | {"data": room.place(state["data"])})


def _assemble(config: DecoderConfig, scheme: Scheme, modules: dict[str, Linear], norms: State) -> Decoder:
    kernels = library()
    if scheme.native and kernels:
        return NativeDecoder(config, kernels, modules, norms)
    layers = [
        DecoderLayer(
            input_norm=norms[f"layers.{i}.input_norm"],
            qkv=modules[f"layers.{i}.qkv"],
            q_norm=norms.get(f"layers.{i}.q_norm"),
            k_norm=norms.get(f"layers.{i}.k_norm"),
            o=modules[f"layers.{i}.o"],
            post_norm=norms[f"layers.{i}.post_norm"],
            gate_up=modules[f"layers.{i}.gate_up"],
            down=modules[f"layers.{i}.down"],
        )
        for i in range(config.n_layers)
    ]
    embedding: EmbeddingLinear = modules["embedding"]  # type: ignore[assignment]  # is_head chose its class
    head: EmbeddingLinear = modules.get("head", embedding)  # type: ignore[assignment]
    norm = norms["norm"]
    if norm.device.type != "cpu" and scheme.static:
        return GraphDecoder(config, embedding, layers, norm, head)
    eager = EagerDecoder(config, embedding, layers, norm, head)
    if scheme.few_rows and kernels:
        shared = {name: scheme.few_rows(module.state()) for name, module in modules.items()}
        return HybridDecoder(eager, NativeDecoder(config, kernels, shared, norms))
    return eager


def _layout_key(scheme: Scheme, device: torch.device) -> str:
    """What decides a packed layout apart from the weights. Our kernels have one; torch's and bitsandbytes'
    depend on the processor and their version."""
    if scheme.native:
        return f"gearbox-v{PACKED_FORMAT}"
    kernel = scheme.kernel.replace(" ", "-").replace(",", "")
    capability = torch.backends.cpu.get_cpu_capability() if device.type == "cpu" else device.type
    return f"{capability}-{kernel}-{version(scheme.packed_by)}-v{PACKED_FORMAT}".lower()


def _is_whole(config: DecoderConfig, scheme: Scheme, states: dict[str, State], norms: State) -> bool:
    """Whether packed tensors are all that a decoder needs, each of the size its matrix takes."""
    lengths = {ours: (length,) for ours, _, length in config.norms()}
    if {name: tuple(norm.shape) for name, norm in norms.items()} != lengths:
        return False
    matrices = {m.name: m for m in config.matrices()}
    if states.keys() != matrices.keys():
        return False
    for name, matrix in matrices.items():
        state = states[name]
        bias = state.get("bias")
        weighs = sum(tensor.nbytes for part, tensor in state.items() if part not in ("bias", "shape"))
        if weighs != _linear(matrix, scheme).estimate_bytes(matrix.out_features, matrix.in_features):
            return False
        if (bias is None) == matrix.biased or (bias is not None and tuple(bias.shape) != (matrix.out_features,)):
            return False
    return True


class _Packed:
    """A file of packed weights, with its checksum beside it."""

    def __init__(self, folder: Path, precision: Precision, scheme: Scheme, device: torch.device, codes: str) -> None:
        self.path = folder / f"{'-'.join(filter(None, (precision, _layout_key(scheme, device), codes)))}.safetensors"
        self.checksum = self.path.with_suffix(".sha256")
        self._scheme = scheme
        self._device = device

    def read(self, config: DecoderConfig, progress: Progress) -> tuple[dict[str, Linear], State] | None:
        """Matrices and norms in a device's memory; ``None`` if the file is missing, or not what was written."""
        if not (self.path.exists() and self.checksum.exists()):
            return None
        if sha256_of(self.path) == self.checksum.read_text().strip():
            states = self._states(progress)
            norms = states.pop("", {})
            if _is_whole(config, self._scheme, states, norms):
                return {m.name: _linear(m, self._scheme).from_state(states[m.name]) for m in config.matrices()}, norms
        log.warning("%s was truncated or altered since it was written; packing again", self.path)
        return None

    def _states(self, progress: Progress) -> dict[str, State]:
        """States by matrix; the norms by the empty name."""
        states: dict[str, State] = {}
        with safe_open(self.path, framework="pt") as reader:
            keys = list(reader.keys())
            for done, key in enumerate(keys):
                matrix, _, part = key.rpartition(".")
                # copied, so that a file replaced later cannot reach into a running model
                tensor = reader.get_tensor(key).to(self._device, copy=True)
                if part.endswith("norm"):
                    matrix, part = "", key
                states.setdefault(matrix, {})[part] = tensor
                progress((done + 1) / len(keys))
        return states

    def write(self, states: dict[str, State], norms: State) -> None:
        """Keep the packed weights. A full disk is no reason to fail: they stay in memory."""
        aside = self.path.with_suffix(f".{os.getpid()}.part")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            save_file({f"{n}.{k}": t for n, state in states.items() for k, t in state.items()} | norms, aside)
            checksum = sha256_of(aside)
            aside.replace(self.path)
            self.checksum.write_text(checksum + "\n")
        except (OSError, SafetensorError) as error:  # safetensors wraps a full disk in its own error
            log.warning("packed weights could not be kept in %s: %s", self.path, error)
        finally:
            with suppress(OSError):  # where it could not be made, it cannot be looked for
                aside.unlink(missing_ok=True)
