"""Where runs are sent as traces and metrics."""

from __future__ import annotations

import streamlit as st

from app.addresses import without_login
from app.literal import literal
from app.telemetry.telemetry import Telemetry
from app.units import counted


def show_telemetry(telemetry: Telemetry) -> None:
    """The collector, and what it does not take."""
    st.subheader(
        "Telemetry",
        anchor=False,
        help="OpenTelemetry over OTLP/HTTP, in its conventions for generative AI. OTEL_EXPORTER_OTLP_ENDPOINT names a "
        "collector; prompts and answers are sent only with OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=true.",
    )
    options = telemetry.options
    if options.traces:
        content = "with" if options.content else "without"
        st.write(f"Traces, {content} prompts and answers, go to {literal(without_login(options.traces))}.")
    if options.metrics:
        st.write(f"Metrics go to {literal(without_login(options.metrics))}.")
    if not (options.traces or options.metrics or options.refusal):
        st.write("Nothing is sent: no collector is named.")
    for trouble in telemetry.troubles:
        st.warning(literal(trouble), icon=":material/cloud_off:")
    if telemetry.dropped:
        st.caption(f"{counted(telemetry.dropped, 'run')} not sent: too many waited.")
