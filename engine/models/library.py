"""What can be chosen: the catalogue, and the folders that somebody put beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine.errors import GearboxError, ModelNotInstalledError, UnsupportedModelError
from engine.models.checkpoint import inspect, kept_manifest, known_models, resolve
from engine.models.format.origin import Origin
from engine.models.sources.catalog import CATALOG, CatalogModel
from engine.untrusted import valid_text


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """One model, as a list shows it."""

    name: str
    title: str
    purpose: str
    family: str | None
    """``None`` where the folder cannot be read."""
    installed: bool
    """Whether it can be run as it is."""
    problem: str | None
    """Why a model that is here cannot be run."""
    provenance: str
    parameters: int | None
    context_length: int | None
    disk_bytes: int
    """Space taken now, the published file included."""
    download_bytes: int | None
    """``None`` for a model that is not in the catalogue."""
    licence: str | None

    @property
    def in_catalog(self) -> bool:
        """Whether it can be installed from here."""
        return self.name in CATALOG

    @property
    def quantized_before(self) -> bool:
        """Whether its 16-bit weights are what somebody else's quantization left of the original ones."""
        return self.provenance.startswith("dequantized")


def list_models(models_dir: Path) -> list[ModelInfo]:
    """The catalogue in its order, then the folders of ``models_dir``; no weights are read."""
    return [_info(name, models_dir) for name in known_models(models_dir)]


def find_model(name: str, models_dir: Path) -> ModelInfo | None:
    """The entry of that list with a name, without a look at the others; ``None`` if there is none."""
    return _info(name, models_dir) if name in known_models(models_dir) else None


def _info(name: str, models_dir: Path) -> ModelInfo:
    return _catalog_info(CATALOG[name], models_dir) if name in CATALOG else _folder_info(name, models_dir / name)


def _catalog_info(model: CatalogModel, models_dir: Path) -> ModelInfo:
    problem = None
    provenance = f"dequantized from {model.source_precision}"
    try:
        checkpoint = resolve(model.name, models_dir)
        installed, provenance = True, checkpoint.provenance
    except ModelNotInstalledError:
        installed = False
    except GearboxError as error:
        installed, problem = False, str(error)
    return ModelInfo(
        name=model.name,
        title=model.title,
        purpose=model.purpose,
        family=model.family,
        installed=installed,
        problem=problem,
        provenance=provenance,
        parameters=model.parameters,
        context_length=model.context_length,
        disk_bytes=_bytes_of(models_dir / model.name) + _bytes_of(models_dir / model.file_name),
        download_bytes=model.download_bytes,
        licence=model.licence,
    )


def _folder_info(name: str, folder: Path) -> ModelInfo:
    contents, manifest, problem = None, None, None
    shown, origin = valid_text(name), Origin.read(folder)
    try:
        if shown != name:
            raise UnsupportedModelError("The folder's name is no UTF-8, so the libraries cannot open it. Rename it.")
        contents = inspect(name, folder)
        manifest = kept_manifest(folder, contents)
    except GearboxError as error:
        problem = str(error)
    return ModelInfo(
        name=shown,
        title=shown,
        purpose=f"From the hub: {origin.repository}."
        if origin
        else "A GGUF file of your own, converted."
        if manifest
        else "A folder of your own.",
        family=contents.architecture.family if contents else None,
        installed=contents is not None,
        problem=problem,
        provenance=manifest.provenance if manifest else contents.provenance if contents else "unknown",
        parameters=contents.parameters if contents else None,
        context_length=contents.architecture.context_length if contents else None,
        disk_bytes=_bytes_of(folder),
        download_bytes=None,
        licence=(origin.licence if origin else None) or (manifest.licence if manifest else None),
    )


def _bytes_of(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
