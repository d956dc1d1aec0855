"""Whether and what is sent, from OpenTelemetry's own environment variables, which the SDK reads too."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_CONTENT_ON = ("true", "1", "span_only", "span_and_event")
_PROTOCOLS = ("", "http/protobuf")


@dataclass(frozen=True, slots=True)
class TelemetryOptions:
    """What is sent where."""

    traces: str | None = field(default=None, repr=False)
    """The collector that gets traces; ``None`` if none does. A secret may be in it."""
    metrics: str | None = field(default=None, repr=False)
    """The one that gets metrics."""
    content: bool = False
    """Whether prompts and answers stand in traces."""
    refusal: str | None = None
    """Why nothing is sent though a collector is named, for the user."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read ``OTEL_EXPORTER_OTLP_ENDPOINT`` and its forms for traces and metrics alone, ``OTEL_TRACES_EXPORTER`` and
        ``OTEL_METRICS_EXPORTER`` (``none`` turns them off), ``OTEL_EXPORTER_OTLP_PROTOCOL``, ``OTEL_SDK_DISABLED`` and
        ``OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT``."""

        def value(name: str) -> str:
            return environ.get(name, "").strip()

        def endpoint(signal: str) -> str | None:
            if value(f"OTEL_{signal}_EXPORTER").lower() == "none":
                return None
            return value(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT") or value(_ENDPOINT) or None

        traces, metrics = endpoint("TRACES"), endpoint("METRICS")
        if value("OTEL_SDK_DISABLED").lower() == "true" or not (traces or metrics):
            return cls()
        if (protocol := value("OTEL_EXPORTER_OTLP_PROTOCOL").lower()) not in _PROTOCOLS:
            return cls(refusal=f"Nothing is sent over {protocol}: OTEL_EXPORTER_OTLP_PROTOCOL must be http/protobuf.")
        return cls(traces, metrics, value(_CONTENT).lower() in _CONTENT_ON)
