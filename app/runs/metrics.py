"""The runs counted for Prometheus: all that end in this process, whoever asked for them.

Where vLLM exports the same figure, it has vLLM's name, labels and buckets (with smaller ones before them where a small
model needs those), so that dashboards made for it show Gearbox too; what it has no name for begins with ``gearbox_``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Protocol

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from app.store import EndedRun, RunStatus
from engine.types import CascadeReport, RunMetrics

disable_created_metrics()  # type: ignore[no-untyped-call]


CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
LABELS = ("model_name", "precision", "source")
OTHER = "other"
"""Stands for models that are folders or hub ids, and for those that never answered: there may be any number."""

_TTFT_S = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0,
    640.0, 2560.0,
)  # fmt: skip
_TOKEN_S = (
    0.001, 0.0025, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5,
    10.0, 20.0, 40.0, 80.0,
)  # fmt: skip
_RUN_S = (
    0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0,
    480.0, 960.0, 1920.0, 7680.0,
)  # fmt: skip
_TOKENS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000)
_BATCH = (1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32)


class Load(Protocol):
    """How busy the engine is."""

    @property
    def running(self) -> int: ...

    @property
    def queued(self) -> int: ...

    @property
    def kv_share(self) -> float: ...

    @property
    def preemptions(self) -> int: ...


class Metrics:
    """Counters and histograms of runs, gauges of the engine. Safe to use from any thread."""

    def __init__(self, load: Callable[[], Load]) -> None:
        """
        Args:
            load: how busy the engine is now.
        """
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self._measured: set[str] = set()

        def gauge(name: str, text: str, value: Callable[[], float]) -> None:
            Gauge(name, text, registry=registry).set_function(value)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, (*LABELS, *labels), registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(name, text, LABELS, registry=registry, buckets=buckets)

        gauge("vllm:num_requests_running", "Requests that the engine works on.", lambda: float(load().running))
        gauge("vllm:num_requests_waiting", "Requests that wait for the engine.", lambda: float(load().queued))
        gauge("vllm:kv_cache_usage_perc", "KV of running requests, share of its room, 0 to 1.", lambda: load().kv_share)
        registry.register(_Preemptions(load))
        self._prompt = counter("vllm:prompt_tokens", "Prompt tokens, reused ones included.")
        self._generation = counter("vllm:generation_tokens", "Tokens written.")
        self._queries = counter("vllm:prefix_cache_queries", "Prompt tokens looked for in the prefix cache.")
        self._hits = counter("vllm:prefix_cache_hits", "Prompt tokens whose KV was reused.")
        self._drafts = counter("vllm:spec_decode_num_drafts", "Forward passes that looked at drafted tokens.")
        self._drafted = counter("vllm:spec_decode_num_draft_tokens", "Tokens drafted and looked at.")
        self._accepted = counter("vllm:spec_decode_num_accepted_tokens", "Drafted tokens that stand in the answer.")
        self._success = counter("vllm:request_success", "Runs that ended by themselves.", "finished_reason")
        self._ttft = histogram("vllm:time_to_first_token_seconds", "Arrival to first token, loading left out.", _TTFT_S)
        self._itl = histogram("vllm:inter_token_latency_seconds", "Each gap between tokens.", _TOKEN_S)
        registry.register(_Renamed(self._itl, "vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds"))
        self._tpot = histogram(
            "vllm:request_time_per_output_token_seconds", "Mean gap between a run's tokens.", _TOKEN_S
        )
        self._e2e = histogram("vllm:e2e_request_latency_seconds", "Arrival to last token, loading left out.", _RUN_S)
        self._queue = histogram("vllm:request_queue_time_seconds", "Waiting for the engine.", _RUN_S)
        self._prefill = histogram("vllm:request_prefill_time_seconds", "Reading the prompt.", _RUN_S)
        self._prompts = histogram("vllm:request_prompt_tokens", "Prompt tokens of a run.", _TOKENS)
        self._generations = histogram("vllm:request_generation_tokens", "Tokens written by a run.", _TOKENS)
        self._runs = counter("gearbox_runs", "Runs that ended.", "status")
        self._disturbed = counter("gearbox_disturbed_runs", "Runs that something else on the machine held up.")
        self._tiers = counter("gearbox_cascade_answers", "Answers of cascades, by who gave them.", "tier")
        self._escalations = counter("gearbox_cascade_escalations", "Answers that went on to a larger tier.")
        self._passed_over = counter("gearbox_cascade_passed_over", "Tiers passed over because they had not paid.")
        self._discarded = counter("gearbox_cascade_discarded_tokens", "Tokens written by smaller tiers, thrown away.")
        self._batch = histogram("gearbox_batch_size", "Sequences that shared a run's passes, mean of each run.", _BATCH)

    def observe(self, run: EndedRun) -> None:
        """Count a run that has ended."""
        labels = (self._model(run), run.precision, str(run.source or "unknown"))
        outcome, metrics = run.outcome, run.outcome.metrics
        self._runs.labels(*labels, str(outcome.status)).inc()
        if outcome.disturbance and outcome.disturbance.is_disturbed:
            self._disturbed.labels(*labels).inc()
        if metrics is None:
            return
        self._prompt.labels(*labels).inc(metrics.prompt_tokens)
        self._generation.labels(*labels).inc(metrics.completion_tokens)
        if outcome.cache:
            self._queries.labels(*labels).inc(metrics.prompt_tokens)
            self._hits.labels(*labels).inc(metrics.cached_tokens)
        self._drafts.labels(*labels).inc(metrics.verification_steps)
        self._drafted.labels(*labels).inc(metrics.drafted_tokens)
        self._accepted.labels(*labels).inc(metrics.accepted_tokens)
        if outcome.cascade:
            self._observe_cascade(labels, outcome.cascade, metrics)
        if outcome.status is RunStatus.FINISHED:
            self._success.labels(*labels, str(outcome.finish_reason)).inc()
            self._observe_times(labels, metrics)
            if run.timeline:
                gaps = self._itl.labels(*labels)
                for before, after in pairwise(run.timeline.t_s):
                    gaps.observe(max(0.0, after - before))

    def exposition(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return generate_latest(self._registry)

    def _observe_times(self, labels: tuple[str, ...], metrics: RunMetrics) -> None:
        for histogram, value in (
            (self._ttft, metrics.ttft_s),
            (self._tpot, metrics.tpot_s),
            (self._e2e, metrics.e2e_s),
            (self._queue, metrics.queue_s),
            (self._prefill, metrics.prefill_s),
            (self._prompts, metrics.prompt_tokens),
            (self._generations, metrics.completion_tokens),
            (self._batch, metrics.mean_batch_size),
        ):
            if value is not None:
                histogram.labels(*labels).observe(value)

    def _observe_cascade(self, labels: tuple[str, ...], report: CascadeReport, metrics: RunMetrics) -> None:
        *before, _ = report.attempts
        self._tiers.labels(*labels, OTHER if "/" in report.tier else report.tier).inc()
        self._passed_over.labels(*labels).inc(sum(attempt.passed_over for attempt in before))
        self._escalations.labels(*labels).inc(sum(not attempt.passed_over for attempt in before))
        self._discarded.labels(*labels).inc(metrics.discarded_tokens)

    def _model(self, run: EndedRun) -> str:
        if run.outcome.metrics and "/" not in run.model:
            self._measured.add(run.model)
        return run.model if run.model in self._measured else OTHER


class _Preemptions(Collector):
    """A count that the engine keeps itself."""

    def __init__(self, load: Callable[[], Load]) -> None:
        self._load = load

    def collect(self) -> Iterator[Metric]:
        text = "Running requests that gave their KV back and read it again."
        yield CounterMetricFamily("vllm:num_preemptions", text, value=self._load().preemptions)


class _Renamed(Collector):
    """A histogram once more under the name that it had before."""

    def __init__(self, collector: Collector, name: str, renamed: str) -> None:
        self._collector, self._name, self._renamed = collector, name, renamed

    def collect(self) -> Iterator[Metric]:
        for metric in self._collector.collect():
            renamed = Metric(self._renamed, metric.documentation, metric.type)
            renamed.samples = [
                sample._replace(name=sample.name.replace(self._name, self._renamed, 1)) for sample in metric.samples
            ]
            yield renamed
