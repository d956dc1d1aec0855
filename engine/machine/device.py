"""Where models run: the CPU, or a GPU through CUDA. For the engine's thread: torch is imported here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.errors import DeviceUnavailableError
from engine.types import DeviceChoice

if TYPE_CHECKING:
    import torch


def choose_device(choice: DeviceChoice) -> torch.device:
    """The device that a choice comes to on this machine.

    Raises:
        DeviceUnavailableError: CUDA is asked for, and torch finds none.
    """
    import torch

    found = choice is not DeviceChoice.CPU and torch.cuda.is_available()
    if choice is DeviceChoice.CUDA and not found:
        raise DeviceUnavailableError(
            "GEARBOX_DEVICE asks for cuda, and torch finds no CUDA device: there is no NVIDIA GPU with its driver, or "
            f"this torch ({torch.__version__}) is built without CUDA. Set GEARBOX_DEVICE to cpu or auto, and start "
            "Gearbox again."
        )
    return torch.device("cuda", 0) if found else torch.device("cpu")


def device_name(device: torch.device) -> str:
    """ "cpu", or the GPU's name."""
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
