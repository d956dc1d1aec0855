"""The other side of :mod:`engine.evaluation.sandbox`: builds the walls around itself, then runs the code.

Run as a script of its own with nothing but Python's standard library. Job on stdin, report on
stdout: ``passed SECRET``, ``failed WHY`` or ``walls SECRET WHAT IS MISSING``.
"""

from __future__ import annotations

import builtins
import ctypes
import errno
import json
import os
import platform
import resource
import signal
import struct
import sys
from typing import Any, NoReturn

LIBC = ctypes.CDLL(None, use_errno=True)
NEW_NAMESPACES = 0x00020000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000  # mount, IPC, user, PID, network
MS_REC_PRIVATE = 0x4000 | 0x40000
MS_NOSUID_NODEV = 2 | 4
SCRATCH = b"size=8m,nr_inodes=256,mode=700"
# the same numbers on every processor
MOUNT_SETATTR, LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 442, 444, 445, 446
PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 22, 38
SECRET, REPORT = 3, 4
"""File descriptors while the code runs: what proves that the tests were reached, and where to say so."""

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


def main() -> NoReturn:
    """Read the job, go behind the walls, run it."""
    job = json.load(sys.stdin)
    try:
        _die_with_parent(os.getppid())
        _arrange_files(job["secret"])
        _leave_namespaces()
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            os._exit(0)
        _die_with_parent(0)  # the parent is outside this process namespace
        _limit_resources(job["memory"])
        _drop_capabilities()
        _no_new_privileges()
        _restrict_files([".", *READABLE, *sys.path])
        _restrict_calls()
    except (WallError, OSError) as error:
        os.write(REPORT, b"walls " + os.read(SECRET, 64) + b" " + str(error).encode())
        os._exit(0)
    _run(job["program"], job["tests"], job["entry"])


def _run(program: str, tests: str, entry: str) -> NoReturn:
    """The code, then its tests, which see Python's own built-ins."""
    write, read, leave, text = os.write, os.read, os._exit, str
    original = dict(vars(builtins))
    try:
        names: dict[str, Any] = {"__name__": "answer"}
        exec(compile(program, "answer", "exec"), names)
        vars(builtins).update(original)
        if entry not in names:
            raise NameError(f"it defines no {entry}")
        seen = {name: value for name, value in names.items() if name == entry or name not in original}
        exec(compile(tests, "tests", "exec"), seen)
    except BaseException as error:  # noqa: BLE001 an exit is a failure too, and nothing may pass by here
        why = f"{type(error).__name__}: {text(error)}" if text(error) else type(error).__name__
        write(REPORT, b"failed " + why.encode("utf-8", "replace")[:500])
        leave(0)
    write(REPORT, b"passed " + read(SECRET, 64))
    leave(0)


def _arrange_files(secret: int) -> None:
    """The secret's pipe and the report's at numbers of their own, nothing on the standard ones, no others."""
    aside = ((os.dup2(secret, 100), SECRET), (os.dup2(1, 101), REPORT))  # the secret may come at either number
    for source, target in aside:
        os.dup2(source, target)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nothing, standard)
    os.closerange(REPORT + 1, 1024)


def _die_with_parent(expected: int) -> None:
    _check(LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "a process that ends with its parent")
    if os.getppid() != expected:
        os._exit(1)


def _leave_namespaces() -> None:
    """No network, no other processes, all files read-only but a scratch folder in memory."""
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
    processor = platform.machine()
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


if __name__ == "__main__":
    main()
