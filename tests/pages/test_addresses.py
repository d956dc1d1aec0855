"""What an address names is what its page opens on; what it names that is not there is passed over."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from streamlit.testing.v1 import AppTest

import engine as engine_package
from app import resources
from app.router.lab import RouterLab
from app.speculation import drafter_choices
from app.store import RunStore
from engine.cascade import write_prompts
from engine.types import Precision, RunConfig
from tests.support.cascade import recorded
from tests.support.drafting import SpeculatingEngine
from tests.support.fakes import FakeEngine, FakeLabEngine
from tests.support.ui import open_app

MODELS = ("smollm2-135m", "qwen2.5-coder-0.5b")


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two models."""
    models = [
        SimpleNamespace(
            name=name,
            title=name,
            in_catalog=True,
            installed=True,
            problem=None,
            provenance="dequantized",
            quantized_before=True,
        )
        for name in MODELS
    ]
    for module in (engine_package, drafter_choices):
        monkeypatch.setattr(module, "list_models", lambda _: models)


def leave_and_come_back(app: AppTest, page: str) -> None:
    app.switch_page("pages/runs.py").run()
    app.query_params.clear()  # as the menu's links have none
    app.switch_page(page).run()
    assert not app.exception


def test_the_quantization_lab_opens_on_its_model_and_section(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    page, query = "pages/quantization.py", {"lab-model": MODELS[1], "measure": "On tasks"}
    app = open_app(monkeypatch, store, page, query, engine=FakeLabEngine())
    for _ in range(2):
        assert app.selectbox(key="lab-model").value == MODELS[1]
        assert app.segmented_control(key="measure").value == "On tasks"
        leave_and_come_back(app, page)
    app.selectbox(key="lab-model").select(MODELS[0]).run()
    leave_and_come_back(app, page)
    assert app.selectbox(key="lab-model").value == MODELS[0]


def test_the_speculation_lab_opens_on_its_model_precision_and_section(
    monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    page = "pages/speculation.py"
    query = {"speculation-model": MODELS[1], "speculation-precision": "int8", "speculation": "By category"}
    app = open_app(monkeypatch, store, page, query, engine=SpeculatingEngine())
    for _ in range(2):
        assert app.selectbox(key="speculation-model").value == MODELS[1]
        assert app.segmented_control(key="speculation-precision").value is Precision.INT8
        assert app.segmented_control(key="speculation").value == "By category"
        leave_and_come_back(app, page)


def test_the_router_lab_opens_on_its_data_tiers_and_section(
    monkeypatch: pytest.MonkeyPatch, store: RunStore, tmp_path: Path
) -> None:
    for name in ("first", "second"):
        write_prompts(tmp_path / f"{name}.jsonl", recorded(20))
        (tmp_path / f"{name}.json").write_text(f'{{"title": "{name}", "weights_sha256": {{}}}}')
    lab = RouterLab(store, tmp_path)
    monkeypatch.setattr(resources, "get_router_lab", lambda: lab)
    page = "pages/router.py"
    app = open_app(monkeypatch, store, page, engine=FakeLabEngine())
    query = {"router-choice": app.selectbox(key="router-choice").options[-1], "router-section": "Curve"}
    query |= {"data": "built-in:second", "step": "choose"}
    app = open_app(monkeypatch, store, page, query, engine=FakeLabEngine())
    for _ in range(2):
        chosen = {box.key: box.value for box in app.selectbox}
        assert chosen["router-data-set"] == query["data"]
        assert chosen["router-choice"] == query["router-choice"]
        assert app.segmented_control(key="router-section").value == "Curve"
        leave_and_come_back(app, page)


def test_the_cache_lab_opens_on_its_section(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    app = open_app(monkeypatch, store, "pages/cache.py", {"cache-section": "Simulator"})
    for _ in range(2):
        assert app.segmented_control(key="cache-section").value == "Simulator"
        leave_and_come_back(app, "pages/cache.py")


@pytest.mark.parametrize(
    ("page", "query"),
    [
        ("pages/quantization.py", {"lab-model": "../gone", "measure": "On the moon"}),
        ("pages/speculation.py", {"speculation-model": "gone", "speculation-precision": "int2", "speculation": "§"}),
        ("pages/router.py", {"data": "gone", "step": "gone", "router-weak": "gone", "router-section": "gone"}),
        ("pages/cache.py", {"cache-section": "gone"}),
        ("pages/chat.py", {"chat": "gone"}),
    ],
)
def test_what_is_not_there_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, store: RunStore, page: str, query: dict[str, str]
) -> None:
    app = open_app(monkeypatch, store, page, query, engine=SpeculatingEngine())
    assert not app.exception
    assert not app.error
    assert not set(query.values()) & set(app.query_params.values())


# --- conversations ---------------------------------------------------------------------------------


def titles(app: AppTest) -> str:
    return str(app.title[0].value)


@pytest.fixture
def chats(store: RunStore) -> tuple[str, str]:
    """Two conversations' ids."""
    config = RunConfig(model=MODELS[0]).to_dict()
    return store.chat.create("One", config), store.chat.create("Two", config)


def test_a_conversation_opens_by_its_address_in_any_tab(
    monkeypatch: pytest.MonkeyPatch, store: RunStore, chats: tuple[str, str]
) -> None:
    for chat_id, title in zip(chats, ("One", "Two"), strict=True):
        app = open_app(monkeypatch, store, "pages/chat.py", {"chat": chat_id})
        assert titles(app) == title
        assert f"chat={chat_id}" in app.code[0].value


def test_the_address_follows_what_is_opened_and_what_is_opened_follows_the_address(
    monkeypatch: pytest.MonkeyPatch, store: RunStore, chats: tuple[str, str]
) -> None:
    one, two = chats
    app = open_app(monkeypatch, store, "pages/chat.py")
    app.button(key=f"chat-open-{one}").click().run()
    assert (titles(app), app.query_params["chat"]) == ("One", one)
    app.button(key=f"chat-open-{two}").click().run()
    assert (titles(app), app.query_params["chat"]) == ("Two", two)
    app.query_params["chat"] = one  # Back
    app.run()
    assert titles(app) == "One"
    del app.query_params["chat"]  # and back to where nothing was open
    app.run()
    assert titles(app) == "Chat"
    app.button(key=f"chat-open-{two}").click().run()
    app.button(key="chat-new").click().run()
    assert (titles(app), dict(app.query_params)) == ("Chat", {})


def test_the_menu_leads_back_to_the_conversation_that_was_open(
    monkeypatch: pytest.MonkeyPatch, store: RunStore, chats: tuple[str, str]
) -> None:
    app = open_app(monkeypatch, store, "pages/chat.py", {"chat": chats[0]})
    leave_and_come_back(app, "pages/chat.py")
    assert (titles(app), app.query_params["chat"]) == ("One", chats[0])


def test_what_is_said_first_gives_the_conversation_its_address(
    monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    app = open_app(monkeypatch, store, "pages/chat.py", engine=FakeEngine(["So"]))
    app.chat_input(key="chat-input").set_value("Hello").run()
    assert not app.exception
    (there,) = store.chat.conversations()
    assert app.query_params["chat"] == there.id
