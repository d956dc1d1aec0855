"""The Chat page as its tests open and use it."""

from __future__ import annotations

import json
from collections.abc import Callable

from streamlit.testing.v1 import AppTest

from app.session import chat as chat_session
from app.store import Conversation, RunStore
from engine.types import CacheReport, MissCause
from tests.support.ui import texts

Open = Callable[..., AppTest]
COLD = CacheReport(
    cause=MissCause.COLD, nearest_tokens=0, parted_at=None, kept_text="", came_text="", detail="", lost_tokens=0
)
TITLES = {"smollm2-135m": "SmolLM2 135M", "qwen2.5-coder-0.5b": "Qwen2.5 Coder 0.5B"}


def ask(page: AppTest, text: str) -> AppTest:
    """Say something."""
    page.chat_input(key=chat_session.INPUT).set_value(text).run()
    assert not page.exception
    return page


def click(page: AppTest, key: str) -> AppTest:
    """Press a button."""
    page.button(key=key).click().run()
    assert not page.exception
    return page


def shown(page: AppTest) -> list[str]:
    """The texts of the conversation, in their order."""
    return [text.value for text in page.text]


def words(page: AppTest) -> str:
    """All that the page says about it."""
    titles = [alert.proto.title for alert in [*page.warning, *page.info, *page.error]]
    return "\n".join([*titles, texts(page, "info", "warning", "error", "caption", "title")])


def only(store: RunStore) -> Conversation:
    """The one conversation that there is."""
    (summary,) = store.chat.conversations()
    return store.chat.get(summary.id)


def charted(page: AppTest) -> dict[str, list[float | None]]:
    """The lines of the TTFT chart."""
    (chart,) = page.get("plotly_chart")
    figure = json.loads(chart.proto.spec)
    assert figure["layout"]["title"]["text"] == "TTFT by turn, measured"
    return {line["name"]: line["y"] for line in figure["data"]}
