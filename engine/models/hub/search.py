"""Looks for models on the hub, and tells which of them run here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.errors import HubUnreachableError, UnsupportedModelError
from engine.models.format.architecture import FAMILIES, Architecture
from engine.models.hub.records import (
    REPOSITORY,
    HubListing,
    count_in,
    is_whole_gguf,
    licence_in,
    names_of,
    text_in,
)

MOST_FOUND = 50
_EXPANDED = ("config", "gated", "downloads", "tags", "safetensors", "gguf", "siblings")
_SMALLEST = {
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "head_dim": 64,
    "vocab_size": 64,
    "max_position_embeddings": 64,
}
"""Stands in for a shape, which a search does not tell."""
_USUAL_GROUP = 128
"""Stands in for what a search leaves out of how a checkpoint is quantized."""


def search(words: str) -> list[HubListing]:
    """Models with these words in their ids, those with the most downloads first.

    Raises:
        HubUnreachableError: the hub cannot be reached, or does not answer as a hub does.
    """
    from engine.models.hub.client import ask

    parameters = [("search", words), ("sort", "downloads"), ("direction", "-1"), ("limit", str(MOST_FOUND))]
    answer = ask("/api/models", [*parameters, *(("expand", name) for name in _EXPANDED)], words)
    if not isinstance(answer, list):
        raise HubUnreachableError("What answers in the model hub's place gives no list of models.")
    return [listing for entry in answer[:MOST_FOUND] if (listing := _listing(entry)) is not None]


def _listing(entry: Any) -> HubListing | None:
    repository = text_in(entry, "id")
    if repository is None or not REPOSITORY.fullmatch(repository):
        return None
    names = names_of(entry)
    config = entry.get("config") if isinstance(entry.get("config"), dict) else {}
    gguf = entry.get("gguf") if isinstance(entry.get("gguf"), dict) else {}
    safetensors = entry.get("safetensors") if isinstance(entry.get("safetensors"), dict) else {}
    has_gguf = any(is_whole_gguf(name) for name in names)
    if any(name.endswith(".safetensors") and "/" not in name for name in names):
        method = text_in(config.get("quantization_config"), "quant_method")
        kind, family = f"safetensors, {method}" if method else "safetensors", text_in(config, "model_type")
        refused = _refused(repository, config, names)
        if refused and has_gguf and text_in(gguf, "architecture") in FAMILIES:
            kind, refused = "GGUF", None
    elif has_gguf:
        kind, family = "GGUF", text_in(gguf, "architecture")
        refused = None if family is None or family in FAMILIES else _of_family(repository, family)
    else:
        kind, family = "other", text_in(config, "model_type")
        refused = f"{repository} has its weights neither in safetensors nor in a whole GGUF file."
    return HubListing(
        repository=repository,
        kind=kind,
        family=family,
        parameters=count_in(safetensors, "total") or count_in(gguf, "total"),
        licence=licence_in(entry),
        downloads=count_in(entry, "downloads"),
        gated=entry.get("gated") not in (False, None),
        refused=refused,
    )


def _refused(repository: str, config: Mapping[str, Any], names: list[str]) -> str | None:
    """Why a checkpoint does not run here, by the few settings that a search tells."""
    told = {key: config[key] for key in ("model_type", "quantization_config") if key in config}
    if isinstance(settings := told.get("quantization_config"), dict):
        told["quantization_config"] = {"group_size": _USUAL_GROUP, **settings}
    try:
        Architecture.from_config(repository, {**_SMALLEST, **told})
    except UnsupportedModelError as error:
        return str(error)
    return None if "tokenizer.json" in names else no_tokenizer(repository)


def no_tokenizer(repository: str) -> str:
    """What is told of a checkpoint without the one file that tokenizers are read from."""
    return f"{repository} has no tokenizer.json, so no text can be turned into tokens for it."


def _of_family(repository: str, family: str) -> str:
    return f"{repository} is of the family {family}, and these run here: {', '.join(FAMILIES)}."
