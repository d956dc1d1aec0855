"""What this process may still take: of its own limits (``ulimit``), and of its control group's."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import psutil

_CGROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


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


def cgroup_left(cgroups: Path = _CGROUPS, membership: Path = _MEMBERSHIP) -> int | None:
    """Bytes below the tightest memory limit of the control groups this process is in; ``None`` without one.

    Args:
        cgroups: where the groups are mounted.
        membership: which of them are the process's own, as the kernel writes it.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return None
    return min((left for line in lines for left in _left_of(line, cgroups)), default=None)


def _left_of(line: str, cgroups: Path) -> Iterator[int]:
    """What a group and those around it leave, for each that has a limit."""
    number, controllers, path = line.split(":", 2)
    if number == "0":
        top, names = cgroups, ("memory.max", "memory.current", "inactive_file")
    elif "memory" in controllers.split(","):
        top, names = cgroups / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    else:
        return
    own = top / path.strip("/")
    for folder in (own, *own.parents):
        if folder != top and top not in folder.parents:
            return
        try:
            limit, used = ((folder / name).read_text().strip() for name in names[:2])
            stat = dict(entry.split() for entry in (folder / "memory.stat").read_text().splitlines())
        except OSError:  # the top has no such files, and a container may not see its own group
            continue
        if limit != "max" and int(limit) < 2**60:
            # pages of files that nobody looks at are counted, and given back when they are wanted
            yield max(0, int(limit) - int(used) + int(stat.get(names[2], 0)))
