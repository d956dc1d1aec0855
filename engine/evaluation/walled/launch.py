"""The start of the sandbox: builds the walls, starts the two processes behind them, and ends both when it is told to.

Standard input is the job, standard output the report. Standard error is for what is wrong with the walls alone: each of
the two processes writes ``up`` to it once its own stand, and closes it before it reads a line of the job.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from . import UP, answering, judging, walls

JOB, REPORT, WALLS = 0, 1, 2
_ABOVE_ALL = 1024


def main() -> NoReturn:
    """Run until SIGTERM, or until the process that started this one ends."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    del sys.path[0]  # where this package lies, which nobody behind the walls is to read
    memory = int(sys.argv[2])
    to_program, to_tests = os.pipe(), os.pipe()
    children = []
    try:
        walls.die_with_parent(os.getppid(), signal.SIGTERM)
        walls.adopt_orphans()
        walls.leave_namespaces()
        children.append(_start(judging.main, [to_tests[0], to_program[1], JOB, REPORT], memory))
        children.append(_start(answering.main, [to_program[0], to_tests[1]], memory))
    except (walls.WallError, OSError) as error:
        os.write(WALLS, f"{error}\n".encode())
    os.closerange(0, _ABOVE_ALL)
    signal.sigwait({signal.SIGTERM})
    for child in children:
        os.killpg(child, signal.SIGKILL)
    while True:
        try:
            os.wait()
        except ChildProcessError:
            os._exit(0)


def _start(run: Callable[..., NoReturn], files: Sequence[int], memory: int) -> int:
    """Start a process behind the walls that has these files alone; gives the group that it and its parent are in.

    The parent's only part is to be outside: the first process of a namespace sees no other.
    """
    ours = os.getpid()
    outer = os.fork()
    if outer:
        os.setpgid(outer, outer)  # here as there, whoever comes first
        return outer
    try:
        os.setpgid(0, 0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        walls.die_with_parent(ours)
        walls.leave_processes()
        inner = os.fork()
        if inner:
            os.closerange(0, _ABOVE_ALL)
            os.waitpid(inner, 0)
            os._exit(0)
        walls.die_with_parent(0)
        kept = _keep(files)
        walls.close_in(memory, sys.path)
        os.write(WALLS, UP)
        os.dup2(0, WALLS)
        run(*kept)
    except (walls.WallError, OSError) as error:
        os.write(WALLS, f"{error}\n".encode())
    finally:
        os._exit(1)  # never back into what only the first process does


def _keep(files: Sequence[int]) -> range:
    """Close all files but these, which go to the numbers after the standard ones, and standard error."""
    aside = [fcntl.fcntl(file, fcntl.F_DUPFD, 64) for file in files]
    kept = range(3, 3 + len(files))
    for number, file in zip(kept, aside, strict=True):
        os.dup2(file, number)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1):
        os.dup2(nothing, standard)
    os.closerange(kept.stop, _ABOVE_ALL)
    return kept
