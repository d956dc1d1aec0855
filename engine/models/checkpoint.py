"""Finds a model by its name and checks that its files are what they should be.

A name is, in this order: one of the catalogue, a folder (in the models folder or anywhere), the id
of a repository on the model hub. Whatever it is, what comes out is a folder in the standard Hugging
Face layout.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import ModelNotInstalledError, UnknownModelError, UnsupportedModelError, WeightsIntegrityError
from engine.models.format.architecture import Architecture
from engine.models.format.gate import EMBEDDING, HEAD, check_folder, check_tensors, check_tokenizer, read_config
from engine.models.format.manifest import (
    FileRecord,
    FolderState,
    Manifest,
    file_state,
    folder_state,
    identity,
    sha256_once,
)
from engine.models.format.packed import unpacked
from engine.models.format.quantization import Quantization, read_quantization
from engine.models.format.weight_files import StoredTensor, read_tensors
from engine.models.sources.catalog import CATALOG, CatalogModel
from engine.types import is_remote

if TYPE_CHECKING:
    from engine.models.quantized.stored_weights import StoredWeights
    from engine.models.sources.file_codes import FileCodes

log = logging.getLogger(__name__)

PACKED = ".packed"
"""The folder of packed weights, in the models folder."""
_LONGEST_NAME = 250
_SHA256 = re.compile(r"[0-9a-f]{64}")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_PRECISION_NAMES = {"bfloat16": "16-bit", "float16": "16-bit", "float32": "32-bit"}
_CHUNK_BYTES = 2**20

_compared: dict[Any, bool] = {}
"""Whether two tensors are the same, by where they lie and the state of their files."""
_resolved: dict[tuple[str, Path], tuple[FolderState, Checkpoint]] = {}
"""Checkpoints as they were last found, by name and folder, with what their folders held: each request asks for one, and
reading the headers takes milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A model on this machine, in full precision."""

    name: str
    folder: Path
    architecture: Architecture
    provenance: str
    """Where the weights come from: "dequantized from Q4_1 and Q8_0, 5.7 bits a weight"."""
    parameters: int
    weight_files: tuple[Path, ...]
    weights_sha256: str
    """Identity: one hash of all weight files and ``config.json``."""
    records: Mapping[str, FileRecord]
    """Files of the folder as they were when this was made, by name."""
    quantization: Quantization | None = None
    """How its matrices are held, where another tool quantized them; they are dequantized as they are read."""
    source: Path | None = None
    """The published file it was converted from, where that is known."""
    source_sha256: str = ""

    @property
    def codes_sha256(self) -> str | None:
        """What the published file's sha256 has to be for its codes to be taken over; ``None`` if it is not there. A
        quantized checkpoint is the published file itself."""
        if self.quantization:
            return self.weights_sha256 if self.quantization.keeps_codes else None
        known = self.source is not None and self.source.is_file() and _SHA256.fullmatch(self.source_sha256)
        return self.source_sha256 if known else None

    def open_weights(self) -> StoredWeights:
        """Its tensors, dequantized where they have to be. Brings torch.

        Raises:
            SafetensorError: a file cannot be read.
            UnsupportedModelError, WeightsIntegrityError: what stands for a weight is not as promised.
        """
        from engine.models.quantized.stored_weights import StoredWeights

        return StoredWeights(self.name, self.weight_files, self.architecture.tensors(), self.quantization)

    def open_codes(self) -> FileCodes | StoredWeights | None:
        """The codes of the published file; ``None`` if there is none, or it is not the published one any more."""
        if self.quantization:
            return self.open_weights()
        from engine.models.sources.file_codes import FileCodes  # brings torch, which a page's first import must not

        if self.source is None or not self.source.is_file():
            return None
        if sha256_once(self.source) != self.source_sha256:
            log.warning("%s was altered; the weights are quantized from the converted ones", self.source)
            return None
        return FileCodes(self.source)

    @property
    def family(self) -> str:
        """One of :data:`~engine.models.format.architecture.FAMILIES`."""
        return self.architecture.family

    @property
    def context_length(self) -> int:
        """Tokens."""
        return self.architecture.context_length

    def kept_in(self, root: Path) -> Path:
        """The folder for what is made of this checkpoint and kept, below that for all of them."""
        return root / self.weights_sha256[:16]

    def verify(self) -> None:
        """Check every recorded file's size and sha256. A file is read once per process.

        Raises:
            WeightsIntegrityError: one is missing, truncated or altered.
        """
        for name, record in self.records.items():
            _check_file(self.name, self.folder / name, record, hashed=True)


def resolve(name: str, models_dir: Path) -> Checkpoint:
    """Find the model that ``name`` stands for. Hub models are downloaded if they are not here yet.

    Raises:
        UnknownModelError: there is no such model.
        ModelNotInstalledError: it has to be installed or downloaded first.
        UnsupportedModelError: its family or file format is not one that runs here.
        WeightsIntegrityError: its files contradict themselves.
    """
    if is_remote(name):
        raise UnsupportedModelError(f"{name} runs on a server: its weights and its tokens are not to be seen here.")
    if name in CATALOG:
        return _unless_changed(name, models_dir / name, lambda folder: _from_catalog(CATALOG[name], folder))
    if len(name) > _LONGEST_NAME:
        raise UnknownModelError(f"There is no model with a name of {len(name):,} characters.")
    for folder in (models_dir / name, Path(name).expanduser()):
        if (folder / "config.json").is_file():
            return _unless_changed(name, folder, lambda folder: _from_folder(name, folder))
        if folder.is_dir() and folder.resolve() != models_dir.resolve():
            raise UnknownModelError(f"The folder {folder} has no config.json, so it is not a model.")
    if _HUB_ID.fullmatch(name):
        from engine.models.sources.hub import fetch

        return _unless_changed(name, fetch(name), lambda folder: _from_folder(name, folder))
    raise UnknownModelError(
        f"There is no model {name!r}. Known models: {', '.join(known_models(models_dir))}. "
        "A local folder or a hub id such as org/name will do too."
    )


def known_models(models_dir: Path) -> list[str]:
    """Names of the catalogue, then of the folders in ``models_dir`` that hold a model."""
    local = [path.parent.name for path in models_dir.glob("*/config.json")]
    return [*CATALOG, *sorted(name for name in local if name not in CATALOG and not name.startswith("."))]


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderContents:
    """What a folder holds, known without reading the weights."""

    architecture: Architecture
    """As ``config.json`` says it, but for a head that the folder holds beside tied embeddings."""
    provenance: str
    tensors: Mapping[str, StoredTensor]
    """Of the model in full precision, which a quantized checkpoint holds in several others."""
    weight_files: tuple[Path, ...]
    quantization: Quantization | None

    @property
    def parameters(self) -> int:
        """All weights; a head that is not tied to the embedding counts."""
        return sum(tensor.elements for tensor in self.tensors.values())


def inspect(name: str, folder: Path) -> FolderContents:
    """Hold a folder against what its configuration promises; of the weights, only the headers are read.

    Raises:
        UnsupportedModelError, WeightsIntegrityError: as :func:`resolve`.
    """
    config = read_config(folder)
    architecture = Architecture.from_config(name, config)
    check_folder(name, folder)
    quantization = read_quantization(name, config)
    tensors = read_tensors(name, folder, packed=quantization is not None)
    weight_files = tuple(sorted({tensor.file for tensor in tensors.values()}))
    if quantization:
        promised = architecture.tensors()
        tensors = unpacked(name, quantization, promised | {HEAD: promised[EMBEDDING]}, tensors)
    check_tensors(name, architecture, tensors)
    check_tokenizer(name, folder, architecture.vocab_size)
    if architecture.tied_head and HEAD in tensors:
        architecture = replace(architecture, tied_head=_same_bytes(tensors[HEAD], tensors[EMBEDDING]))
    precision = _PRECISION_NAMES.get(str(config.get("dtype", config.get("torch_dtype"))), "full")
    return FolderContents(
        architecture=architecture,
        provenance=quantization.provenance if quantization else f"{precision} precision, as published",
        tensors=tensors,
        weight_files=weight_files,
        quantization=quantization,
    )


def _unless_changed(name: str, folder: Path, read: Callable[[Path], Checkpoint]) -> Checkpoint:
    """What was read of a folder, as long as no file of it has changed; else what is read now."""
    state = folder_state(folder)
    known = _resolved.get((name, folder))
    if known is not None and known[0] == state:
        return known[1]
    checkpoint = read(folder)
    _resolved[name, folder] = state, checkpoint
    return checkpoint


def kept_manifest(folder: Path, contents: FolderContents) -> Manifest | None:
    """The manifest of a folder that was converted here; ``None`` if it has none that covers all of its weights."""
    try:
        manifest = Manifest.read(folder)
    except (OSError, WeightsIntegrityError):  # some other program's file of that name
        return None
    decisive = {"config.json", *(path.name for path in contents.weight_files)}
    return manifest if decisive <= manifest.files.keys() else None


def _from_folder(name: str, folder: Path) -> Checkpoint:
    contents = inspect(name, folder)
    if manifest := kept_manifest(folder, contents):
        _check_records(name, folder, manifest)
        return _converted(name, folder, manifest, contents)
    files = [folder / "config.json", *contents.weight_files]
    records = {path.name: FileRecord(path.stat().st_size, sha256_once(path)) for path in files}
    return Checkpoint(
        name=name,
        folder=folder,
        architecture=contents.architecture,
        provenance=contents.provenance,
        parameters=contents.parameters,
        weight_files=contents.weight_files,
        weights_sha256=identity({file: record.sha256 for file, record in records.items()}),
        records=records,
        quantization=contents.quantization,
    )


def _from_catalog(model: CatalogModel, folder: Path) -> Checkpoint:
    try:
        manifest = Manifest.read(folder)
    except FileNotFoundError as error:
        raise ModelNotInstalledError(
            f"{model.name} is not installed yet. Install it on the Models page, or with: "
            f"python -m engine models install {model.name}"
        ) from error
    _check_records(model.name, folder, manifest)
    return _converted(model.name, folder, manifest, inspect(model.name, folder))


def _check_records(name: str, folder: Path, manifest: Manifest) -> None:
    """Hold a folder's files against what was written; the weights are read at loading, and here their sizes count."""
    for file, record in manifest.files.items():
        _check_file(name, folder / file, record, hashed=not file.endswith(".safetensors"))


def _converted(name: str, folder: Path, manifest: Manifest, contents: FolderContents) -> Checkpoint:
    inside = folder / manifest.source_file
    return Checkpoint(
        name=name,
        folder=folder,
        architecture=contents.architecture,
        provenance=manifest.provenance,
        parameters=manifest.parameters,
        weight_files=contents.weight_files,
        weights_sha256=identity({file: record.sha256 for file, record in manifest.files.items()}),
        records=manifest.files,
        source=inside if inside.is_file() else folder.parent / manifest.source_file,
        source_sha256=manifest.source_sha256,
    )


def _check_file(model: str, path: Path, record: FileRecord, *, hashed: bool) -> None:
    """Whether a file is as it was written, by its size and, if it is to be ``hashed``, by its content.

    Raises:
        WeightsIntegrityError: it is missing, truncated or altered.
    """
    remedy = "Copy or download the model again."
    if model in CATALOG:
        remedy = f"Reinstall the model on the Models page, or with: python -m engine models install {model} --reinstall"
    if not path.is_file():
        raise WeightsIntegrityError(f"{path} is missing. {remedy}")
    size = path.stat().st_size
    if size == record.bytes and not hashed:
        return
    found = sha256_once(path)
    if (size, found) != (record.bytes, record.sha256):
        how = "altered" if size == record.bytes else "truncated" if size < record.bytes else "overwritten"
        raise WeightsIntegrityError(
            f"{path} was {how}: it has {size:,} bytes and sha256 {found}, and should have "
            f"{record.bytes:,} bytes and sha256 {record.sha256}. {remedy}"
        )


def _same_bytes(first: StoredTensor, second: StoredTensor) -> bool:
    """Whether two tensors hold the same weights. Read once per process and state of the files."""
    if (first.dtype, first.shape) != (second.dtype, second.shape):
        return False
    key = (first, file_state(first.file), second, file_state(second.file))
    if key not in _compared:
        with first.file.open("rb") as one, second.file.open("rb") as other:
            one.seek(first.begin)
            other.seek(second.begin)
            left = first.end - first.begin
            while left and one.read(min(left, _CHUNK_BYTES)) == other.read(min(left, _CHUNK_BYTES)):
                left -= min(left, _CHUNK_BYTES)
        _compared[key] = not left
    return _compared[key]
