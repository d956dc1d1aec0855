"""Compiles the kernels, at installation or in the background, never in front of a user.

What is built depends on the sources, the compiler's flags and the processor's features, so those name
the file: another processor finds nothing and builds its own.
"""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import shutil
import subprocess
import threading
from enum import StrEnum
from functools import cache
from pathlib import Path

from filelock import FileLock

from engine.errors import GearboxError

log = logging.getLogger(__name__)

_SOURCES = Path(__file__).parent
_BUILT = _SOURCES / ".build"
_FLAGS = (
    "-O3", "-march=native", "-std=c++17", "-fopenmp", "-shared", "-fPIC", "-fno-math-errno",
    "-fno-tree-ter",  # keeps the accumulators of tiles.h in registers
    "-Werror=switch",  # each kind of matrix is a case of its own
    "-ffp-contract=off",  # else the compiler may round a row differently when it has company
)  # fmt: skip
SANITIZE = "GEARBOX_SANITIZE"
"""Set to 1, this environment variable makes :func:`build` and its like mean kernels that watch themselves. A process
can load them only if the sanitizers' runtime was there before Python: ``tests/engine/native/test_sanitizers.py``."""
SANITIZERS = ("-fsanitize=address,undefined",)
_SANITIZED = (*SANITIZERS, "-fno-sanitize-recover=all", "-O1", "-g", "-fno-omit-frame-pointer")
PROFILE = "GEARBOX_PROFILE"
"""Set to 1, this environment variable makes :func:`build` mean kernels that tell where their time goes."""
_FEATURES_NEEDED = frozenset({"avx2", "fma", "f16c"})
_TIMEOUT_S = 300
_NAME = "kernels-"


class Instructions(StrEnum):
    """What the kernels multiply bytes with, the fastest first. All give the same bits."""

    AVX512_VNNI = "avx512-vnni"
    AVX_VNNI = "avx-vnni"
    AVX2 = "avx2"


INSTRUCTIONS = "GEARBOX_INSTRUCTIONS"
"""This environment variable makes the kernels do with fewer instructions than the processor has."""
_NEEDED = {
    Instructions.AVX512_VNNI: frozenset({"avx512_vnni", "avx512bw", "avx512dq", "avx512vl"}),
    Instructions.AVX_VNNI: frozenset({"avx_vnni"}),
    Instructions.AVX2: _FEATURES_NEEDED,
}


def built_library() -> Path | None:
    """The kernels as built for this processor; ``None`` if they have not been, or cannot be.

    Raises:
        GearboxError: as :func:`instructions`, where there can be kernels.
    """
    if not any(_BUILT.glob(f"{_NAME}*.so")) or _FEATURES_NEEDED - processor_features():
        return None
    path = _library_path()
    return path if path.exists() else None


def kernels_built() -> str | None:
    """The digest of sources, flags and instruction set by which the kernels of this processor are called; ``None`` if
    they have not been built, or cannot be.

    Raises:
        GearboxError: as :func:`instructions`, where there can be kernels.
    """
    path = built_library()
    return path.stem.removeprefix(_NAME) if path else None


def build() -> Path | None:
    """Build the kernels unless they are there.

    Returns:
        The shared library; ``None`` where the processor or a missing compiler rules it out. torch's own
        kernels do the work then.

    Raises:
        GearboxError: as :func:`instructions`, where there can be kernels.
    """
    if reason := why_not():
        log.info("the kernels are not built: %s", reason)
        return None
    path = _library_path()
    if path.exists():
        return path
    try:
        _BUILT.mkdir(exist_ok=True)
        with FileLock(_BUILT / "lock"):
            if not path.exists():
                _compile(path)
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("the kernels could not be built, torch's own are used: %s", error)
        return None
    return path


def build_in_background() -> None:
    """Start building the kernels if they are missing; models loaded before it ends use torch's.

    Raises:
        GearboxError: as :func:`instructions`, where there can be kernels.
    """
    if why_not() is None and not _library_path().exists():
        threading.Thread(target=build, name="build-kernels", daemon=True).start()


def why_not() -> str | None:
    """Why this machine cannot have the kernels, for the user; ``None`` if it can."""
    missing = _FEATURES_NEEDED - processor_features()
    if missing:
        return f"the processor lacks {', '.join(sorted(missing))}"
    return None if _compiler() else "there is no C++ compiler"


@cache
def processor_features() -> frozenset[str]:
    """Instruction sets as Linux names them; empty where that cannot be known."""
    cpuinfo = Path("/proc/cpuinfo")
    if platform.machine() != "x86_64" or not cpuinfo.exists():
        return frozenset()
    for line in cpuinfo.read_text().splitlines():
        if line.startswith("flags"):
            return frozenset(line.partition(":")[2].split())
    return frozenset()


def lacking(instructions: Instructions) -> frozenset[str]:
    """What the processor has not of a set of instructions, as Linux names it."""
    return _NEEDED[instructions] - processor_features()


def instructions() -> Instructions:
    """What the kernels multiply bytes with on this machine: what the environment asks for, or the best there is.

    Raises:
        GearboxError: the environment asks for what there is not.
    """
    if not (asked := os.environ.get(INSTRUCTIONS)):
        return next(each for each in Instructions if each is Instructions.AVX2 or not lacking(each))
    choices = ", ".join(each for each in Instructions if not lacking(each))
    if asked not in set(Instructions):
        raise GearboxError(f"{INSTRUCTIONS} is set to {asked!r}. What this processor has is {choices}.")
    if missing := lacking(Instructions(asked)):
        raise GearboxError(
            f"{INSTRUCTIONS} is set to {asked}, and this processor lacks {', '.join(sorted(missing))}. What it has is "
            f"{choices}."
        )
    return Instructions(asked)


def _flags() -> tuple[str, ...]:
    flags = [*_FLAGS]
    asked = instructions() if os.environ.get(INSTRUCTIONS) else Instructions.AVX512_VNNI
    if asked is not Instructions.AVX512_VNNI:
        flags.append("-mno-avx512f")
    if asked is Instructions.AVX2 and not lacking(Instructions.AVX_VNNI):
        flags.append("-mno-avxvnni")
    if os.environ.get(PROFILE) == "1":
        flags.append("-DGEARBOX_PROFILE")
    if os.environ.get(SANITIZE) == "1":
        flags += _SANITIZED  # the last of two levels counts
    return tuple(flags)


def _compiler() -> str | None:
    return shutil.which(os.environ.get("CXX", "g++"))


def _library_path() -> Path:
    return _path_of(_flags())


@cache
def _path_of(flags: tuple[str, ...]) -> Path:
    digest = hashlib.sha256(" ".join([*flags, *sorted(processor_features())]).encode())
    for source in sorted([*_SOURCES.glob("*.h"), *_SOURCES.glob("*.cpp")]):
        digest.update(source.read_bytes())
    return _BUILT / f"{_NAME}{digest.hexdigest()[:16]}.so"


def _compile(path: Path) -> None:
    aside = path.with_suffix(f".{os.getpid()}.part")
    command = [str(_compiler()), *_flags(), str(_SOURCES / "forward.cpp"), "-o", str(aside)]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=_TIMEOUT_S)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
