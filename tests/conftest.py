"""Fixtures that more than one test file uses."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.remote import Producer

from app.background.jobs import Jobs
from app.store import RunStore
from engine import Engine
from engine.models import install
from engine.models.sources.progress import silent
from tests.support.oracle import Oracle
from tests.support.sharing import BrowserTogether
from tests.support.stores import new_database
from tests.support.tiny import make_tiny_checkpoint

# model work takes longer than hypothesis' 200 ms, and says nothing about correctness
settings.register_profile("gearbox", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("gearbox")

REPOSITORY = Path(__file__).parent.parent
SMALL = "smollm2-135m"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> BrowserTogether | None:
    """How `--dist loadfile` shares tests out."""
    return BrowserTogether(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests counted, after their results."""
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    counted = [
        f"{report.nodeid}: {name}: {value}"
        for report in reports
        if report.when == "call"
        for name, value in report.user_properties
    ]
    if counted:
        terminalreporter.section("counted")
        for line in sorted(counted):
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def models_dir() -> Path:
    """A folder of models with the smallest real one in it, installed if it is not there yet."""
    data_dir = os.environ.get("GEARBOX_DATA_DIR")
    folder = (Path(data_dir) if data_dir else REPOSITORY / "data") / "models"
    install(SMALL, folder, silent)
    return folder


@pytest.fixture(scope="session")
def tiny_models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models with one of random weights, "tiny", for what real ones would only slow down."""
    folder = tmp_path_factory.mktemp("data") / "models"
    make_tiny_checkpoint(folder / "tiny", "qwen2", max_position_embeddings=1024)
    return folder


@pytest.fixture(scope="session")
def engine(models_dir: Path) -> Iterator[Engine]:
    """One engine on real weights for all tests, as the app has one."""
    engine = Engine(models_dir)
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def oracle() -> Iterator[Oracle]:
    """Holds checkpoints against transformers, in children that may die."""
    with Oracle() as running:
        yield running


@pytest.fixture(autouse=True)
def _loop_of_the_browser(request: pytest.FixtureRequest) -> Iterator[None]:
    """Playwright leaves its event loop running between two tests of a browser: others begin without one."""
    running = asyncio._get_running_loop()
    if request.node.get_closest_marker("browser") or running is None:
        yield
        return
    asyncio._set_running_loop(None)
    yield
    asyncio._set_running_loop(running)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a run database is, or will be."""
    return tmp_path / "gearbox.db"


@pytest.fixture
def store(file: Path) -> Iterator[RunStore]:
    """An empty run store."""
    store = RunStore.open(new_database(file))
    yield store
    store.close()


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    """A job runner."""
    jobs = Jobs()
    yield jobs
    jobs.close()
