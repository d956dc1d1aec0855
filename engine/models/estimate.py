"""Memory that a model will take, known before its weights are read."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from engine.errors import DeviceUnavailableError, GearboxError, UnknownModelError
from engine.machine.device import choose_device
from engine.machine.memory import require_room_for_libraries
from engine.models.format.architecture import Architecture
from engine.models.format.gate import read_config
from engine.types import DeviceChoice, Precision, precisions_on

log = logging.getLogger(__name__)

_SECONDS = 120
_ROOT = Path(__file__).parents[2]


def estimate_weights(
    model: str, models_dir: Path, device_choice: DeviceChoice = DeviceChoice.AUTO
) -> dict[Precision, int]:
    """Bytes that a model's weights will take at each precision of a device, reckoned from its configuration alone.

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
    return _of_folder(model, folder, device_choice)


def estimate_gguf(path: Path, device_choice: DeviceChoice = DeviceChoice.AUTO) -> dict[Precision, int]:
    """Bytes that the weights of a GGUF file will take at each precision once it is added; otherwise as
    :func:`estimate_weights`.

    Raises:
        DeviceUnavailableError, InsufficientMemoryError, GearboxError: as there.
        UnsupportedModelError, WeightsIntegrityError: the file cannot be added.
    """
    from engine.models.sources.conversion import checked_config
    from engine.models.sources.gguf_file import GgufFile

    config = checked_config(GgufFile.open(path))
    with TemporaryDirectory(prefix="gearbox-") as folder:
        (Path(folder) / "config.json").write_text(json.dumps(config), "utf-8")
        return _of_folder(path.name, Path(folder), device_choice)


def _of_folder(model: str, folder: Path, device_choice: DeviceChoice) -> dict[Precision, int]:
    architecture = Architecture.from_config(model, read_config(folder))
    if "torch" in sys.modules:
        return _estimate(architecture, device_choice)
    return _estimate_elsewhere(architecture, device_choice)


def _estimate(architecture: Architecture, device_choice: DeviceChoice) -> dict[Precision, int]:
    from engine.models.decoders.weights import estimate_bytes

    device = choose_device(device_choice)
    return {precision: estimate_bytes(architecture, precision, device) for precision in precisions_on(device.type)}


def _estimate_elsewhere(architecture: Architecture, device_choice: DeviceChoice) -> dict[Precision, int]:
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
    return {Precision(precision): nbytes for precision, nbytes in answer.items()}


def _main() -> None:
    """The process that is started: a question on stdin, the answer on stdout, in JSON, and there nothing else."""
    asked = json.load(sys.stdin)
    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)  # what libraries print
        try:
            json.dump(_estimate(Architecture(**asked["architecture"]), DeviceChoice(asked["device"])), out)
        except DeviceUnavailableError as error:
            json.dump({"unavailable": str(error)}, out)


if __name__ == "__main__":
    _main()
