"""Real servers with OpenAI's API: where tests find them, and how they are started, killed and started again.

One that runs already is named by its address in an environment variable, with its model's name in another. Without that
it is started from ``.venv-servers``, which `make bench-servers` fills; Gearbox itself from here.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError

from app.settings import REPOSITORY
from engine.models import CATALOG
from tests.support.server import GEARBOX as GEARBOX_COMMAND

SERVED = "smollm2-135m"
"""The model that servers of the tests run, and its name there."""
CONTEXT = 2048
_INSTALLED = REPOSITORY / ".venv-servers"
_START_S = 300.0
_END_S = 30.0
_DOWN_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Software:
    """What serves."""

    name: str
    variable: str
    """Holds the address of one that runs; with ``_MODEL`` behind it, the name of its model."""
    program: Path
    arguments: Callable[[Path], list[str]]
    """Made of the folder of models; the port comes behind them."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """What its environment is given."""

    @property
    def url(self) -> str | None:
        """The address of one that runs already."""
        return os.environ.get(self.variable) or None

    @property
    def model(self) -> str:
        """What the server calls its model."""
        return os.environ.get(f"{self.variable}_MODEL") or SERVED

    def why_not(self) -> str | None:
        """Why there is none; ``None`` where there is."""
        if self.url or self.program.exists():
            return None
        return f"no {self.name}: `make bench-servers` installs it, and {self.variable} names one that runs"


VLLM = Software(
    name="vLLM",
    variable="GEARBOX_TEST_VLLM",
    program=_INSTALLED / "vllm" / "bin" / "vllm",
    arguments=lambda models: [
        "serve", str(models / SERVED), "--served-model-name", SERVED, "--host", "127.0.0.1", "--dtype", "bfloat16",
        "--max-model-len", str(CONTEXT), "--max-num-seqs", "8", "--enforce-eager", "--enable-prompt-tokens-details",
        "--gpu-memory-utilization", "0.2",
    ],
    variables={"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"},
)  # fmt: skip
LLAMA_SERVER = Software(
    name="llama-server",
    variable="GEARBOX_TEST_LLAMA_SERVER",
    program=_INSTALLED / "llama-server" / "llama-server",
    arguments=lambda models: [
        "--model", str(models / CATALOG[SERVED].file_name), "--alias", SERVED, "--host", "127.0.0.1",
        "--ctx-size", str(2 * CONTEXT), "--parallel", "2", "--threads", "2", "--metrics", "--offline",
    ],
)  # fmt: skip
LLAMA_CPP_PYTHON = Software(
    name="llama-cpp-python",
    variable="GEARBOX_TEST_LLAMA_CPP_PYTHON",
    program=_INSTALLED / "llama-cpp" / "bin" / "python",
    arguments=lambda models: [
        "-m", "llama_cpp.server", "--model", str(models / CATALOG[SERVED].file_name), "--model_alias", SERVED,
        "--host", "127.0.0.1", "--n_ctx", str(CONTEXT), "--n_threads", "2", "--logits_all", "true",
    ],
)  # fmt: skip
GEARBOX = Software(
    name="Gearbox",
    variable="GEARBOX_TEST_GEARBOX",
    program=Path(sys.executable),
    arguments=lambda _models: ["-c", GEARBOX_COMMAND, "run"],
)
ALL = (VLLM, LLAMA_SERVER, LLAMA_CPP_PYTHON, GEARBOX)


class ModelServer:
    """One of them; started here, it is on a port that stays the same when it is started again."""

    def __init__(self, software: Software, models_dir: Path, folder: Path) -> None:
        """
        Args:
            software: what serves.
            models_dir: where its model is.
            folder: takes what it says, and what it keeps.
        """
        self.software = software
        self._log = folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self._command = [str(software.program), *software.arguments(models_dir), "--port", str(port)]
        self.url = software.url or f"http://127.0.0.1:{port}"
        if software is GEARBOX:
            (folder / "models").symlink_to(models_dir)
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))
        }
        self._environment |= {**software.variables, "GEARBOX_DATA_DIR": str(folder)}

    @property
    def is_ours(self) -> bool:
        """Whether it may be killed: it was started here."""
        return self.software.url is None

    def start(self) -> None:
        """Serve, and return as soon as it answers; nothing happens where one is named that runs already.

        Raises:
            RuntimeError: it ended, or does not answer.
        """
        if not self.is_ours:
            return
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=REPOSITORY, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/v1/models", timeout=5):
                    return
            except (URLError, OSError):
                time.sleep(0.2)
        self.kill()
        raise RuntimeError(self._log.read_text(encoding="utf-8", errors="replace")[-4000:])

    def kill(self) -> None:
        """End it and all its processes, as ``kill -9`` does."""
        if self._process:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(_END_S)
            self._process = None

    def figure(self, name: str) -> float:
        """The sum of a series of its ``/metrics``."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.split("{")[0].split(" ")[0] == name)

    def wait_for(self, name: str, value: float) -> None:
        """Wait until a series of its ``/metrics`` has a value."""
        deadline = time.monotonic() + _DOWN_S
        while self.figure(name) != value:
            assert time.monotonic() < deadline, f"{name} is {self.figure(name)}, and not {value}"
            time.sleep(0.1)
