"""What a model would take and how quick it would be here, by precision, as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

import streamlit as st

from app import resources, units
from app.literal import literal
from app.models.expected import Expected, Machine, expected
from engine import WeightsEstimate
from engine.errors import GearboxError
from engine.types import Precision

_REFRESH_EVERY = "0.5s"


def show_expected(weights: Mapping[str, WeightsEstimate]) -> None:
    """The table; drawn again by itself until all of it is known. Nothing where nothing is known of the weights."""
    if not weights:
        return
    on_gpu = any(Precision(precision).info.needs_cuda for precision in weights)

    def draw() -> None:
        with suppress(GearboxError):  # a run database that cannot be read is told of elsewhere
            machine = _now(on_gpu)
            st.markdown(expected_table(expected(weights, machine)), width="content")
            st.caption(_how(machine))

    settled = True
    with suppress(GearboxError):
        settled = _now(on_gpu).is_settled
    st.fragment(draw, run_every=None if settled else _REFRESH_EVERY)()


def _now(on_gpu: bool) -> Machine:
    status = resources.get_engine().status()
    return resources.get_machine_facts().now(resources.get_store(), status, on_gpu=on_gpu)


def expected_table(rows: Sequence[Expected]) -> str:
    """The precisions as a table in Markdown."""
    lines = ["| On this machine | Memory, about | Fits now | Decode, estimated |", "|---|---|---|---|"]
    for row in rows:
        fits = units.MISSING if row.fits is None else "yes" if row.fits else "**no**"
        sign = "≈" if row.like else "≤"
        rate = f"{sign} {units.rate(row.tokens_per_second)}" if row.tokens_per_second else units.MISSING
        like = f", as {literal(row.like)}" if row.like else ""
        lines.append(f"| {row.precision} | {units.memory(row.weights_bytes)} | {fits} | {rate}{like} |")
    return "\n".join(lines)


def _how(machine: Machine) -> str:
    """What the table's figures are made of."""
    parts = ["Weights alone; the KV of what is read and written comes on top."]
    if machine.room_bytes is not None:
        parts.append(f"{units.memory(machine.room_bytes)} can be had now.")
    if machine.bandwidth:
        parts.append(
            f"≤ is what reading memory at {machine.bandwidth / 1e9:.0f} GB/s, measured here, allows; ≈ goes by the "
            "pace of a model of like size that has run here."
        )
    return " ".join(parts)
