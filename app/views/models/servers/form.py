"""The fields of a server: its name, the model, what it costs."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from app.remote.names import MOST_CHARACTERS
from app.remote.prices import ListPrice
from engine.backends.remote import MOST_SERVED
from engine.errors import InvalidRequestError

ADDRESSES = (
    "Of the server or of its API. vLLM: http://host:8000 · SGLang: http://host:30000 · llama-server: http://host:8080 "
    "· Ollama: http://localhost:11434 · LM Studio: http://localhost:1234 · a hosted one: https://…/v1."
)
_PER_MILLION = "Of a million tokens, in the server's price list. Left empty, nothing is said of its cost."


@dataclass(frozen=True, slots=True)
class Filled:
    """What stands in the fields."""

    name: str
    served_name: str
    metrics_url: str
    input: float | None
    cached: float | None
    output: float | None

    def price(self) -> ListPrice | None:
        """The price list; ``None`` for none.

        Raises:
            InvalidRequestError: a part of it is missing, or no number of 0 or more.
        """
        if self.input is None and self.output is None and self.cached is None:
            return None
        if self.input is None or self.output is None:
            raise InvalidRequestError("A price list needs the price of the tokens read and of those written.")
        return ListPrice(self.input, self.output, self.cached)


def fields(
    key: str,
    currency: str,
    *,
    models: tuple[str, ...],
    name: str = "",
    model: str | None = None,
    metrics_url: str | None = None,
    price: ListPrice | None = None,
) -> Filled:
    """Draw them.

    Args:
        key: begins the widgets' keys.
        currency: of the prices.
        models: that the server says it has; others can be typed.
        name, model, metrics_url, price: what stands there first.
    """
    options = list(dict.fromkeys([*models, *([model] if model else [])]))
    served = st.selectbox(
        "Model",
        options,
        index=options.index(model) if model else 0 if len(options) == 1 else None,
        key=f"{key}-model",
        accept_new_options=True,
        placeholder="Choose one, or type what the server calls it",
        help=f"As the server calls it, in at most {MOST_SERVED} characters.",
    )
    called = st.text_input(
        "Name here",
        value=name,
        key=f"{key}-name",
        max_chars=MOST_CHARACTERS + 1,
        placeholder="office-gpu",
        help="It is chosen as @office-gpu wherever a model is.",
    )
    counters = st.text_input(
        "Counters at",
        value=metrics_url or "",
        key=f"{key}-metrics",
        placeholder="http://127.0.0.1:8000/metrics",
        help="Of vLLM, SGLang and llama-server (started with --metrics): read before and after each run, they tell "
        "reused and accepted tokens. Left empty, none are read.",
    )
    read_at, cached_at, written_at = st.columns(3)
    amounts = [
        place.number_input(
            label,
            min_value=0.0,
            value=first,
            step=0.01,
            format="%.4g",
            key=f"{key}-{field}",
            placeholder="Not known",
            help=_PER_MILLION,
        )
        for place, field, label, first in (
            (read_at, "input", f"Read, {currency}/1 M", price.input_per_million if price else None),
            (cached_at, "cached", f"Reused, {currency}/1 M", price.cached_per_million if price else None),
            (written_at, "output", f"Written, {currency}/1 M", price.output_per_million if price else None),
        )
    ]
    return Filled(called or "", (served or "").strip(), counters or "", *amounts)
