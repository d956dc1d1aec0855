"""What a run's figures hold for: processor, threads, kernels, library versions."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.machine.device import device_name

if TYPE_CHECKING:
    import torch


@cache
def machine_environment() -> dict[str, Any]:
    """What is known before torch is loaded, and holds for a run that never gets that far."""
    return {
        "device": "cpu",
        "cpu": _cpu_name(),
        "last_level_cache_bytes": last_level_cache_bytes(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        **{package: version(package) for package in ("torch", "transformers", "bitsandbytes")},
    }


@cache
def kernel_environment(device: torch.device) -> dict[str, Any]:
    """Where models run, what torch may use of this processor, and with how many threads."""
    import torch

    return {
        "device": device_name(device),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
    }


def last_level_cache_bytes(cpu: Path = Path("/sys/devices/system/cpu/cpu0")) -> int | None:
    """Size of the first processor's largest cache, which it may share with others; ``None`` where it is not told.

    Args:
        cpu: where the kernel tells of the processor.
    """
    levels = [
        (level, size)
        for index in (cpu / "cache").glob("index*")
        if (level := _number(index / "level")) and (size := _number(index / "size"))
    ]
    return max(levels)[1] if levels else None


def _number(file: Path) -> int | None:
    """What a file of the kernel's says, a size as "32768K" in bytes; ``None`` where it says nothing."""
    try:
        text = file.read_text("ascii", "replace").strip()
    except OSError:
        return None
    digits = text.rstrip("KMG")
    return int(digits) * 1024 ** " KMG".index(text[len(digits) :] or " ") if digits.isdigit() else None


def _cpu_name() -> str:
    """The processor's model name; /proc has it on Linux, where ``platform`` knows only the family."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
