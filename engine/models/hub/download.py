"""Fetches a model from the hub into the models folder, and goes on where an earlier attempt stopped.

Files arrive in a folder aside, each under ``NAME.part`` until its size and its hash are those that the hub lists. What
is there stays there when the download is cancelled, fails or the process ends; it moves to its place once all is whole
and opens.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from time import sleep

from engine.errors import HubUnreachableError, InstallError, InvalidRequestError, WeightsIntegrityError
from engine.models.checkpoint import Checkpoint, inspect, resolve
from engine.models.format.origin import Origin
from engine.models.hub.records import HubFile, HubModel
from engine.models.hub.unfinished import Plan, arrived_bytes, folder_of, lock_of
from engine.models.own.add import add, check_name, check_opens
from engine.models.sources.progress import Progress, part, silent
from engine.models.writing import SMALL_FILES_BYTES, check_room, one_at_a_time, plain_disk_errors

_Tell = Callable[[str, int], None]
"""Called with what is done with a file, and how many bytes of it are here."""
_READ_BYTES = 1 << 22
_WAITS_S = (1.0, 3.0, 10.0)
"""Before a download goes on after its connection broke off, as long as something came since the last time."""
_CONVERTING_FROM = 0.7
"""Where fetching a GGUF file ends, of all the work."""


def plan_checkpoint(model: HubModel, name: str) -> Plan:
    """What fetching a model's checkpoint comes to.

    Raises:
        InvalidRequestError: it has none that runs here.
    """
    if not model.files:
        why = f"{model.repository} has no checkpoint in safetensors: choose one of its GGUF files."
        raise InvalidRequestError(model.refused or why)
    return Plan(model.repository, model.revision, model.licence, name, model.files)


def plan_gguf(model: HubModel, file: HubFile, name: str, parameters: int) -> Plan:
    """What fetching one of a model's GGUF files, of so many weights, and converting it comes to."""
    converted = 2 * parameters + file.bytes  # in 16 bits, beside a copy of the file at most
    return Plan(model.repository, model.revision, model.licence, name, (file,), converted)


def download(plan: Plan, models_dir: Path, progress: Progress = silent) -> Checkpoint:
    """Fetch what is not here yet, check it, and put it among the models; a GGUF file is converted as one's own are.

    ``progress`` may raise to pause: what is here is kept.

    Raises:
        InvalidRequestError: the name cannot be used, or is taken.
        HubUnreachableError, UnknownModelError: the hub does not give it, or not any more.
        InstallError: there is not enough room, or writing failed.
        WeightsIntegrityError: what came is not what the hub lists.
        UnsupportedModelError: the model does not run here after all.
    """
    check_name(plan.name, models_dir)
    folder = folder_of(plan, models_dir)
    with plain_disk_errors(plan.name, models_dir, lambda: room_for(plan, models_dir)):
        folder.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(lock_of(plan, models_dir), progress, "Waiting for another download of it"):
            check_name(plan.name, models_dir)
            check_room(plan.name, models_dir, room_for(plan, models_dir))
            folder.mkdir(exist_ok=True)  # whoever held the lock may have finished and removed it
            plan.write(folder)
            _fetch_all(plan, folder, part(progress, 0.0, _CONVERTING_FROM if plan.is_gguf else 0.97))
            if plan.is_gguf:
                path = folder / plan.files[0].file_name
                add(path, models_dir, part(progress, _CONVERTING_FROM, 1.0), name=plan.name)
                _origin(plan).write(models_dir / plan.name)
                shutil.rmtree(folder, ignore_errors=True)
            else:
                _put_in_place(plan, folder, models_dir, part(progress, 0.97, 1.0))
    progress("Ready", 1.0)
    return resolve(plan.name, models_dir)


def room_for(plan: Plan, models_dir: Path) -> int:
    """Bytes that the disk still has to have: for what is not here yet, and for what a GGUF file is converted into."""
    return plan.total_bytes - arrived_bytes(plan, models_dir) + plan.converted_bytes + SMALL_FILES_BYTES


def _fetch_all(plan: Plan, folder: Path, progress: Progress) -> None:
    total, before = max(plan.total_bytes, 1), 0
    for number, file in enumerate(plan.files, 1):
        which = f" ({number} of {len(plan.files)})" if len(plan.files) > 1 else ""

        def tell(doing: str, done: int, before: int = before, which: str = which) -> None:
            progress(f"{doing}{which}", min(1.0, (before + done) / total))

        _Arriving(plan, file, folder).fetch(tell)
        before += file.bytes


class _Arriving:
    """One file on its way."""

    def __init__(self, plan: Plan, file: HubFile, folder: Path) -> None:
        self._plan, self._file = plan, file
        self._whole = folder / file.file_name
        self._part = folder / f"{file.file_name}.part"

    def fetch(self, tell: _Tell) -> None:
        """Until it is whole; what is here of it is not fetched again."""
        if self._whole.is_file() and self._whole.stat().st_size == self._file.bytes:
            return
        if self._have() > self._file.bytes:
            self._part.unlink()
        waits, have = iter(_WAITS_S), self._have()
        while have < self._file.bytes:
            try:
                self._receive(have, tell)
            except HubUnreachableError as error:
                came = self._have() - have
                have, wait = self._have(), next(waits, None)
                if not have or not came or wait is None:
                    raise self._broken_off(error, have) if have else error from error
                tell("Connecting again", have)
                sleep(wait)
                continue
            if (now := self._have()) <= have:
                raise self._broken_off(None, have)
            have = now
        self._check(tell)
        self._part.replace(self._whole)

    def _have(self) -> int:
        return self._part.stat().st_size if self._part.is_file() else 0

    def _receive(self, have: int, tell: _Tell) -> None:
        from engine.models.hub.client import stream_file

        plan = self._plan
        with (
            stream_file(plan.repository, plan.revision, self._file.name, have) as stream,
            self._part.open("r+b" if have else "wb") as file,
        ):
            file.truncate(stream.begin)
            file.seek(stream.begin)
            done = stream.begin
            tell("Downloading", done)
            for piece in stream.pieces:
                file.write(piece)
                done += len(piece)
                if done > self._file.bytes:
                    raise WeightsIntegrityError(self._wrong(f"more than {self._file.bytes:,} bytes came"))
                tell("Downloading", done)

    def _check(self, tell: _Tell) -> None:
        """Hold it against the hub's list; what is not as listed goes, so that the next attempt begins again."""
        sha256, blob = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % self._file.bytes, usedforsecurity=False)
        with self._part.open("rb") as file:
            while piece := file.read(_READ_BYTES):
                sha256.update(piece)
                if self._file.blob_id:
                    blob.update(piece)
                tell("Checking", self._file.bytes)
        size = self._have()
        found = (size, sha256.hexdigest(), blob.hexdigest())
        right = (self._file.bytes, self._file.sha256 or found[1], self._file.blob_id or found[2])
        if found != right:
            self._part.unlink()
            why = f"it has {size:,} bytes and sha256 {found[1]}"
            raise WeightsIntegrityError(self._wrong(why))

    def _wrong(self, why: str) -> str:
        return (
            f"{self._file.name} is not what the hub lists for {self._plan.repository}: {why}. Download it again; if "
            "that does not help, something on the way to the hub changes it."
        )

    def _broken_off(self, error: HubUnreachableError | None, have: int) -> InstallError:
        why = f" {error}" if error else " The hub ends the connection too early."
        return InstallError(
            f"{self._plan.repository} is not whole yet: {have / self._file.bytes:.0%} of {self._file.name} is here and "
            f"kept.{why} Resume goes on from there."
        )


def _put_in_place(plan: Plan, folder: Path, models_dir: Path, progress: Progress) -> None:
    """Make a model of the folder aside, if it opens."""
    progress("Opening the model", 0.0)
    inspect(plan.name, folder)
    check_opens(plan.name, folder)
    _origin(plan).write(folder)
    folder.rename(models_dir / plan.name)
    Plan.file_in(models_dir / plan.name).unlink()


def _origin(plan: Plan) -> Origin:
    return Origin(plan.repository, plan.revision, plan.licence)
