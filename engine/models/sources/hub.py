"""Brings a checkpoint from the Hugging Face hub into the hub's own cache on this machine."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
)

from engine.errors import (
    InstallError,
    ModelNotInstalledError,
    UnknownModelError,
    UnsupportedModelError,
    WeightsIntegrityError,
)
from engine.models.format.architecture import Architecture
from engine.models.format.weight_files import read_tensors
from engine.models.sources.hub_files import UNWANTED, WANTED
from engine.untrusted import parse_json

_ASK_TIMEOUT_S = 10


def fetch(repository: str) -> Path:
    """The folder with the repository's files. What is in the cache already is used as it is; a download that was
    interrupted is gone on with.

    Raises:
        UnknownModelError: the hub has no such repository, or does not show it to this user.
        ModelNotInstalledError: the hub cannot be reached, and the model is not in the cache, or not all of it.
        UnsupportedModelError: the model does not run here; its weights are not downloaded then.
    """
    here = "not on this machine yet"
    try:
        with suppress(LocalEntryNotFoundError):
            cached = _snapshot(repository, local_files_only=True)
            if any(cached.glob("*.safetensors")):
                lacking = _what_is_lacking(repository, cached)
                if lacking is None:
                    return cached
                here = f"not whole on this machine ({lacking})"
        # Asked first because it fails at once where there is no network; downloads try for half a minute.
        HfApi().model_info(repository, timeout=_ASK_TIMEOUT_S)
        config = Path(hf_hub_download(repository, "config.json"))
        Architecture.from_config(repository, _parsed(repository, config))
        return _snapshot(repository, local_files_only=False)
    except HFValidationError as error:
        raise UnknownModelError(f"{repository!r} is neither a folder nor a hub id: {error}") from error
    except GatedRepoError as error:
        raise UnknownModelError(
            f"The hub shows {repository} only to those who accepted its terms: accept them there and set HF_TOKEN."
        ) from error
    except RepositoryNotFoundError as error:
        raise UnknownModelError(f"The hub has no model {repository}, or it is private (then set HF_TOKEN).") from error
    except RemoteEntryNotFoundError as error:
        raise UnknownModelError(f"{repository} has no config.json, so it is not a model that runs here.") from error
    except (OfflineModeIsEnabled, LocalEntryNotFoundError, HfHubHTTPError, httpx2.HTTPError) as error:
        raise ModelNotInstalledError(
            f"{repository} is {here}, and the model hub cannot be reached to fetch the rest."
        ) from error
    except OSError as error:
        raise InstallError(f"{repository} could not be downloaded: {error.strerror} ({error.filename}).") from error


def _what_is_lacking(repository: str, folder: Path) -> str | None:
    """Why the weights in a folder are not whole, such as a shard whose download was interrupted."""
    try:
        read_tensors(repository, folder, packed=True)
    except WeightsIntegrityError as error:
        return str(error).rstrip(".")
    except UnsupportedModelError:  # whole, and said when the folder is opened
        return None
    return None


def _parsed(repository: str, config: Path) -> dict[str, Any]:
    try:
        tree = parse_json(config.read_bytes())
    except ValueError as error:
        raise UnsupportedModelError(f"The config.json of {repository} is no JSON ({error}).") from error
    if not isinstance(tree, dict):
        raise UnsupportedModelError(f"The config.json of {repository} is no JSON object.")
    return tree


def _snapshot(repository: str, *, local_files_only: bool) -> Path:
    return Path(
        snapshot_download(
            repository, allow_patterns=WANTED, ignore_patterns=UNWANTED, local_files_only=local_files_only
        )
    )
