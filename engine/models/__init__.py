"""Models: what can be had, how it gets here, and what is on this machine. Importing this loads no torch."""

from engine.models.checkpoint import Checkpoint, resolve
from engine.models.format.architecture import FAMILIES
from engine.models.format.quantization import QUANTIZATIONS
from engine.models.install import install
from engine.models.library import ModelInfo, find_model, list_models
from engine.models.sources.catalog import CATALOG, CatalogModel
from engine.models.sources.progress import Progress, terminal_bar

__all__ = [
    "CATALOG",
    "FAMILIES",
    "QUANTIZATIONS",
    "CatalogModel",
    "Checkpoint",
    "ModelInfo",
    "Progress",
    "find_model",
    "install",
    "list_models",
    "resolve",
    "terminal_bar",
]
