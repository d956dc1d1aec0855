"""Gearbox's inference engine: one thread, four gears, measured.

Everything a caller needs is here and in :mod:`engine.types`; importing it loads neither torch nor
transformers.
"""

from engine.engine import Engine, EngineStatus, ResidentModel
from engine.environment import machine_environment
from engine.models import FAMILIES, ModelInfo, list_models
from engine.models import install as install_model
from engine.worker import Generation

__all__ = [
    "FAMILIES",
    "Engine",
    "EngineStatus",
    "Generation",
    "ModelInfo",
    "ResidentModel",
    "install_model",
    "list_models",
    "machine_environment",
]
