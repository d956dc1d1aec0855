"""What a run's figures hold for: processor, threads, kernels, library versions."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any


@cache
def machine_environment() -> dict[str, Any]:
    """Facts that stay the same while the process lives."""
    import torch

    from engine.quantization import fused_kernel_available

    return {
        "device": "cpu",
        "cpu": _cpu_name(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "nf4_kernel": "bitsandbytes fused" if fused_kernel_available() else "dequantize and multiply",
        "platform": platform.platform(),
        "python": platform.python_version(),
        **{package: version(package) for package in ("torch", "transformers", "bitsandbytes")},
    }


def _cpu_name() -> str:
    """The processor's model name; /proc has it on Linux, where ``platform`` knows only the family."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
