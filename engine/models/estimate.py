"""Memory that a model will take, known before its weights are read."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from engine.errors import UnknownModelError
from engine.machine.device import choose_device
from engine.types import DeviceChoice, Precision, precisions_on


def estimate_weights(
    model: str, models_dir: Path, device_choice: DeviceChoice = DeviceChoice.AUTO
) -> dict[Precision, int]:
    """Bytes that a model's weights will take at each precision of a device, reckoned from its configuration alone.

    Imports torch and transformers, which takes seconds the first time: not for a page's own thread.

    Args:
        model: a catalogue name or a local folder.
        models_dir: where models are kept.
        device_choice: the engine's.

    Raises:
        UnknownModelError: it is not on this machine.
        DeviceUnavailableError: the device is not.
        UnsupportedModelError, WeightsIntegrityError: its configuration cannot be used.
    """
    folders = (models_dir / model, Path(model).expanduser())
    folder = next((folder for folder in folders if (folder / "config.json").is_file()), None)
    if folder is None:
        raise UnknownModelError(f"{model} is not on this machine, so its size in memory is not known.")
    return _estimated(model, folder, device_choice)


def estimate_gguf(path: Path, device_choice: DeviceChoice = DeviceChoice.AUTO) -> dict[Precision, int]:
    """Bytes that the weights of a GGUF file will take at each precision once it is added; otherwise as
    :func:`estimate_weights`.

    Raises:
        DeviceUnavailableError: the device is not.
        UnsupportedModelError, WeightsIntegrityError: the file cannot be added.
    """
    from engine.models.sources.conversion import checked_config
    from engine.models.sources.gguf_file import GgufFile

    config = checked_config(GgufFile.open(path))
    with TemporaryDirectory(prefix="gearbox-") as folder:
        (Path(folder) / "config.json").write_text(json.dumps(config), "utf-8")
        return _estimated(path.name, Path(folder), device_choice)


def _estimated(model: str, folder: Path, device_choice: DeviceChoice) -> dict[Precision, int]:
    from engine.models.decoders.weights import estimate_bytes
    from engine.models.format.architecture import Architecture
    from engine.models.format.decoder_config import read_decoder_config
    from engine.models.format.gate import read_config

    config = read_decoder_config(model, folder, Architecture.from_config(model, read_config(folder)))
    device = choose_device(device_choice)
    return {precision: estimate_bytes(config, precision, device) for precision in precisions_on(device.type)}
