"""A model of the hub gets here whole or not at all, and never twice."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from filelock import FileLock

from engine import (
    Plan,
    discard,
    download_model,
    list_models,
    look_at_hub,
    plan_checkpoint,
    plan_gguf,
    room_for,
    unfinished_downloads,
)
from engine.errors import (
    HubUnreachableError,
    InstallError,
    InvalidRequestError,
    UnknownModelError,
    WeightsIntegrityError,
)
from engine.models.checkpoint import resolve
from engine.models.hub import download
from engine.models.hub.unfinished import lock_of
from tests.support.fake_hub import FakeHub

WEIGHTS = "model.safetensors"


class PausedError(Exception):
    """Somebody has asked it to stop."""


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_WAITS_S", (0.0, 0.0))


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


def plan(name: str = "mine") -> Plan:
    return plan_checkpoint(look_at_hub("org/tiny"), name)


def pausing_at(share: float) -> Callable[[str, float], None]:
    def progress(stage: str, fraction: float) -> None:
        if fraction >= share and stage.startswith("Downloading"):
            raise PausedError

    return progress


def test_a_checkpoint_is_fetched_once_and_runs_as_it_is(hub: FakeHub, models: Path, tiny_folder: Path) -> None:
    told: list[tuple[str, float]] = []
    found = download_model(plan(), models, lambda stage, fraction: told.append((stage, fraction)))
    assert found.folder == models / "mine"
    assert {path.name for path in found.folder.iterdir()} == {path.name for path in tiny_folder.iterdir()} | {
        "hub.json"
    }
    for path in tiny_folder.iterdir():
        assert (found.folder / path.name).read_bytes() == path.read_bytes()
    fractions = [fraction for _, fraction in told]
    assert fractions == sorted(fractions)
    assert told[-1] == ("Ready", 1.0)
    assert not unfinished_downloads(models)
    (info,) = [info for info in list_models(models) if info.name == "mine"]
    assert info.installed
    assert info.licence == "apache-2.0"
    assert "org/tiny" in info.purpose


def test_a_gguf_file_becomes_a_model_of_one_s_own(hub: FakeHub, models: Path, tiny_file: Path) -> None:
    model = look_at_hub("org/tiny-GGUF")
    wanted = plan_gguf(model, model.ggufs[0], "mine", 100_000)
    assert room_for(wanted, models) > 200_000 + 2 * tiny_file.stat().st_size
    found = download_model(wanted, models)
    assert "Q4_0" in found.provenance
    assert (found.folder / "mine.gguf").read_bytes() == tiny_file.read_bytes()
    assert not unfinished_downloads(models)
    assert not list((models / ".hub").glob("*/*"))


def test_what_is_here_is_not_fetched_again(hub: FakeHub, models: Path) -> None:
    size = len(hub.repositories["org/tiny"].files[WEIGHTS])
    download_bytes = plan().total_bytes
    with pytest.raises(PausedError):
        download_model(plan(), models, pausing_at(0.6))
    (left,) = unfinished_downloads(models)
    assert left.plan == plan()
    assert 0 < left.arrived_bytes < download_bytes
    assert not (models / "mine").exists()
    before = len(hub.asked)
    first: list[float] = []
    download_model(left.plan, models, lambda stage, fraction: first.append(fraction))
    assert first[0] > 0.5, "progress begins where it was"
    fetched = [path for path, _ in hub.asked[before:]]
    assert not any(path.endswith("/config.json") for path in fetched)
    begins = [int(range.removeprefix("bytes=").rstrip("-")) for range in hub.ranges_of(WEIGHTS) if range]
    assert begins
    assert all(0 < begin < size for begin in begins)
    assert resolve("mine", models).parameters


def test_a_connection_that_breaks_off_is_gone_on_with(hub: FakeHub, models: Path) -> None:
    hub.cuts = [1000, 2000]
    download_model(plan(), models)
    assert hub.ranges_of(WEIGHTS) == [None, "bytes=1000-", "bytes=3000-"]


def test_one_that_keeps_breaking_off_is_told_of_and_kept(hub: FakeHub, models: Path) -> None:
    hub.cuts = [1000, 1000, 1000]
    with pytest.raises(InstallError, match=r"is here and kept.*Resume goes on from there") as caught:
        download_model(plan(), models)
    assert "\n" not in str(caught.value)
    hub.cuts = [100, 0]
    with pytest.raises(InstallError, match="kept"):
        download_model(plan(), models)
    download_model(plan(), models)
    assert hub.ranges_of(WEIGHTS)[-1] == "bytes=3100-"


def test_a_hub_that_begins_again_is_not_joined_to_what_is_here(hub: FakeHub, models: Path) -> None:
    hub.has_ranges = False
    hub.cuts = [1000]
    download_model(plan(), models)
    assert hub.ranges_of(WEIGHTS) == [None, "bytes=1000-"]
    assert resolve("mine", models)


def test_what_was_altered_on_its_way_is_refused_and_not_kept(hub: FakeHub, models: Path) -> None:
    hub.altered = True
    with pytest.raises(WeightsIntegrityError, match=r"model.safetensors is not what the hub lists for org/tiny"):
        download_model(plan(), models)
    assert not (models / "mine").exists()
    hub.altered = False
    download_model(plan(), models)
    assert hub.ranges_of(WEIGHTS)[-1] is None


def test_small_files_are_checked_too_and_a_changed_size_is_seen(hub: FakeHub, models: Path) -> None:
    wanted = plan()
    files = hub.repositories["org/tiny"].files
    right = files["tokenizer.json"]
    files["tokenizer.json"] = right[:-1] + b" "
    with pytest.raises(WeightsIntegrityError, match=r"tokenizer\.json is not what the hub lists"):
        download_model(wanted, models)
    files["tokenizer.json"] = right + b" "
    with pytest.raises(WeightsIntegrityError, match="more than"):
        download_model(wanted, models)
    files["tokenizer.json"] = right[:-9]
    with pytest.raises(InstallError, match="ends the connection too early"):
        download_model(wanted, models)


def test_a_part_that_was_altered_here_is_found_by_its_hash(hub: FakeHub, models: Path) -> None:
    hub.cuts = [5000, 0]
    with pytest.raises(InstallError):
        download_model(plan(), models)
    (part,) = (models / ".hub").glob("*/*.part")
    part.write_bytes(b"\0" * 5000)
    with pytest.raises(WeightsIntegrityError):
        download_model(plan(), models)
    download_model(plan(), models)


def test_a_name_that_is_taken_is_refused_before_anything_is_fetched(hub: FakeHub, models: Path) -> None:
    (models / "mine").mkdir(parents=True)
    wanted = plan()
    before = len(hub.asked)
    for name in ("mine", "smollm2-135m", "a/b"):
        with pytest.raises(InvalidRequestError):
            download_model(Plan(wanted.repository, wanted.revision, None, name, wanted.files), models)
    assert len(hub.asked) == before


def test_a_disk_without_room_is_said_before_and_while_it_fills(
    hub: FakeHub, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = plan()
    free = SimpleNamespace(free=room_for(wanted, models) - 1)
    before = len(hub.asked)
    with monkeypatch.context() as full:
        full.setattr(shutil, "disk_usage", lambda _: free)
        with pytest.raises(InstallError, match="Not enough disk space for mine"):
            download_model(wanted, models)
    assert len(hub.asked) == before

    def no_room(stage: str, fraction: float) -> None:
        if fraction > 0.5:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(InstallError, match="Not enough disk space for mine"):
        download_model(wanted, models, no_room)
    assert unfinished_downloads(models)[0].arrived_bytes
    download_model(wanted, models)


def test_gated_missing_and_unreachable_are_told_apart(
    hub: FakeHub, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = plan()
    hub.repositories["org/tiny"].gated = True
    with pytest.raises(UnknownModelError, match="set HF_TOKEN"):
        download_model(wanted, models)
    hub.status = 500
    with pytest.raises(HubUnreachableError, match="answers with error 500"):
        download_model(wanted, models)
    hub.status = 200
    monkeypatch.setenv("HF_TOKEN", hub.lets_in)
    del hub.repositories["org/tiny"].files[WEIGHTS]
    with pytest.raises(UnknownModelError, match="no such file any more"):
        download_model(wanted, models)


def test_a_download_can_be_given_up(hub: FakeHub, models: Path) -> None:
    with pytest.raises(PausedError):
        download_model(plan(), models, pausing_at(0.5))
    (left,) = unfinished_downloads(models)
    discard(left.plan, models)
    assert not unfinished_downloads(models)
    with pytest.raises(InvalidRequestError, match="choose one of its GGUF files"):
        plan_checkpoint(look_at_hub("org/tiny-GGUF"), "mine")


def test_a_download_that_goes_on_elsewhere_is_not_deleted(hub: FakeHub, models: Path) -> None:
    with pytest.raises(PausedError):
        download_model(plan(), models, pausing_at(0.5))
    (left,) = unfinished_downloads(models)
    with FileLock(lock_of(left.plan, models)), pytest.raises(InstallError, match="downloaded by another Gearbox"):
        discard(left.plan, models)
    assert unfinished_downloads(models) == [left]
    discard(left.plan, models)
    assert not unfinished_downloads(models)


@pytest.mark.parametrize(
    "written",
    [b"", b"{", b"[]", b'{"repository": "org/x", "revision": "1", "licence": null, "name": "n", "files": []}'],
)
def test_notes_of_a_download_that_cannot_be_read_are_none(models: Path, written: bytes) -> None:
    folder = models / ".hub" / "0123"
    folder.mkdir(parents=True)
    Plan.file_in(folder).write_bytes(written)
    assert unfinished_downloads(models) == []


def test_files_elsewhere_are_never_written(hub: FakeHub, models: Path, tmp_path: Path) -> None:
    with pytest.raises(PausedError):
        download_model(plan(), models, pausing_at(0.1))
    (folder,) = (path for path in (models / ".hub").iterdir() if path.is_dir())
    note: Any = Plan.file_in(folder).read_text().replace("config.json", "../../../up.json")
    Plan.file_in(folder).write_text(note)
    assert unfinished_downloads(models) == []
