"""What this process may still take: of its own limits (``ulimit``), and of its control group's."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import psutil

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def address_space_left() -> int | None:
    """Bytes of address space below the process's limit (``ulimit -v``); ``None`` without one."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if limit == resource.RLIM_INFINITY else max(0, limit - psutil.Process().memory_info().vms)


def data_left() -> int | None:
    """Bytes of private memory below the process's limit (``ulimit -d``); ``None`` without one."""
    limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
    if limit == resource.RLIM_INFINITY:
        return None
    return max(0, limit - getattr(psutil.Process().memory_info(), "data", 0))  # Linux alone tells


def cgroup_left(cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> int | None:
    """Bytes below the tightest memory limit of the control groups this process is in; ``None`` without one.

    Args:
        cgroups: where the groups are mounted.
        membership: which of them are the process's own, as the kernel writes it.
    """
    return min(
        (left for folder, unified in own_groups("memory", cgroups, membership) for left in _left_in(folder, unified)),
        default=None,
    )


def own_groups(controller: str, cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> Iterator[tuple[Path, bool]]:
    """The folders of the control groups by which a controller limits this process, its own first and then those around
    it, each with whether it is of the unified hierarchy (cgroup v2).

    Args:
        controller: "memory", "cpu".
        cgroups: where the groups are mounted.
        membership: which of them are the process's own, as the kernel writes it.
    """
    try:
        lines = read_small(membership).splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number != "0" and controller not in controllers.split(","):
            continue
        top = cgroups if number == "0" else cgroups / controller
        own = top / path.strip("/")
        for folder in (own, *own.parents):
            if folder != top and top not in folder.parents:
                break
            yield folder, number == "0"


def read_small(file: Path) -> str:
    """A small file of the kernel's, in as few system calls as can be: each hands the interpreter's lock to others.

    Raises:
        OSError: it is not there, or may not be read.
    """
    descriptor = os.open(file, os.O_RDONLY)
    try:
        return os.read(descriptor, 8192).decode("ascii", "replace")
    finally:
        os.close(descriptor)


def _left_in(folder: Path, unified: bool) -> Iterator[int]:
    """What a group leaves, if it has a limit."""
    if unified:
        names = ("memory.max", "memory.current", "inactive_file")
    else:
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    try:
        limit = read_small(folder / names[0]).strip()
        if limit == "max" or int(limit) >= 2**60:
            return
        used = int(read_small(folder / names[1]))
        stat = dict(entry.split() for entry in read_small(folder / "memory.stat").splitlines())
    except OSError:  # the top has no such files, and a container may not see its own group
        return
    # pages of files that nobody looks at are counted, and given back when they are wanted
    yield max(0, int(limit) - used + int(stat.get(names[2], 0)))
