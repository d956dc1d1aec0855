"""Adds a GGUF file to the models: reads and checks it, and converts it into a folder beside the catalogue's.

Everything is written into a folder aside and renamed when it is whole and opens, so a model is either there or it is
not. What an earlier attempt left aside goes first.
"""

from __future__ import annotations

import os
import re
import shutil
from functools import partial
from pathlib import Path

from engine.errors import InvalidRequestError
from engine.models.checkpoint import Checkpoint, inspect, resolve
from engine.models.format.manifest import sha256_of
from engine.models.own.summary import GgufSummary, look_at
from engine.models.sources.catalog import CATALOG
from engine.models.sources.progress import Progress, part, silent
from engine.models.writing import check_room, one_at_a_time, plain_disk_errors

LONGEST_NAME = 100
"""Characters."""

_NAME = re.compile(r"\w[\w. +-]*", re.ASCII)
_NOT_IN_NAMES = re.compile(r"[^\w.+-]+", re.ASCII)
_ASIDE = ".adding"
_CHUNK_BYTES = 1 << 22


def add(source: Path, models_dir: Path, progress: Progress = silent, *, name: str | None = None) -> Checkpoint:
    """Convert the GGUF file ``source`` into a folder of ``models_dir``. The file itself is left as it is.

    Where int4 takes over codes of the file, it is kept in the folder too: linked if it is on the same disk, else
    copied. ``progress`` may raise to cancel.

    Args:
        source: the file.
        models_dir: made if it does not exist.
        progress: told what is being done and the fraction of it all that is done.
        name: what to call the model; by default what :func:`name_for` gives.

    Raises:
        InvalidRequestError: the name cannot be used, or is taken; there is no such file.
        UnsupportedModelError: the file is no GGUF file, or not one of a model that runs here.
        WeightsIntegrityError: it is damaged.
        InstallError: reading or writing failed; says why, and how much room is missing.
    """
    name = name_for(source) if name is None else name
    check_name(name, models_dir)
    needed = 0
    aside = models_dir / _ASIDE
    with plain_disk_errors(name, models_dir, lambda: needed):
        summary = look_at(source)
        needed = summary.needed_bytes
        models_dir.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(models_dir / f"{_ASIDE}.lock", progress, "Waiting for another model that is added"):
            check_name(name, models_dir)
            shutil.rmtree(aside, ignore_errors=True)
            check_room(name, models_dir, needed)
            aside.mkdir()
            try:
                _convert(summary, name, aside, progress)
                aside.rename(models_dir / name)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
    progress("Ready", 1.0)
    return resolve(name, models_dir)


def name_for(source: Path) -> str:
    """What a model is called after its file."""
    stem = source.stem if source.suffix.lower() == ".gguf" else source.name
    return _NOT_IN_NAMES.sub("-", stem)[:LONGEST_NAME].strip("-. ") or "model"


def check_name(name: str, models_dir: Path) -> None:
    """Whether a model can be called that.

    Raises:
        InvalidRequestError: it cannot, or one is called so already.
    """
    if len(name) > LONGEST_NAME or not _NAME.fullmatch(name) or name[-1] in ". ":
        raise InvalidRequestError(
            f"A model cannot be called {name[:LONGEST_NAME]!r}: a name has up to {LONGEST_NAME} letters, digits, "
            "spaces, dots, hyphens and plus signs, and begins with a letter or a digit."
        )
    if name.lower() in _names(models_dir):
        raise InvalidRequestError(f"There is a model called {name} already. Choose another name, or remove that one.")


def free_name(name: str, models_dir: Path) -> str:
    """A name that is not taken: this one, or else with a number behind it."""
    taken = _names(models_dir)
    numbered = (f"{name[: LONGEST_NAME - 5]}-{number}" for number in range(2, len(taken) + 3))
    return next(each for each in (name, *numbered) if each.lower() not in taken)


def _names(models_dir: Path) -> set[str]:
    """Names that are taken, in lower case: some disks do not tell capitals apart."""
    here = models_dir.iterdir() if models_dir.is_dir() else ()
    return {*CATALOG, *(path.name.lower() for path in here)}


def _convert(summary: GgufSummary, name: str, folder: Path, progress: Progress) -> None:
    from engine.models.sources.conversion import convert
    from engine.models.sources.file_codes import keeps_codes

    done = 0

    def on_bytes(count: int) -> None:
        nonlocal done
        done += count
        progress("Checking the file", 0.1 * min(1.0, done / summary.bytes))

    sha256 = sha256_of(summary.path, on_bytes)
    kept = f"{name}.gguf"
    manifest = convert(summary.path, sha256, folder, part(progress, 0.1, 0.9), kept_as=kept)
    if keeps_codes(manifest.encodings):
        _keep(summary.path, folder / kept, part(progress, 0.9, 0.95))
    progress("Opening the model", 0.95)
    check_opens(name, folder)


def _keep(source: Path, target: Path, progress: Progress) -> None:
    """Have the file there too; a link takes no room."""
    try:
        os.link(source, target)
    except OSError:  # on another disk, or of another owner
        done, size = 0, source.stat().st_size
        with source.open("rb") as reading, target.open("wb") as writing:
            for chunk in iter(partial(reading.read, _CHUNK_BYTES), b""):
                writing.write(chunk)
                done += len(chunk)
                progress("Keeping the file's 4-bit codes", min(1.0, done / max(size, 1)))


def check_opens(name: str, folder: Path) -> None:
    """Whether all that reads a model takes what a folder holds; of the weights, only the headers are read.

    Raises:
        UnsupportedModelError, WeightsIntegrityError, InvalidRequestError: it does not.
    """
    from engine.models.format.decoder_config import read_decoder_config
    from engine.models.tokenization.tokenizer_calls import call
    from engine.models.tokenization.transformers_tokenizer import read_tokenizer

    contents = inspect(name, folder)
    read_decoder_config(name, folder, contents.architecture)
    call(read_tokenizer, folder)
