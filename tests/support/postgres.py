"""A PostgreSQL server of the tests' own, where Debian's package is installed."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import LiteralString, cast

import psycopg

_PROGRAMS = Path("/usr/lib/postgresql")
_USER = "postgres"
"""Who runs the server where the tests run as root: it refuses to be root."""


def programs() -> Path | None:
    """The folder of the newest version's programs; ``None`` where none is installed."""
    found = sorted(_PROGRAMS.glob("*/bin/initdb"), key=lambda file: int(file.parent.parent.name))
    return found[-1].parent if found else None


@dataclass(slots=True)
class PostgresServer:
    """A server on a socket in a folder of its own, in UTC, that keeps nothing when it stops."""

    programs: Path
    folder: Path
    _numbers: count[int] = field(default_factory=count)

    @classmethod
    def start(cls, programs: Path) -> PostgresServer:
        """Make a cluster and start its server."""
        folder = Path(tempfile.mkdtemp(prefix="gearbox-postgres-"))
        if os.geteuid() == 0:
            owner = pwd.getpwnam(_USER)
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        server = cls(programs, folder)
        server._run("initdb", "--pgdata", str(server._data), "--auth=trust", f"--username={_USER}", "--encoding=UTF8",
                    "--locale=C.UTF-8", "--no-sync")  # fmt: skip
        server.go_on()
        return server

    def go_on(self) -> None:
        """Start the server, or start it again."""
        options = f"-c listen_addresses='' -c unix_socket_directories={self.folder} -c fsync=off -c timezone=UTC"
        log = str(self.folder / "log")
        self._run("pg_ctl", "--pgdata", str(self._data), "--log", log, "--options", options, "--wait", "start")

    def halt(self) -> None:
        """Stop the server as a crash would: sessions are cut off."""
        self._run("pg_ctl", "--pgdata", str(self._data), "--mode", "immediate", "--wait", "stop")

    def stop(self) -> None:
        """Stop the server, and delete all that it kept."""
        self.halt()
        shutil.rmtree(self.folder)

    @property
    def template(self) -> str:
        """The database that others are copies of."""
        return "template1"

    def copy(self) -> str:
        """Make a database as the template is, which nobody may be using, and return its name."""
        name = f"gearbox_{next(self._numbers)}"
        self._tell(f"CREATE DATABASE {name} TEMPLATE {self.template}")
        return name

    def drop(self, name: str) -> None:
        """Delete a database, whoever uses it."""
        self._tell(f"DROP DATABASE {name} WITH (FORCE)")

    def url(self, name: str) -> str:
        """SQLAlchemy's URL of a database."""
        return f"postgresql+psycopg://{_USER}@/{name}?host={self.folder}"

    def _tell(self, command: str) -> None:
        with psycopg.connect(host=str(self.folder), user=_USER, dbname=_USER, autocommit=True) as connection:
            connection.execute(cast("LiteralString", command))

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.programs / program), *arguments]
        if os.geteuid() == 0:
            command = ["runuser", "-u", _USER, "--", *command]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self.folder)
