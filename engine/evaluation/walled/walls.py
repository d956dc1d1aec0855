"""The walls themselves: what a process of the sandbox takes from itself before it reads anything of a stranger's."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import struct
from collections.abc import Sequence
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
NEW_NAMESPACES = 0x00020000 | 0x08000000 | 0x10000000 | 0x40000000  # mount, IPC, user, network
NEW_PIDS = 0x20000000
MS_REC_PRIVATE = 0x4000 | 0x40000
MS_NOSUID_NODEV = 2 | 4
SCRATCH = b"size=8m,nr_inodes=256,mode=700"
# the same numbers on every processor
MOUNT_SETATTR, LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 442, 444, 445, 446
PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 22, 36, 38

# what no test of a function needs: other processes, other programs, sockets (those of files are not behind the
# network namespace), shared memory that no limit counts, io_uring (which goes past this list), new namespaces
FORBIDDEN = {
    "x86_64": (
        0xC000003E,
        {
            "clone": 56, "fork": 57, "vfork": 58, "execve": 59, "socket": 41, "socketpair": 53, "shmget": 29,
            "semget": 64, "msgget": 68, "mq_open": 240, "ptrace": 101, "prctl": 157, "setsid": 112, "setpgid": 109,
            "unshare": 272, "setns": 308, "execveat": 322, "bpf": 321, "userfaultfd": 323, "perf_event_open": 298,
            "add_key": 248, "request_key": 249, "keyctl": 250, "memfd_create": 319,
        },
    ),
    "aarch64": (
        0xC00000B7,
        {
            "clone": 220, "execve": 221, "socket": 198, "socketpair": 199, "shmget": 194, "semget": 190, "msgget": 186,
            "mq_open": 180, "ptrace": 117, "prctl": 167, "setsid": 157, "setpgid": 154, "unshare": 97, "setns": 268,
            "execveat": 281, "bpf": 280, "userfaultfd": 282, "perf_event_open": 241, "add_key": 217,
            "request_key": 218, "keyctl": 219, "memfd_create": 279,
        },
    ),
}  # fmt: skip
FORBIDDEN_EVERYWHERE = {"io_uring_setup": 425, "io_uring_enter": 426, "clone3": 435}
READABLE = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache")
"""Where the shared libraries of Python's own modules may lie."""


class WallError(Exception):
    """A wall that this machine does not have."""


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, so that none is left unwaited for."""
    _check(LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "a process that waits for others' children")


def die_with_parent(expected: int, by: signal.Signals = signal.SIGKILL) -> None:
    """End when the parent does. ``expected`` is its id: 0 where it is outside this process namespace."""
    _check(LIBC.prctl(PR_SET_PDEATHSIG, by, 0, 0, 0), "a process that ends with its parent")
    if os.getppid() != expected:
        os._exit(1)


def leave_namespaces() -> None:
    """No network, all files read-only but a scratch folder in memory, for this process and those that it starts."""
    uid, gid = os.getuid(), os.getgid()
    scratch = os.fsencode(os.getcwd())  # noqa: PTH109 only what is needed is imported here
    _check(LIBC.unshare(NEW_NAMESPACES), "user namespaces, which the system's administrator can allow")
    for name, content in (("setgroups", "deny"), ("uid_map", f"1000 {uid} 1"), ("gid_map", f"1000 {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:  # noqa: PTH123
            file.write(content)
    _check(LIBC.mount(None, b"/", None, MS_REC_PRIVATE, None), "mounts of its own")
    read_only = struct.pack("=4Q", 1, 0, 0, 0)
    at_cwd, recursive = -100, 0x8000
    _check(_syscall(MOUNT_SETATTR, at_cwd, b"/", recursive, read_only, len(read_only)), "read-only files")
    _check(LIBC.mount(b"scratch", scratch, b"tmpfs", MS_NOSUID_NODEV, SCRATCH), "a scratch folder in memory")
    os.chdir(scratch)


def leave_processes() -> None:
    """The processes that this one starts from now on see no others."""
    _check(LIBC.unshare(NEW_PIDS), "process namespaces")


def close_in(memory: int, readable: Sequence[str]) -> None:
    """The walls of one process: no privileges, no other processes, few files, little memory; never taken down again.

    Args:
        memory: bytes of address space.
        readable: paths that it may read, besides the shared libraries; those that are not there are passed over.
    """
    _limit_resources(memory)
    _drop_capabilities()
    _no_new_privileges()
    _restrict_files([".", *READABLE, *readable])
    _restrict_calls()


def _limit_resources(memory: int) -> None:
    for limit, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 2**20),
        (resource.RLIMIT_NOFILE, 32),
        (resource.RLIMIT_MEMLOCK, 0),
    ):
        resource.setrlimit(limit, (value, value))


def _drop_capabilities() -> None:
    header = struct.pack("=Ii", 0x20080522, 0)
    _check(LIBC.capset(header, bytes(24)), "a process without privileges")


def _no_new_privileges() -> None:
    _check(LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "a process that gains no privileges")


def _restrict_files(paths: list[str]) -> None:
    """Landlock: all of the first path, the others for reading."""
    version = _syscall(LANDLOCK_CREATE, None, 0, 1)
    _check(version, "Landlock, which a kernel from 5.13 on has and which must be switched on")
    everything = (1 << (13, 14, 15, 15, 16)[min(version, 5) - 1]) - 1
    network = 3 if version >= 4 else 0
    scope = 3 if version >= 6 else 0
    attributes = struct.pack("=QQQ", everything, network, scope)[: 8 if version < 4 else 16 if version < 6 else 24]
    rules = _syscall(LANDLOCK_CREATE, attributes, len(attributes), 0)
    _check(rules, "Landlock's rules for files")
    read_file, read_folder, execute = 1 << 2, 1 << 3, 1  # libraries are mapped as executable, which is a read
    for path in paths:
        try:
            opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        folder = os.path.isdir(path)  # noqa: PTH112
        allowed = everything if path == "." else read_file | execute | (read_folder if folder else 0)
        _check(_syscall(LANDLOCK_ADD, rules, 1, struct.pack("=Qi", allowed, opened), 0), "a rule for files")
        os.close(opened)
    _check(_syscall(LANDLOCK_RESTRICT, rules, 0), "Landlock's rules for files")
    os.close(rules)


def _restrict_calls() -> None:
    """A seccomp filter that refuses the forbidden system calls, and every call of another instruction set."""
    processor = os.uname().machine
    if processor not in FORBIDDEN:
        raise WallError(f"a list of system calls for the processor {processor}")
    architecture, numbers = FORBIDDEN[processor]
    load, equal, at_least, done = 0x20, 0x15, 0x35, 0x06
    refuse, allow, kill = 0x00050000 | errno.EPERM, 0x7FFF0000, 0x80000000
    lines = [(load, 0, 0, 4), (equal, 1, 0, architecture), (done, 0, 0, kill), (load, 0, 0, 0)]
    lines += [(at_least, 0, 1, 0x40000000), (done, 0, 0, refuse)]  # the x32 calls
    for number in (*numbers.values(), *FORBIDDEN_EVERYWHERE.values()):
        lines += [(equal, 0, 1, number), (done, 0, 0, refuse)]
    lines.append((done, 0, 0, allow))
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in lines))
    program = struct.pack("@HP", len(lines), ctypes.addressof(code))
    _check(LIBC.prctl(PR_SET_SECCOMP, 2, program, 0, 0), "a filter of system calls")


def _syscall(number: int, *arguments: Any) -> int:
    return int(LIBC.syscall(ctypes.c_long(number), *(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments)))


def _check(result: int, wall: str) -> None:
    if result < 0:
        raise WallError(f"it lacks {wall} ({os.strerror(ctypes.get_errno())})")
