"""The app served for real, and the browser to look at it with."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError

from app.settings import REPOSITORY

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
GEARBOX = "from app.cli import main; main()"
"""What the ``gearbox`` command runs."""
PASSWORD = "correct horse battery"
"""Of servers that others may come to."""
_START_S = 60.0
_WHOEVER_IT_IS = ssl._create_unverified_context()
"""For asking whether a server that makes its own certificate is there."""


class Server:
    """One ``gearbox run``, as ``make run`` does it, on a data folder. It can be killed and started again."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    @property
    def database_url(self) -> str:
        return f"sqlite:///{self.data_dir / 'gearbox.db'}"

    @property
    def log(self) -> str:
        """What the server has said on its console."""
        return (self.data_dir / "server.log").read_text(encoding="utf-8")

    @property
    def pid(self) -> int:
        """Of the process that serves."""
        assert self._process, "it has not been started"
        return self._process.pid

    def start(self, *options: str, script: Path | None = None, **variables: str) -> None:
        """Serve on a free port, and return as soon as the server answers.

        Args:
            options: added to the command line.
            script: served by Streamlit alone, instead of the app.
            variables: added to the environment.
        """
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"{'https' if '--server.sslCertFile' in options else 'http'}://127.0.0.1:{port}"
        command = ["-c", GEARBOX, "run", "--port", str(port)]
        if script:
            command = ["-m", "streamlit", "run", str(script), "--server.port", str(port)]
        environment = {name: value for name, value in os.environ.items() if name != "GEARBOX_DATABASE_URL"}
        with (self.data_dir / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *command, *options],
                cwd=REPOSITORY,
                env=environment | {"GEARBOX_DATA_DIR": str(self.data_dir)} | variables,
                stdout=log,
                stderr=log,
            )
        self._wait_until_healthy()

    def kill(self) -> None:
        """As ``kill -9`` does: nothing gets to tidy up."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to end."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._process:
            self._process.send_signal(how)
            self._process.wait(timeout=30)
            self._process = None

    def _wait_until_healthy(self) -> None:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                raise RuntimeError(self.log)
            try:
                with urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=2, context=_WHOEVER_IT_IS):
                    return
            except (URLError, OSError):
                time.sleep(0.1)
        raise TimeoutError(f"The server did not answer within {_START_S:.0f} s.")


def find_chromium() -> str | None:
    """Where the browser is; ``None`` without one."""
    return next((path for name in CHROMIUM_NAMES if (path := shutil.which(name))), None)


def sign_in(page: Page) -> None:
    """Give the password where a browser is asked for it, and wait for the page that it wanted."""
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_test_id("stApp").wait_for(timeout=60_000)
