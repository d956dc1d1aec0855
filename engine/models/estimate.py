"""Memory that a model will take, and what a token reads of it, known before its weights are read."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from engine.errors import DeviceUnavailableError, GearboxError, UnknownModelError
from engine.machine.device import choose_device
from engine.machine.memory import require_room_for_libraries
from engine.models.format.architecture import Architecture
from engine.models.format.gate import read_config
from engine.types import DeviceChoice, Precision, precisions_on

log = logging.getLogger(__name__)

_SECONDS = 120
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class WeightsEstimate:
    """What weights take at a precision, norms and biases left out."""

    bytes: int
    """In memory."""
    bytes_a_token: int
    """Read for each token that is decoded: all of them, but of an embedding that is not the head too."""


def estimate_weights(
    model: str, models_dir: Path, device_choice: DeviceChoice = DeviceChoice.AUTO
) -> dict[Precision, WeightsEstimate]:
    """What a model's weights will take at each precision of a device, reckoned from its configuration alone.

    Where torch has not been imported, a process is started that does: it takes seconds, and a few hundred MB that an
    application which has no model to run can do without. So it is not for a page's own thread.

    Args:
        model: a catalogue name or a local folder.
        models_dir: where models are kept.
        device_choice: the engine's.

    Raises:
        UnknownModelError: it is not on this machine.
        DeviceUnavailableError: the device is not.
        InsufficientMemoryError: there is no room for the libraries that reckon.
        UnsupportedModelError, WeightsIntegrityError: its configuration cannot be used.
        GearboxError: the process failed, or took too long; why is in the log.
    """
    folders = (models_dir / model, Path(model).expanduser())
    folder = next((folder for folder in folders if (folder / "config.json").is_file()), None)
    if folder is None:
        raise UnknownModelError(f"{model} is not on this machine, so its size in memory is not known.")
    return _of_architecture(Architecture.from_config(model, read_config(folder)), device_choice)


def estimate_config(
    name: str, config: Mapping[str, Any], device_choice: DeviceChoice = DeviceChoice.AUTO
) -> dict[Precision, WeightsEstimate]:
    """What the weights of a model will take whose ``config.json`` is known; otherwise as :func:`estimate_weights`.

    Raises:
        DeviceUnavailableError, InsufficientMemoryError, UnsupportedModelError, GearboxError: as there.
    """
    return _of_architecture(Architecture.from_config(name, config), device_choice)


def estimate_gguf(path: Path, device_choice: DeviceChoice = DeviceChoice.AUTO) -> dict[Precision, WeightsEstimate]:
    """What the weights of a GGUF file will take at each precision once it is added; otherwise as
    :func:`estimate_weights`.

    Raises:
        DeviceUnavailableError, InsufficientMemoryError, GearboxError: as there.
        UnsupportedModelError, WeightsIntegrityError: the file cannot be added.
    """
    from engine.models.sources.conversion import checked_config
    from engine.models.sources.gguf_file import GgufFile

    return estimate_config(path.name, checked_config(GgufFile.open(path)), device_choice)


def _of_architecture(architecture: Architecture, device_choice: DeviceChoice) -> dict[Precision, WeightsEstimate]:
    if "torch" in sys.modules:
        return _estimate(architecture, device_choice)
    return _estimate_elsewhere(architecture, device_choice)


def _estimate(architecture: Architecture, device_choice: DeviceChoice) -> dict[Precision, WeightsEstimate]:
    from engine.models.decoders.weights import estimate_bytes

    device = choose_device(device_choice)
    once = replace(architecture, tied_head=True)  # of an embedding beside the head, a token reads one row
    return {
        precision: WeightsEstimate(
            estimate_bytes(architecture, precision, device), estimate_bytes(once, precision, device)
        )
        for precision in precisions_on(device.type)
    }


def _estimate_elsewhere(architecture: Architecture, device_choice: DeviceChoice) -> dict[Precision, WeightsEstimate]:
    require_room_for_libraries()
    asked = json.dumps({"architecture": asdict(architecture), "device": device_choice})
    try:
        done = subprocess.run(
            [sys.executable, "-m", "engine.models.estimate"],
            cwd=_ROOT, input=asked, capture_output=True, text=True, timeout=_SECONDS, check=True,
        )  # fmt: skip
        answer = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        log.warning("memory could not be reckoned: %s\n%s", error, getattr(error, "stderr", None) or "")
        raise GearboxError("What memory the model takes could not be worked out. Gearbox's log says why.") from error
    if "unavailable" in answer:
        raise DeviceUnavailableError(answer["unavailable"])
    return {Precision(precision): WeightsEstimate(**figures) for precision, figures in answer.items()}


def _main() -> None:
    """The process that is started: a question on stdin, the answer on stdout, in JSON, and there nothing else."""
    asked = json.load(sys.stdin)
    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)  # what libraries print
        try:
            found = _estimate(Architecture(**asked["architecture"]), DeviceChoice(asked["device"]))
            json.dump({precision: asdict(figures) for precision, figures in found.items()}, out)
        except DeviceUnavailableError as error:
            json.dump({"unavailable": str(error)}, out)


if __name__ == "__main__":
    _main()
