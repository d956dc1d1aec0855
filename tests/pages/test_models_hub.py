"""The hub on the Models page: found, looked at, downloaded, paused, resumed; and the page without it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from filelock import FileLock
from streamlit.testing.v1 import AppTest

from app import resources
from app.store import RunStore
from engine import unfinished_downloads
from tests.support.fake_hub import FakeHub, Repository, fake_hub
from tests.support.gguf_files import tiny_gguf
from tests.support.models_page import models_page, open_models_page, settled, texts
from tests.support.tiny import make_tiny_checkpoint


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    make_tiny_checkpoint(folder / "tiny", "qwen3")
    tiny_gguf(folder / "Tiny.Q4_0.gguf", "llama", "Q4_0")
    return folder


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, files: Path) -> Iterator[FakeHub]:
    with fake_hub(monkeypatch) as hub:
        hub.repositories["org/tiny"] = Repository.of_folder(files / "tiny", tags=["license:apache-2.0"])
        hub.repositories["org/tiny-GGUF"] = Repository(
            {"Tiny.Q4_0.gguf": (files / "Tiny.Q4_0.gguf").read_bytes()}, {"gguf": {"architecture": "llama"}}
        )
        hub.repositories["org/tiny-bert"] = Repository({"a.safetensors": b""}, {"config": {"model_type": "bert"}})
        yield hub


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AppTest]:
    with models_page(monkeypatch, tmp_path / "data") as page:
        yield page


def look(app: AppTest, words: str) -> AppTest:
    app.text_input("hub-words").set_value(words).run()
    settled(app, "look at hub", "search")
    return settled(app, "memory")


def test_a_model_is_found_looked_at_and_downloaded(hub: FakeHub, page: AppTest) -> None:
    look(page, "tiny")
    assert list(page.dataframe[0].value["Model"]) == ["org/tiny", "org/tiny-GGUF"]
    page.toggle("hub-only").set_value(False).run()
    assert "family bert" in dict(zip(*(page.dataframe[0].value[name] for name in ("Model", "Runs here")), strict=True))[
        "org/tiny-bert"
    ]  # fmt: skip
    page.selectbox("hub-chosen").set_value("org/tiny").run()
    settled(page, "look at hub")
    settled(page, "memory")
    assert not page.exception
    assert not page.error
    shown = texts(page)
    for told in ("apache", "Decode, estimated", "| int4 |", "≤", "GB/s, measured here", "of the disk at most"):
        assert told in shown, told
    page.text_input("hub-name-tiny").set_value("smollm2-135m").run()
    assert "There is a model called smollm2" in page.error[0].value
    page.text_input("hub-name-tiny").set_value("mine").run()
    page.button("hub-download").click().run()
    settled(page, "download")
    assert not page.exception
    assert not page.error
    assert "Here as mine" in page.success[0].value
    assert any(element.value == "mine" for element in page.subheader)
    assert "From the hub: org/tiny" in texts(page)


def test_a_download_is_paused_and_gone_on_with_after_a_restart(hub: FakeHub, page: AppTest) -> None:
    hub.holds_after = 2000
    look(page, "org/tiny")
    page.button("hub-download").click().run()
    assert hub.held.wait(30)
    page.run()
    assert "It stands under Downloads above" in texts(page)
    (pause,) = [button for button in page.button if button.label == "Pause"]
    pause.click().run()
    hub.go_on.set()
    hub.holds_after = None
    settled(page, "download")
    assert "Paused" in page.info[0].value
    st.cache_resource.clear()  # as after a restart
    begun = len(hub.ranges_of("model.safetensors"))
    app = open_models_page()
    assert "are here\\." in texts(app) or "are here." in texts(app)
    (resume,) = [button for button in app.button if button.label == "Resume"]
    resume.click().run()
    settled(app, "download")
    assert not app.exception
    assert [error.value for error in app.error] == []
    assert all(range and range != "bytes=0-" for range in hub.ranges_of("model.safetensors")[begun:])
    assert (resources.get_settings().models_dir / "tiny" / "hub.json").is_file()
    assert not [button for button in app.button if button.label == "Resume"]


def test_a_name_that_was_taken_meanwhile_is_chosen_anew(hub: FakeHub, page: AppTest) -> None:
    hub.altered = True
    look(page, "org/tiny")
    page.button("hub-download").click().run()
    settled(page, "download")
    hub.altered = False
    models_dir = resources.get_settings().models_dir
    (models_dir / "tiny").mkdir()
    (left,) = unfinished_downloads(models_dir)
    key = left.plan.key
    st.cache_resource.clear()  # as after a restart
    app = open_models_page()
    assert app.text_input(f"hub-resume-name-{key}").value == "tiny-2"
    app.text_input(f"hub-resume-name-{key}").set_value("tiny").run()
    assert "There is a model called tiny already" in app.error[0].value
    assert app.button(f"hub-resume-{key}").disabled
    app.text_input(f"hub-resume-name-{key}").set_value("mine").run()
    app.button(f"hub-resume-{key}").click().run()
    settled(app, "download")
    assert not app.exception
    assert [error.value for error in app.error] == []
    assert (models_dir / "mine" / "hub.json").is_file()


def test_what_goes_on_in_another_process_is_not_discarded(hub: FakeHub, page: AppTest) -> None:
    hub.altered = True
    look(page, "org/tiny")
    page.button("hub-download").click().run()
    settled(page, "download")
    models_dir = resources.get_settings().models_dir
    (left,) = unfinished_downloads(models_dir)
    with FileLock(models_dir / ".hub" / f"{left.plan.key}.lock"):
        page.button(f"hub-discard-{left.plan.key}").click().run()
    assert not page.exception
    assert "downloaded by another Gearbox" in page.error[-1].value
    assert unfinished_downloads(models_dir) == [left]


def test_what_fails_stands_there_and_can_be_discarded(hub: FakeHub, page: AppTest) -> None:
    hub.altered = True
    look(page, "org/tiny")
    page.button("hub-download").click().run()
    settled(page, "download")
    assert len(page.error) == 1
    assert "is not what the hub lists" in page.error[0].value.replace("\\", "")
    (discard,) = [button for button in page.button if button.label == "Discard"]
    discard.click().run()
    assert not page.exception
    assert not [button for button in page.button if button.label == "Resume"]
    assert page.button("hub-download")


def test_a_gguf_file_of_the_hub_is_offered_as_one_of_one_s_own_is(hub: FakeHub, page: AppTest) -> None:
    look(page, "org/tiny-GGUF")
    settled(page, "look at hub")
    settled(page, "memory")
    assert not page.error
    shown = texts(page)
    for told in ("Q4\\_0", "Chat template", "| int4 |"):
        assert told in shown or told.replace("\\", "") in shown, told
    page.button("hub-download").click().run()
    settled(page, "download")
    assert not page.error
    assert "Here as Tiny.Q4_0" in page.success[0].value.replace("\\", "")


def test_gated_unknown_and_unreachable_are_said_and_asked_again(hub: FakeHub, page: AppTest) -> None:
    hub.repositories["org/tiny"].gated = True
    look(page, "org/tiny")
    assert "set HF_TOKEN" in page.warning[0].value.replace("\\", "")
    assert "hub-download" not in {button.key for button in page.button}
    hub.repositories["org/tiny"].gated = False
    page.button("hub-gated-again").click().run()
    settled(page, "look at hub")
    assert page.button("hub-download")
    look(page, "org/nothing")
    assert "The hub has no model org/nothing" in page.error[0].value.replace("\\", "")
    hub.status = 503
    look(page, "more")
    assert not page.error
    assert "cannot be reached" in page.info[0].value
    assert page.text_input("add-path"), "everything else is there"
    hub.status = 200
    page.button("hub-search-again").click().run()
    settled(page, "search")
    assert not page.exception
    assert "No model of the hub has these words" in texts(page)


def test_who_may_not_administer_looks_and_neither_downloads_nor_discards(
    hub: FakeHub, page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.altered = True
    look(page, "org/tiny")
    page.button("hub-download").click().run()
    settled(page, "download")
    assert [button.label for button in page.button if button.label in ("Resume", "Discard")] == ["Resume", "Discard"]
    monkeypatch.setattr(RunStore, "may_administer", False)
    page.run()
    assert not page.exception
    assert "Only the machine's own desk may change downloads" in texts(page)
    assert not [button for button in page.button if button.label in ("Resume", "Discard", "Download")]
    look(page, "org/tiny-GGUF")
    settled(page, "look at hub", "memory")
    assert "Q4" in texts(page)
    assert "hub-download" not in {button.key for button in page.button}
