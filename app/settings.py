"""Where things are kept, read once from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from engine.errors import GearboxError

REPOSITORY = Path(__file__).resolve().parent.parent


class SettingsError(GearboxError):
    """An environment variable has a value that cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Paths and options of one installation."""

    data_dir: Path
    """Holds the models and, unless the database is elsewhere, the run database."""
    database_url: str
    """A SQLAlchemy URL."""
    models_dir: Path
    threads: int | None = None
    """CPU threads of the engine; ``None`` lets it choose."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read ``GEARBOX_DATA_DIR``, ``GEARBOX_DATABASE_URL`` and ``GEARBOX_THREADS``.

        A variable that is set to nothing counts as not set.

        Raises:
            SettingsError: ``GEARBOX_THREADS`` is not a positive whole number.
        """
        data_dir = Path(environ.get("GEARBOX_DATA_DIR") or REPOSITORY / "data").expanduser().resolve()
        return cls(
            data_dir=data_dir,
            database_url=environ.get("GEARBOX_DATABASE_URL") or f"sqlite:///{data_dir / 'gearbox.db'}",
            models_dir=data_dir / "models",
            threads=_threads(environ.get("GEARBOX_THREADS", "")),
        )


def _threads(value: str) -> int | None:
    if not value.strip():
        return None
    if not value.strip().isascii() or not value.strip().isdigit() or int(value) < 1:
        raise SettingsError(f"GEARBOX_THREADS must be a whole number of at least 1, and is {value!r}.")
    return int(value)
