"""From a checkpoint's safetensors to a decoder at some precision, packed once and then read.

Packing a precision takes seconds, so the packed tensors are kept on disk and the next load only
reads them. The file's name carries all that decides its content; it is written aside and renamed,
and its checksum is looked at before it is trusted. A packed file that does not hold is made again.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from engine.errors import UnsupportedModelError, WeightsIntegrityError
from engine.models.decoder import Decoder, DecoderConfig, DecoderLayer, EagerDecoder
from engine.models.file_codes import FileCodes
from engine.models.graph_step import GraphDecoder
from engine.models.hybrid_decoder import HybridDecoder
from engine.models.manifest import sha256_of
from engine.models.native_decoder import HEAD_DIM_STEP, NativeDecoder
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

CPU = torch.device("cpu")

Progress = Callable[[float], None]
State = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class _Matrix:
    """One matrix of the decoder and the checkpoint tensors it is joined from."""

    name: str
    sources: tuple[str, ...]
    out_features: int
    in_features: int
    is_head: bool = False

    def linear(self, scheme: Scheme) -> type[Linear]:
        """The class that holds it."""
        return scheme.linear(self.out_features, self.in_features, is_head=self.is_head)


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


def load_decoder(
    config: DecoderConfig,
    files: Sequence[Path],
    precision: Precision,
    packed_dir: Path,
    progress: Progress,
    verify: Callable[[], None],
    open_codes: Callable[[], FileCodes | None] = lambda: None,
    device: torch.device = CPU,
) -> LoadedDecoder:
    """Load a decoder. At no time are there two copies of the weights in its memory, only of one matrix.

    Args:
        config: the decoder's shape.
        files: the checkpoint's safetensors.
        precision: how to hold the weights.
        packed_dir: where packed weights of this very checkpoint are kept.
        progress: told the fraction done.
        verify: checks ``files``, called before they are read.
        open_codes: opens the published file, whose 4-bit codes int4 keeps; called only to pack.
        device: whose memory they go to.

    Raises:
        WeightsIntegrityError: from ``verify``, or a weight is not a finite number.
        UnsupportedModelError: a tensor is missing.
    """
    scheme = _scheme(config, precision, device)
    matrices = list(_matrices(config))
    packed = _Packed(packed_dir / f"{precision}-{_layout_key(precision, scheme, device)}.safetensors")
    if precision is not Precision.BF16 and packed.is_sound():
        states, norms = packed.read(matrices, device, progress)
        modules = {m.name: m.linear(scheme).from_state(states[m.name]) for m in matrices}
    else:
        verify()
        codes = open_codes() if precision is Precision.INT4 else None
        modules, norms = _pack(config, matrices, files, scheme, codes, device, progress)
        if precision is not Precision.BF16:
            packed.write({name: module.state() for name, module in modules.items()}, norms)
    everything = {f"{n}.{k}": t for n, m in modules.items() for k, t in m.state().items()}
    return LoadedDecoder(
        _assemble(config, scheme, modules, norms),
        state_bytes(everything | norms),
        scheme.kernel,
        tuple(m.name for m in matrices if m.linear(scheme) is scheme.fallback is not scheme.body),
    )


def estimate_bytes(config: DecoderConfig, precision: Precision, device: torch.device = CPU) -> int:
    """Bytes the weights will take at a precision, known without reading them (norms and biases left out)."""
    scheme = _scheme(config, precision, device)
    return sum(m.linear(scheme).estimate_bytes(m.out_features, m.in_features) for m in _matrices(config))


def _scheme(config: DecoderConfig, precision: Precision, device: torch.device) -> Scheme:
    if device.type != "cpu":
        return cuda_scheme_of(precision, device)
    return scheme_of(precision, native=config.head_dim % HEAD_DIM_STEP == 0 and library() is not None)


def _matrices(config: DecoderConfig) -> Iterator[_Matrix]:
    hidden, inner = config.hidden_size, config.intermediate_size
    query, key = config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim
    yield _Matrix("embedding", ("model.embed_tokens",), config.vocab_size, hidden, is_head=True)
    if not config.tied_head:
        yield _Matrix("head", ("lm_head",), config.vocab_size, hidden, is_head=True)
    for i in range(config.n_layers):
        attn, mlp = f"model.layers.{i}.self_attn", f"model.layers.{i}.mlp"
        qkv = (f"{attn}.q_proj", f"{attn}.k_proj", f"{attn}.v_proj")
        yield _Matrix(f"layers.{i}.qkv", qkv, query + 2 * key, hidden)
        yield _Matrix(f"layers.{i}.o", (f"{attn}.o_proj",), hidden, query)
        yield _Matrix(f"layers.{i}.gate_up", (f"{mlp}.gate_proj", f"{mlp}.up_proj"), 2 * inner, hidden)
        yield _Matrix(f"layers.{i}.down", (f"{mlp}.down_proj",), hidden, inner)


def _norm_sources(n_layers: int) -> dict[str, str]:
    """Norm vectors by our name, with the checkpoint's. The two of q and k are qwen3's alone."""
    names = {"norm": "model.norm.weight"}
    for i in range(n_layers):
        layer = f"model.layers.{i}"
        names |= {
            f"layers.{i}.input_norm": f"{layer}.input_layernorm.weight",
            f"layers.{i}.post_norm": f"{layer}.post_attention_layernorm.weight",
            f"layers.{i}.q_norm": f"{layer}.self_attn.q_norm.weight",
            f"layers.{i}.k_norm": f"{layer}.self_attn.k_norm.weight",
        }
    return names


def _pack(
    config: DecoderConfig,
    matrices: list[_Matrix],
    files: Sequence[Path],
    scheme: Scheme,
    codes: FileCodes | None,
    device: torch.device,
    progress: Progress,
) -> tuple[dict[str, Linear], State]:
    """Read the checkpoint matrix by matrix; only one is held unpacked at a time."""
    with ExitStack() as stack:
        readers = [stack.enter_context(safe_open(file, framework="pt")) for file in files]
        where = {name: reader for reader in readers for name in reader.keys()}  # noqa: SIM118 (not a dict)

        def read(name: str) -> Tensor:
            if name not in where:
                raise UnsupportedModelError(f"The checkpoint has no tensor {name!r}.")
            tensor: Tensor = where[name].get_tensor(name)
            if not bool(torch.isfinite(tensor).all()):
                raise WeightsIntegrityError(
                    f"{name} of this model holds a value that is not a finite number: the checkpoint is damaged."
                )
            return tensor

        modules: dict[str, Linear] = {}
        for done, matrix in enumerate(matrices):
            linear = matrix.linear(scheme)
            parts = [read(f"{source}.weight").to(torch.bfloat16) for source in matrix.sources]
            biases = [read(f"{s}.bias") for s in matrix.sources if f"{s}.bias" in where]
            known = _joined_codes(codes, matrix, parts) if codes and linear is scheme.body else None
            # cat copies, so what is kept never leans on the file
            weight, bias = torch.cat(parts).to(device), torch.cat(biases).to(device) if biases else None
            modules[matrix.name] = linear.pack(weight, bias, known and known.to(device))
            progress((done + 1) / len(matrices))
        norms = {
            ours: read(theirs).to(device, torch.bfloat16, copy=True)
            for ours, theirs in _norm_sources(config.n_layers).items()
            if theirs in where
        }
    return modules, norms


def _joined_codes(codes: FileCodes, matrix: _Matrix, parts: list[Tensor]) -> GroupCodes | None:
    """The file's codes of a joined matrix, parts that the file holds otherwise quantized here; ``None`` if all are."""
    found = [codes.find(f"{source}.weight") for source in matrix.sources]
    if not any(found):
        return None
    return GroupCodes.joined([f or quantize_groups(part) for f, part in zip(found, parts, strict=True)])


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
        states = ((name, module.state()) for name, module in modules.items())
        shared: dict[str, Linear] = {n: scheme.few_rows(s["weight"], None, s.get("bias")) for n, s in states}
        return HybridDecoder(eager, NativeDecoder(config, kernels, shared, norms))
    return eager


def _layout_key(precision: Precision, scheme: Scheme, device: torch.device) -> str:
    """What decides a packed layout apart from the weights. Our kernels have one; torch's and bitsandbytes'
    depend on the processor and their version."""
    if scheme.native:
        return f"gearbox-v{PACKED_FORMAT}"
    package = "bitsandbytes" if precision is Precision.NF4 else "torch"
    kernel = scheme.kernel.replace(" ", "-").replace(",", "")
    capability = torch.backends.cpu.get_cpu_capability() if device.type == "cpu" else device.type
    return f"{capability}-{kernel}-{version(package)}-v{PACKED_FORMAT}".lower()


class _Packed:
    """A file of packed weights, with its checksum beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checksum = path.with_suffix(".sha256")

    def is_sound(self) -> bool:
        """Whether the file is there and holds what was written."""
        if not (self.path.exists() and self.checksum.exists()):
            return False
        if sha256_of(self.path) == self.checksum.read_text().strip():
            return True
        log.warning("%s was truncated or altered since it was written; packing again", self.path)
        return False

    def read(self, matrices: list[_Matrix], device: torch.device, progress: Progress) -> tuple[dict[str, State], State]:
        """States by matrix, and the norms, in a device's memory."""
        names = {m.name for m in matrices}
        states: dict[str, State] = {name: {} for name in names}
        norms: State = {}
        with safe_open(self.path, framework="pt") as reader:
            keys = list(reader.keys())
            for done, key in enumerate(keys):
                matrix, _, part = key.rpartition(".")
                # copied, so that a file replaced later cannot reach into a running model
                tensor = reader.get_tensor(key).to(device, copy=True)
                if matrix in names:
                    states[matrix][part] = tensor
                else:
                    norms[key] = tensor
                progress((done + 1) / len(keys))
        return states, norms

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
            aside.unlink(missing_ok=True)
