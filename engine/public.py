"""What :mod:`engine` offers its callers; importing this takes a moment, importing ``engine`` none."""

from engine.engine import Engine
from engine.evaluation import (
    JUDGED,
    MIXED_FILE,
    AnswerDivergence,
    AnswerToken,
    Corpus,
    CorpusPrompt,
    DivergenceStats,
    FirstDifference,
    Graded,
    PairedOutcomes,
    Task,
    TokenChance,
    Verdict,
    Window,
    WindowDivergence,
    check,
    compare_outcomes,
    corpus_from,
    default_corpus,
    expected_words,
    explain_check,
    load_tasks,
    quoted,
    read_corpus,
    verdict_of,
    wilson_interval,
)
from engine.machine.bandwidth import measure_bandwidth
from engine.machine.environment import machine_environment
from engine.machine.memory import room_for_models
from engine.models import FAMILIES, QUANTIZATIONS, ModelInfo, find_model, list_models
from engine.models import install as install_model
from engine.models.estimate import WeightsEstimate, estimate_gguf, estimate_weights
from engine.models.hub.download import download as download_model
from engine.models.hub.download import plan_checkpoint, plan_gguf, room_for
from engine.models.hub.look import HubGguf, estimate_hub, look_at_hub, look_at_hub_gguf
from engine.models.hub.records import HubFile, HubListing, HubModel
from engine.models.hub.search import search as search_hub
from engine.models.hub.unfinished import Plan, Unfinished, discard, unfinished_downloads
from engine.models.own.add import add as add_model
from engine.models.own.add import check_name as check_model_name
from engine.models.own.add import free_name as free_model_name
from engine.models.own.add import name_for as model_name_for
from engine.models.own.found import FoundModel, found_files, look_at_found
from engine.models.own.summary import GgufSummary
from engine.models.own.summary import look_at as look_at_gguf
from engine.models.removal import Removal, removal_of
from engine.models.removal import remove as remove_model
from engine.native import kernels_built
from engine.serving.scheduling.jobs import Generation
from engine.serving.scheduling.worker import MOST_RUNNING
from engine.serving.status import CacheStatus, EngineStatus, EvictedSequence, KeptSequence, ResidentModel

__all__ = [
    "FAMILIES",
    "JUDGED",
    "MIXED_FILE",
    "MOST_RUNNING",
    "QUANTIZATIONS",
    "AnswerDivergence",
    "AnswerToken",
    "CacheStatus",
    "Corpus",
    "CorpusPrompt",
    "DivergenceStats",
    "Engine",
    "EngineStatus",
    "EvictedSequence",
    "FirstDifference",
    "FoundModel",
    "Generation",
    "GgufSummary",
    "Graded",
    "HubFile",
    "HubGguf",
    "HubListing",
    "HubModel",
    "KeptSequence",
    "ModelInfo",
    "PairedOutcomes",
    "Plan",
    "Removal",
    "ResidentModel",
    "Task",
    "TokenChance",
    "Unfinished",
    "Verdict",
    "WeightsEstimate",
    "Window",
    "WindowDivergence",
    "add_model",
    "check",
    "check_model_name",
    "compare_outcomes",
    "corpus_from",
    "default_corpus",
    "discard",
    "download_model",
    "estimate_gguf",
    "estimate_hub",
    "estimate_weights",
    "expected_words",
    "explain_check",
    "find_model",
    "found_files",
    "free_model_name",
    "install_model",
    "kernels_built",
    "list_models",
    "load_tasks",
    "look_at_found",
    "look_at_gguf",
    "look_at_hub",
    "look_at_hub_gguf",
    "machine_environment",
    "measure_bandwidth",
    "model_name_for",
    "plan_checkpoint",
    "plan_gguf",
    "quoted",
    "read_corpus",
    "removal_of",
    "remove_model",
    "room_for",
    "room_for_models",
    "search_hub",
    "unfinished_downloads",
    "verdict_of",
    "wilson_interval",
]
