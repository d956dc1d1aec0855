"""The official SDK, set up: spans and histograms over OTLP/HTTP, in threads of its own that runs never wait for."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from opentelemetry.exporter.otlp.proto.http import metric_exporter, trace_exporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import Histogram
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExportResult, MetricsData, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes as gen_ai
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics as figures
from opentelemetry.trace import SpanKind, Status, StatusCode

from app.store import EndedRun, RunStatus
from app.telemetry.attributes import input_tokens, metric_attributes, operation_of, span_attributes
from app.telemetry.options import TelemetryOptions
from app.telemetry.troubles import Troubles

_SCOPE = "gearbox"
_CLOSING_S = 2.0
"""How long the end of the server waits for a collector."""
# the boundaries that the conventions advise
_TOKENS = [float(4**power) for power in range(14)]
_DURATION_S = [0.01 * 2**power for power in range(14)]
_TTFT_S = [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0]
_TPOT_S = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5]


class Sender:
    """Sends what runs did. Not to be called by a thread that anybody waits for."""

    def __init__(self, options: TelemetryOptions) -> None:
        """Read the SDK's environment variables for all that ``options`` does not say: headers, timeouts, intervals."""
        resource = Resource.create({SERVICE_NAME: "gearbox"}).merge(OTELResourceDetector().detect())
        self._content = options.content
        self._troubles: list[Troubles] = []
        self._tracers = self._meters = None
        if options.traces:
            spans = _Spans(self._watch("traces", options.traces, trace_exporter.__name__))
            self._tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
            self._tracers.add_span_processor(BatchSpanProcessor(spans))
        if options.metrics:
            reader = PeriodicExportingMetricReader(
                _Figures(self._watch("metrics", options.metrics, metric_exporter.__name__))
            )
            self._meters = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
            self._histograms = _histograms(self._meters)

    @property
    def troubles(self) -> tuple[str, ...]:
        """What collectors do not take now, for the user."""
        return tuple(each.words for each in self._troubles if each.words)

    def send(self, run: EndedRun, ended: datetime) -> None:
        """Hand over a run that ended at a moment."""
        if self._tracers:
            self._send_span(self._tracers, run, ended)
        if self._meters:
            self._count(run)

    def close(self) -> None:
        """Send what waits, as far as a collector takes it soon."""
        last = threading.Thread(target=self._shut_down, name="telemetry ends", daemon=True)
        last.start()
        last.join(_CLOSING_S)
        for each in self._troubles:
            each.close()

    def flush(self) -> None:
        """Send all now."""
        for provider in (self._tracers, self._meters):
            if provider:
                provider.force_flush()

    def _shut_down(self) -> None:
        for provider in (self._tracers, self._meters):
            if provider:
                provider.shutdown()

    def _watch(self, signal: str, endpoint: str, exporter: str) -> Troubles:
        troubles = Troubles(signal, endpoint, exporter)
        self._troubles.append(troubles)
        return troubles

    def _send_span(self, tracers: TracerProvider, run: EndedRun, ended: datetime) -> None:
        begun_ns, ended_ns = _nanoseconds(run.created_at), _nanoseconds(ended)
        span = tracers.get_tracer(_SCOPE).start_span(
            f"{operation_of(run)} {run.model}",
            kind=SpanKind.INTERNAL,  # the model runs in this process
            attributes=span_attributes(run, content=self._content),
            start_time=begun_ns,
        )
        if run.outcome.status is RunStatus.FAILED:
            # why, in words, may repeat what was asked
            span.set_status(Status(StatusCode.ERROR, run.outcome.error if self._content else None))
        span.end(max(begun_ns, ended_ns))

    def _count(self, run: EndedRun) -> None:
        attributes, metrics = metric_attributes(run), run.outcome.metrics
        if metrics is None:
            return
        usage, duration, ttft, tpot = self._histograms
        kinds = gen_ai.GenAiTokenTypeValues
        if (read := input_tokens(run)) is not None:
            usage.record(read, {**attributes, gen_ai.GEN_AI_TOKEN_TYPE: kinds.INPUT.value})
        usage.record(metrics.completion_tokens, {**attributes, gen_ai.GEN_AI_TOKEN_TYPE: kinds.OUTPUT.value})
        duration.record(metrics.e2e_s, attributes)
        if run.outcome.status is RunStatus.FINISHED:
            for histogram, value in ((ttft, metrics.ttft_s), (tpot, metrics.tpot_s)):
                if value is not None:
                    histogram.record(value, attributes)


class _Spans(OTLPSpanExporter):
    def __init__(self, troubles: Troubles) -> None:
        super().__init__()
        self._troubles = troubles

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = super().export(spans)
        self._troubles.came_through(result is SpanExportResult.SUCCESS)
        return result


class _Figures(OTLPMetricExporter):
    def __init__(self, troubles: Troubles) -> None:
        super().__init__()
        self._troubles = troubles

    def export(self, metrics_data: MetricsData, *arguments: Any, **options: Any) -> MetricExportResult:
        result = super().export(metrics_data, *arguments, **options)
        self._troubles.came_through(result is MetricExportResult.SUCCESS)
        return result


def _histograms(meters: MeterProvider) -> tuple[Histogram, ...]:
    meter = meters.get_meter(_SCOPE)
    return tuple(
        meter.create_histogram(name, unit, text, explicit_bucket_boundaries_advisory=bounds)
        for name, unit, text, bounds in (
            (figures.GEN_AI_CLIENT_TOKEN_USAGE, "{token}", "Tokens read and written.", _TOKENS),
            (figures.GEN_AI_SERVER_REQUEST_DURATION, "s", "Arrival to last token, loading left out.", _DURATION_S),
            (figures.GEN_AI_SERVER_TIME_TO_FIRST_TOKEN, "s", "Arrival to first token, loading left out.", _TTFT_S),
            (figures.GEN_AI_SERVER_TIME_PER_OUTPUT_TOKEN, "s", "Mean gap between a run's tokens.", _TPOT_S),
        )
    )


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1e6) * 1_000
