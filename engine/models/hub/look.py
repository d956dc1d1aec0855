"""Looks at one model of the hub before anything large of it is fetched."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from engine.errors import (
    DeviceUnavailableError,
    GearboxError,
    HubUnreachableError,
    UnknownModelError,
    UnsupportedModelError,
)
from engine.models.estimate import WeightsEstimate, estimate_config, estimate_gguf
from engine.models.format.architecture import Architecture
from engine.models.format.gate import LARGEST_SETTINGS
from engine.models.hub.records import (
    REPOSITORY,
    HubFile,
    HubModel,
    count_in,
    files_of,
    is_whole_gguf,
    licence_in,
    text_in,
    wanted,
)
from engine.models.hub.search import no_tokenizer
from engine.models.own.summary import GgufSummary, look_at
from engine.types import DeviceChoice, Precision
from engine.untrusted import parse_json

_HEADS = (4 * 2**20, 16 * 2**20, 64 * 2**20)
"""Bytes of a GGUF file that are read for its head, until one of them holds it: what it is, its table of tensors and
its vocabulary."""


@dataclass(frozen=True, slots=True)
class HubGguf:
    """A GGUF file of the hub that can be added."""

    summary: GgufSummary
    weights: Mapping[str, WeightsEstimate]
    """By precision; empty where no device to run on is there."""


def look_at_hub(repository: str) -> HubModel:
    """What there is of a model, and whether it runs here. Of files, only ``config.json`` is read.

    Args:
        repository: ``organisation/name``.

    Raises:
        UnknownModelError: that is no hub id; or the hub has no such model, or does not show it to this user.
        HubUnreachableError: the hub cannot be reached.
    """
    from engine.models.hub.client import ask

    if not REPOSITORY.fullmatch(repository):
        raise UnknownModelError(f"A hub id is organisation/name, such as Qwen/Qwen3-0.6B, and not {repository!r:.80}.")
    answer = ask(f"/api/models/{repository}", [("blobs", "true")], repository)
    revision = text_in(answer, "sha")
    if not isinstance(answer, dict) or revision is None or not revision.isalnum():
        raise HubUnreachableError("What answers in the model hub's place tells nothing of the model.")
    files = files_of(answer)
    model = HubModel(
        repository=repository,
        revision=revision,
        licence=licence_in(answer),
        downloads=count_in(answer, "downloads"),
        gated=answer.get("gated") not in (False, None),
        files=(),
        ggufs=tuple(sorted((file for file in files if is_whole_gguf(file.name)), key=lambda file: file.bytes)),
        refused=None,
    )
    return _with_checkpoint(model, files)


def look_at_hub_gguf(model: HubModel, file: HubFile, device: DeviceChoice = DeviceChoice.AUTO) -> HubGguf:
    """What a GGUF file of the hub is, by its first few MiB.

    Raises:
        UnsupportedModelError: it is not one of a model that runs here.
        WeightsIntegrityError: it is damaged.
        HubUnreachableError, UnknownModelError: it cannot be had.
        GearboxError: what memory it takes could not be worked out.
    """
    from engine.models.hub.client import read_file

    with TemporaryDirectory(prefix="gearbox-") as folder:
        path = Path(folder) / file.file_name
        for most in _HEADS:
            head = read_file(model.repository, model.revision, file.name, most)
            with path.open("wb") as sparse:
                sparse.write(head)
                sparse.truncate(file.bytes)  # as long as the whole one, and takes no more room than its head
            try:
                summary = look_at(path)
                break
            except GearboxError:
                if most == _HEADS[-1] or most >= file.bytes:
                    raise
        weights: Mapping[str, WeightsEstimate] = {}
        with suppress(DeviceUnavailableError):
            weights = dict(estimate_gguf(path, device).items())
        return HubGguf(summary, weights)


def _with_checkpoint(model: HubModel, files: tuple[HubFile, ...]) -> HubModel:
    """What is known of the checkpoint in safetensors, if there is one."""
    from engine.models.hub.client import is_gated_error, read_file

    names = {file.name for file in files}
    chosen = wanted(files)
    if "config.json" not in names or not any(file.name.endswith(".safetensors") for file in chosen):
        neither = None if model.ggufs else f"{model.repository} has no weights in safetensors, and no whole GGUF file."
        return replace(model, refused=neither)
    try:
        config = _parsed(read_file(model.repository, model.revision, "config.json", LARGEST_SETTINGS))
        Architecture.from_config(model.repository, config)
    except UnknownModelError as error:
        if not is_gated_error(error):
            raise
        return replace(model, files=chosen, needs=str(error))
    except UnsupportedModelError as error:
        return replace(model, refused=str(error))
    if "tokenizer.json" not in names:
        return replace(model, refused=no_tokenizer(model.repository))
    return replace(model, files=chosen, config=config)


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        tree = parse_json(text)
    except ValueError as error:
        raise UnsupportedModelError(f"Its config.json is no JSON ({error}).") from error
    if not isinstance(tree, dict):
        raise UnsupportedModelError("Its config.json is no JSON object.")
    return tree


def estimate_hub(model: HubModel, device: DeviceChoice = DeviceChoice.AUTO) -> Mapping[Precision, WeightsEstimate]:
    """What the weights of its checkpoint will take, by precision; nothing where its configuration is not known.

    Raises:
        DeviceUnavailableError, InsufficientMemoryError, GearboxError: as for a model on this machine.
    """
    return {} if model.config is None else estimate_config(model.repository, model.config, device)
