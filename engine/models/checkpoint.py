"""Finds a model by its name and checks that its files are what they should be.

A name is, in this order: one of the catalogue, a folder (in the models folder or anywhere), the id
of a repository on the model hub. Whatever it is, what comes out is a folder in the standard Hugging
Face layout.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import ModelNotInstalledError, UnknownModelError, UnsupportedModelError, WeightsIntegrityError
from engine.models.catalog import CATALOG, CatalogModel
from engine.models.manifest import FileRecord, Manifest, identity, sha256_of

if TYPE_CHECKING:
    from engine.models.file_codes import FileCodes

log = logging.getLogger(__name__)

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
"""Values of ``model_type`` in ``config.json`` that the decoder runs."""

_LONGEST_NAME = 250
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_INDEX_FILE = "model.safetensors.index.json"
_FULL_PRECISION = ("BF16", "F16", "F32")
_PRECISION_NAMES = {"bfloat16": "16-bit", "float16": "16-bit", "float32": "32-bit"}

_hashes: dict[tuple[Path, int, int], str] = {}
"""sha256 of files already read by this process, by path, time of last change and size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A model on this machine, in full precision."""

    name: str
    folder: Path
    family: str
    """One of :data:`FAMILIES`."""
    provenance: str
    """Where the weights come from: "dequantized from Q4_1 and Q8_0, 5.7 bits a weight"."""
    parameters: int
    context_length: int
    weight_files: tuple[Path, ...]
    weights_sha256: str
    """Identity: one hash of all weight files and ``config.json``."""
    records: Mapping[str, FileRecord]
    """Files of the folder as they were when this was made, by name."""
    source: Path | None = None
    """The published file it was converted from, where that is known."""
    source_sha256: str = ""

    def open_codes(self) -> FileCodes | None:
        """The codes of the published file; ``None`` if there is none, or it is not the published one any more."""
        from engine.models.file_codes import FileCodes  # brings torch, which a page's first import must not

        if self.source is None or not self.source.exists():
            return None
        if _sha256(self.source) != self.source_sha256:
            log.warning("%s was altered; the weights are quantized from the converted ones", self.source)
            return None
        return FileCodes(self.source)

    def verify(self) -> None:
        """Check every recorded file's size and sha256. A file is read once per process.

        Raises:
            WeightsIntegrityError: one is missing, truncated or altered.
        """
        for name, record in self.records.items():
            path = self.folder / name
            if not path.exists():
                raise WeightsIntegrityError(f"{path} is missing. {self._remedy}")
            size = path.stat().st_size
            found = _sha256(path)
            if (size, found) != (record.bytes, record.sha256):
                how = "altered" if size == record.bytes else "truncated" if size < record.bytes else "overwritten"
                raise WeightsIntegrityError(
                    f"{path} was {how}: it has {size:,} bytes and sha256 {found}, and should have "
                    f"{record.bytes:,} bytes and sha256 {record.sha256}. {self._remedy}"
                )

    @property
    def _remedy(self) -> str:
        if self.name in CATALOG:
            return (
                f"Reinstall the model on the Models page, or with: "
                f"python -m engine models install {self.name} --reinstall"
            )
        return "Copy or download the model again."


def resolve(name: str, models_dir: Path) -> Checkpoint:
    """Find the model that ``name`` stands for. Hub models are downloaded if they are not here yet.

    Raises:
        UnknownModelError: there is no such model.
        ModelNotInstalledError: it has to be installed or downloaded first.
        UnsupportedModelError: its family or file format is not one that runs here.
        WeightsIntegrityError: its files contradict themselves.
    """
    if name in CATALOG:
        return _from_catalog(CATALOG[name], models_dir / name)
    if len(name) > _LONGEST_NAME:
        raise UnknownModelError(f"There is no model with a name of {len(name):,} characters.")
    for folder in (models_dir / name, Path(name).expanduser()):
        if (folder / "config.json").is_file():
            return _from_folder(name, folder)
        if folder.is_dir() and folder.resolve() != models_dir.resolve():
            raise UnknownModelError(f"The folder {folder} has no config.json, so it is not a model.")
    if _HUB_ID.fullmatch(name):
        from engine.models.hub import fetch

        return _from_folder(name, fetch(name))
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
    """What a folder that somebody else made holds, known without reading the weights."""

    family: str
    provenance: str
    parameters: int
    context_length: int
    weight_files: tuple[Path, ...]


def inspect(name: str, folder: Path) -> FolderContents:
    """Look at a folder's configuration and at the headers of its weight files.

    Raises:
        UnsupportedModelError, WeightsIntegrityError: as :func:`resolve`.
    """
    config = read_config(folder)
    check_supported(name, config)
    if not isinstance(config.get("max_position_embeddings"), int):
        raise UnsupportedModelError(f"{folder / 'config.json'} does not say how long the context is.")
    files = _weight_files(name, folder)
    tensors = [tensor for path in files for tensor in _read_header(path).values()]
    precision = _PRECISION_NAMES.get(str(config.get("dtype", config.get("torch_dtype"))), "full")
    return FolderContents(
        family=config["model_type"],
        provenance=f"{precision} precision, as published",
        parameters=sum(math.prod(tensor["shape"]) for tensor in tensors),
        context_length=config["max_position_embeddings"],
        weight_files=tuple(files),
    )


def _from_folder(name: str, folder: Path) -> Checkpoint:
    contents = inspect(name, folder)
    files = [folder / "config.json", *contents.weight_files]
    records = {path.name: FileRecord(path.stat().st_size, _sha256(path)) for path in files}
    return Checkpoint(
        name=name,
        folder=folder,
        family=contents.family,
        provenance=contents.provenance,
        parameters=contents.parameters,
        context_length=contents.context_length,
        weight_files=contents.weight_files,
        weights_sha256=identity({file: record.sha256 for file, record in records.items()}),
        records=records,
    )


def check_supported(name: str, config: Mapping[str, Any]) -> None:
    """Whether a model with this ``config.json`` runs here.

    Raises:
        UnsupportedModelError: it does not.
    """
    family = config.get("model_type")
    if family not in FAMILIES:
        raise UnsupportedModelError(f"{name} is of the family {family}, and these run here: {', '.join(FAMILIES)}.")
    if quantization := config.get("quantization_config"):
        named = isinstance(quantization, Mapping) and quantization.get("quant_method")
        method = named or "an unnamed method"
        raise UnsupportedModelError(
            f"{name} is already quantized ({method}). Choose its full-precision checkpoint: it is quantized here."
        )


def read_config(folder: Path) -> dict[str, Any]:
    """The folder's ``config.json``.

    Raises:
        WeightsIntegrityError: it is no JSON object.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_bytes())
    except ValueError as error:
        raise WeightsIntegrityError(f"{path} is damaged: {error}.") from error
    if not isinstance(config, dict):
        raise WeightsIntegrityError(f"{path} is damaged: it holds no settings.")
    return config


def _from_catalog(model: CatalogModel, folder: Path) -> Checkpoint:
    try:
        manifest = Manifest.read(folder)
    except FileNotFoundError as error:
        raise ModelNotInstalledError(
            f"{model.name} is not installed yet. Install it on the Models page, or with: "
            f"python -m engine models install {model.name}"
        ) from error
    return Checkpoint(
        name=model.name,
        folder=folder,
        family=model.family,
        provenance=manifest.provenance,
        parameters=manifest.parameters,
        context_length=model.context_length,
        weight_files=tuple(folder / name for name in manifest.files if name.endswith(".safetensors")),
        weights_sha256=identity({name: record.sha256 for name, record in manifest.files.items()}),
        records=manifest.files,
        source=folder.parent / manifest.source_file,
        source_sha256=manifest.source_sha256,
    )


def _weight_files(name: str, folder: Path) -> list[Path]:
    index = folder / _INDEX_FILE
    if index.is_file():
        try:
            files = [folder / shard for shard in sorted(set(json.loads(index.read_bytes())["weight_map"].values()))]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise WeightsIntegrityError(f"{index} is damaged ({error}). Copy or download the model again.") from error
    else:
        files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise UnsupportedModelError(f"{name} has no weights in safetensors, the one format that is read here.")
    for path in files:
        if not path.is_file():
            raise WeightsIntegrityError(f"{path} is missing. Copy or download the model again.")
    return files


def _read_header(path: Path) -> dict[str, Any]:
    """Name, type and shape of each tensor, once it is sure that the file is as long as they say."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            header = json.loads(file.read(min(length, size)))
            header.pop("__metadata__", None)
            expected = 8 + length + max(tensor["data_offsets"][1] for tensor in header.values())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise WeightsIntegrityError(
                f"{path} is damaged: it does not begin as a safetensors file should. Copy or download the model again."
            ) from error
    if size != expected:
        raise WeightsIntegrityError(
            f"{path} was {'truncated' if size < expected else 'overwritten'}: it has {size:,} bytes and should have "
            f"{expected:,}. Copy or download the model again."
        )
    for name, tensor in header.items():
        if tensor["dtype"] not in _FULL_PRECISION:
            raise UnsupportedModelError(
                f"{path.name} holds {name} as {tensor['dtype']}: the model is already quantized. "
                "Choose its full-precision checkpoint."
            )
    return dict(header)


def _sha256(path: Path) -> str:
    state = path.stat()
    key = (path.resolve(), state.st_mtime_ns, state.st_size)
    if key not in _hashes:
        _hashes[key] = sha256_of(path)
    return _hashes[key]
