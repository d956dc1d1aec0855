"""Adding a GGUF file on the Models page: by path, uploaded, or one of Ollama's."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app import resources
from tests.support.gguf_files import tiny_gguf, write_gguf_of
from tests.support.models_page import models_page, settled, texts


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / "Tiny_*Q8_0*.gguf"
    folder = tiny_gguf(path, "qwen3", "Q8_0")
    write_gguf_of(folder, path, "Q8_0", general__license="apache-2.0")
    return path


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AppTest]:
    """The Models page of an installation without models of its own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("OLLAMA_MODELS", raising=False)
    with models_page(monkeypatch, tmp_path / "data") as page:
        yield page


def test_a_file_is_told_of_before_it_is_added_and_then_stands_in_the_list(page: AppTest, written: Path) -> None:
    page.text_input("add-path").set_value(f" {written} ").run()
    settled(page, "look at")
    assert not page.exception
    assert not page.error
    shown = texts(page)
    for told in ("qwen3", "apache\\-2\\.0", "Q8\\_0", "Memory, about", "| int4 |", "| bf16 |"):
        assert told in shown or told.replace("\\", "") in shown, told
    name = page.text_input(f"add-name-{written}")
    assert name.value == "Tiny_-Q8_0"
    name.set_value("smollm2-135m").run()
    assert "There is a model called smollm2" in page.error[0].value
    assert "add-start" not in {button.key for button in page.button}
    page.text_input(f"add-name-{written}").set_value("mine").run()
    page.button("add-start").click().run()
    settled(page, "add ")
    assert not page.exception
    assert not page.error
    assert "Added as mine" in page.success[0].value
    assert (resources.get_settings().models_dir / "mine" / "config.json").is_file()
    assert any(element.value == "mine" for element in page.subheader)
    written.touch()
    page.run()
    assert settled(page, "look at").text_input(f"add-name-{written}"), "another file in its place can be added"
    assert not page.success
    shutil.rmtree(resources.get_settings().models_dir / "mine")
    assert page.run().button("add-start"), "it can be added again once it is gone"


def test_what_cannot_be_added_says_why_and_is_looked_at_again_once_it_changed(
    page: AppTest, written: Path, tmp_path: Path
) -> None:
    path = tmp_path / "new.gguf"
    page.text_input("add-path").set_value(str(path)).run()
    assert "is no file on this machine" in settled(page, "look at").error[0].value
    path.write_text("hello *you*")
    page.run()
    assert "is not a GGUF file" in settled(page, "look at").error[0].value
    shutil.copy(written, path)
    page.run()
    assert not settled(page, "look at").error
    assert page.button("add-start")


def test_an_upload_is_kept_until_it_is_added(page: AppTest, written: Path) -> None:
    page.segmented_control("add-where").set_value("Upload").run()
    content = written.read_bytes()
    page.file_uploader[0].upload("Mine (1).gguf", content).run()
    assert not settled(page, "look at").error
    file = page.file_uploader[0].value
    kept = resources.get_own_models().keep_upload(file.file_id, file.name, memoryview(content))
    assert kept.read_bytes() == content
    page.button("add-start").click().run()
    settled(page, "add ")
    assert "Added as Mine-1" in page.success[0].value
    assert not page.error
    assert not kept.parent.exists()
    shutil.rmtree(resources.get_settings().models_dir / "Mine-1")
    page.run()
    assert settled(page, "look at").button("add-start"), "it can be added again once it is gone"
    assert kept.exists()


def test_ollama_s_models_are_listed_and_one_is_chosen(page: AppTest, written: Path, tmp_path: Path) -> None:
    page.segmented_control("add-where").set_value("Ollama, LM Studio").run()
    settled(page, "models found")
    assert "No models of Ollama or LM Studio" in texts(page)
    folder = tmp_path / ".lmstudio" / "models" / "someone"
    folder.mkdir(parents=True)
    shutil.copy(written, folder / "Mine.gguf")
    (folder / "broken.gguf").write_text("no")
    page.button("add-look-again").click().run()
    settled(page, "models found")
    assert not page.exception
    listed = page.dataframe[0].value
    assert list(listed["Model"]) == ["someone/broken.gguf", "someone/Mine.gguf"]
    assert listed["Can be added"][0].startswith("No: broken.gguf is not a GGUF file")
    page.selectbox("add-found").set_value("someone/Mine.gguf").run()
    settled(page, "look at")
    assert page.text_input(f"add-name-{folder / 'Mine.gguf'}").value == "Mine"
