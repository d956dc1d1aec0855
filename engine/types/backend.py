"""Who runs a model, and what it can do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never


class GearKind(StrEnum):
    """A part of :class:`~engine.types.gears.OptimizationConfig`, by the name of its field."""

    QUANTIZATION = "quantization"
    KV_CACHE = "kv_cache"
    SPECULATION = "speculation"
    CASCADE = "cascade"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendInfo:
    """What a backend is. Its models are a class in :mod:`engine.backends`."""

    label: str
    help: str
    """For the reader, on one line."""
    gears: frozenset[GearKind] = frozenset()
    """Those that its runs may turn on."""
    shares_passes: bool = False
    """Whether requests may run beside one another; else each has the engine alone."""


class Backend(StrEnum):
    """Who runs the model."""

    REFERENCE = "reference"
    LOCAL = "local"
    REMOTE = "remote"

    @property
    def info(self) -> BackendInfo:
        """What it is."""
        match self:
            case Backend.REFERENCE:
                return BackendInfo(label="Reference", help="transformers' own `generate`, in 16 bits, as it comes.")
            case Backend.LOCAL:
                return BackendInfo(
                    label="Gearbox",
                    help="this app's own decoder, with its gears.",
                    gears=frozenset(GearKind),
                    shares_passes=True,
                )
            case Backend.REMOTE:
                return BackendInfo(
                    label="Remote",
                    help="a model of a server with OpenAI's API; which gears it has on is the server's to know.",
                    gears=frozenset({GearKind.CASCADE}),
                    shares_passes=True,
                )
            case _:
                assert_never(self)


def backends_with(gear: GearKind) -> tuple[Backend, ...]:
    """The backends whose runs may turn a gear on."""
    return tuple(backend for backend in Backend if gear in backend.info.gears)
