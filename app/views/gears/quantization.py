"""The precision of the weights, what each takes and gives: the widgets of the quantization gear."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import streamlit as st

from app import resources, units
from app.quantization.degradation import Alarms
from app.quantization.expectations import Expectation, expectations
from app.session.configuration import Form
from app.views.gears.precisions import choose_precision, offered_precisions, precision_help, quantized_precisions
from app.views.reports.alarm import show_alarm
from engine.errors import GearboxError
from engine.types import Backend, Precision

_REFRESH_EVERY = "1s"


def choose_quantization(form: Form, *, disabled: bool) -> None:
    """The precision, and what is known of it."""
    choose_precision(form, quantized_precisions(), disabled=disabled)
    if form.model:
        _show_expectations(form.model, form.value("backend"), form.precision, follow=not disabled)


def show_no_quantization(form: Form) -> None:
    """That the weights stay in 16 bits."""
    st.segmented_control(
        "Precision",
        offered_precisions(),
        key=form.key("no-precision"),
        default=Precision.BF16,
        format_func=str,
        disabled=True,
        help=precision_help(),
    )


def _show_expectations(model: str, backend: Backend, chosen: Precision, *, follow: bool) -> None:
    """What each precision takes and gives, and the alarm of the one chosen.

    Drawn again by itself until the estimates are there. A run database that cannot be read is told of elsewhere.
    """
    with suppress(GearboxError):
        store, estimates = resources.get_store(), resources.get_estimates()
        show_alarm(Alarms.read(store.lab).of_model(model, backend, chosen))

        def draw() -> None:
            with suppress(GearboxError):
                device = resources.get_engine().status().device
                offered = tuple(map(str, offered_precisions()))
                estimated = estimates.of(model)
                known = expectations(store, model, offered, estimated or {}, device)
                # the table stands from the start, so that nothing below it moves under a pointer
                if estimated is None or any(item.weights_bytes for item in known):
                    st.caption(expectations_table(known, chosen))

        st.fragment(draw, run_every=_REFRESH_EVERY if estimates.of(model) is None and follow else None)()


def expectations_table(known: Sequence[Expectation], chosen: str) -> str:
    """The precisions with their memory and speed as a table in Markdown, the one chosen in bold."""
    lines = ["| | Weights | Decode |", "|---|---|---|"]
    for item in known:
        name = f"**{item.precision}**" if item.precision == chosen else item.precision
        weights = units.memory(item.weights_bytes)
        if item.weights_bytes:
            weights += ", measured" if item.weights_measured else ", estimated"
        rate = f"{units.rate(item.tokens_per_second)}, measured" if item.tokens_per_second else "not measured yet"
        lines.append(f"| {name} | {weights} | {rate} |")
    return "\n".join(lines)
