"""What a GGUF file is, known from its head alone, before it is added."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine.errors import UnknownModelError
from engine.models.writing import SMALL_FILES_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufSummary:
    """A file that can be added."""

    path: Path
    bytes: int
    family: str
    parameters: int
    context_length: int
    encodings: tuple[str, ...]
    """In which weights are held, most used first."""
    bits_per_weight: float
    licence: str | None
    """As the file names it."""
    has_template: bool
    """Whether it brings a chat template: without one, a chat is its messages one after the other."""

    @property
    def needed_bytes(self) -> int:
        """Disk space that adding it takes at most: its weights in 16 bits, and a copy of it."""
        return 2 * self.parameters + SMALL_FILES_BYTES + self.bytes


def look_at(path: Path) -> GgufSummary:
    """Read a file's head and check what can be checked without reading weights.

    Raises:
        UnknownModelError: there is no such file.
        UnsupportedModelError: it is no GGUF file, or not one of a model that runs here.
        WeightsIntegrityError: it is damaged.
        OSError: it cannot be read.
    """
    # here, so that a page's first import brings none of their libraries
    from engine.models.sources.conversion import checked_config, checked_stop_ids, licence_of
    from engine.models.sources.gguf_config import weights_of
    from engine.models.sources.gguf_file import GgufFile

    path = checked_path(path)
    gguf = GgufFile.open(path)
    config = checked_config(gguf)
    checked_stop_ids(gguf, config)
    return GgufSummary(
        path=path,
        bytes=path.stat().st_size,
        family=config["model_type"],
        parameters=sum(tensor.elements for tensor in weights_of(gguf)),
        context_length=config["max_position_embeddings"],
        encodings=tuple(gguf.encodings),
        bits_per_weight=gguf.bits_per_weight,
        licence=licence_of(gguf),
        has_template="tokenizer.chat_template" in gguf.metadata,
    )


def checked_path(path: Path) -> Path:
    """The file that somebody typed the path of, whole and without links.

    Raises:
        UnknownModelError: there is none.
    """
    try:
        found = path.expanduser().resolve()
        if found.is_file():
            return found
        what = "is a folder, and a GGUF file is needed" if found.is_dir() else "is no file on this machine"
    except (OSError, RuntimeError, ValueError) as error:  # too long a name, an unknown user's home, a null byte
        raise UnknownModelError(f"{str(path)[:200]!r} is no path of a file ({error}).") from error
    raise UnknownModelError(f"{path} {what}.")
