"""What a collector is sent of runs, and that no collector is in a run's way."""

import json
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from time import monotonic
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app.store import RunOutcome, RunSource, RunStatus, RunStore
from app.telemetry import sending
from app.telemetry import telemetry as telemetry_module
from app.telemetry.options import TelemetryOptions
from app.telemetry.telemetry import Telemetry
from engine.types import RemoteReport
from tests.support.collector import Collector, collecting, values
from tests.support.fakes import make_metrics, make_request
from tests.support.ui import texts

ANSWER = "a secret answer"
FINISHED = RunOutcome(
    RunStatus.FINISHED,
    ANSWER,
    finish_reason="stop",
    metrics=replace(
        make_metrics(e2e_s=2.0, ttft_s=0.5), prompt_tokens=12, cached_tokens=8, completion_tokens=5, tpot_s=0.375
    ),
)
FAILED = RunOutcome(RunStatus.FAILED, "", error="no room for a secret question", error_kind="OutOfMemoryError")

Open = Callable[..., Telemetry]


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """One that listens and is named by the environment."""
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
        yield collector


@pytest.fixture
def open_telemetry(store: RunStore) -> Iterator[Open]:
    """Makes telemetry as the environment says, which observes the store's runs."""
    opened: list[Telemetry] = []

    def open() -> Telemetry:
        opened.append(Telemetry(TelemetryOptions.from_env()))
        store.observers.append(opened[-1].observe)
        return opened[-1]

    yield open
    for each in opened:
        each.close()


def run(store: RunStore, outcome: RunOutcome = FINISHED) -> str:
    request = make_request("a secret question", model="smollm2-135m")
    run_id = store.create_run(request, person_id="p", environment={}, source=RunSource.API)
    store.finish_run(run_id, outcome)
    return run_id


def test_a_run_is_a_span_in_the_words_of_the_conventions(
    store: RunStore, collector: Collector, open_telemetry: Open
) -> None:
    telemetry = open_telemetry()
    run_id = run(store)
    telemetry.flush()
    (span,) = collector.spans()
    kept, found = store.get(run_id), values(span.attributes)
    assert span.name == "chat smollm2-135m"
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "gearbox",
        "gen_ai.request.model": "smollm2-135m",
        "gen_ai.response.id": run_id,
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.cache_read.input_tokens": 8,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.response.time_to_first_chunk": 0.5,
        "gearbox.source": "api",
        "gearbox.config.hash": kept.config_hash,
        "gearbox.run.status": "finished",
    }
    assert {name: found[name] for name in expected} == expected
    assert abs(span.start_time_unix_nano / 1e9 - kept.created_at.timestamp()) < 1e-3
    assert span.end_time_unix_nano >= span.start_time_unix_nano


def test_figures_are_histograms_of_the_conventions(store: RunStore, collector: Collector, open_telemetry: Open) -> None:
    telemetry = open_telemetry()
    for _ in range(3):
        run(store)
    telemetry.flush()
    found = collector.metrics()
    assert set(found) == {
        "gen_ai.client.token.usage",
        "gen_ai.server.request.duration",
        "gen_ai.server.time_to_first_token",
        "gen_ai.server.time_per_output_token",
    }
    (duration,) = found["gen_ai.server.request.duration"]
    assert (duration.count, duration.sum) == (3, 6.0)
    by_kind = {values(point.attributes)["gen_ai.token.type"]: point.sum for point in found["gen_ai.client.token.usage"]}
    assert by_kind == {"input": 36.0, "output": 15.0}


def test_what_a_server_did_not_count_is_not_told(store: RunStore, collector: Collector, open_telemetry: Open) -> None:
    telemetry = open_telemetry()
    remote = RemoteReport(server="h:1", served_name="m", prompt_counted=False)
    run(store, replace(FINISHED, environment={"remote": remote.to_dict()}))
    telemetry.flush()
    (span,) = collector.spans()
    untold = ("gen_ai.usage.input_tokens", "gearbox.speculation.drafted_tokens", "gearbox.speculation.accepted_tokens")
    assert not set(untold) & set(values(span.attributes))
    (point,) = collector.metrics()["gen_ai.client.token.usage"]
    assert values(point.attributes)["gen_ai.token.type"] == "output"


def test_a_failed_run_is_an_error(store: RunStore, collector: Collector, open_telemetry: Open) -> None:
    telemetry = open_telemetry()
    run(store, FAILED)
    telemetry.flush()
    (span,) = collector.spans()
    assert values(span.attributes)["error.type"] == "OutOfMemoryError"
    assert span.status.code == span.status.STATUS_CODE_ERROR


def test_what_was_asked_and_answered_is_told_only_where_that_is_asked_for(
    store: RunStore, collector: Collector, open_telemetry: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    telemetry = open_telemetry()
    run(store)
    run(store, FAILED)
    telemetry.flush()
    assert collector.bodies
    assert not any(b"secret" in body for _, body in collector.bodies)
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "true")
    store.observers.clear()
    telling = open_telemetry()
    run(store)
    telling.flush()
    found = values(collector.spans()[-1].attributes)
    assert json.loads(found["gen_ai.input.messages"])[-1]["parts"] == [{"type": "text", "content": "a secret question"}]
    assert json.loads(found["gen_ai.output.messages"])[0]["parts"] == [{"type": "text", "content": ANSWER}]


def test_a_collector_that_refuses_is_told_of_once_and_that_it_takes_again(
    store: RunStore, collector: Collector, open_telemetry: Open, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    telemetry, collector.status = open_telemetry(), 500
    for _ in range(3):
        run(store)
        telemetry.flush()
    warned = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert [collector.url in each for each in warned] == [True, True]  # of traces, and of metrics
    assert len(telemetry.troubles) == 2
    collector.status = 200
    run(store)
    telemetry.flush()
    assert telemetry.troubles == ()
    assert "takes traces again" in caplog.text


def test_a_collector_that_is_not_there_is_told_of(
    store: RunStore, open_telemetry: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:9/v1/traces")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
    telemetry = open_telemetry()
    run(store)
    telemetry.flush()
    assert "takes no traces" in " ".join(telemetry.troubles)


def test_the_secrets_of_a_collector_s_address_are_told_nobody(
    store: RunStore,
    collector: Collector,
    open_telemetry: Open,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(
        "OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.replace("://", "://anna:pw-4711@") + "?api-key=k-4711"
    )
    telemetry, collector.status = open_telemetry(), 500
    run(store)
    telemetry.flush()
    assert len(telemetry.troubles) == 2
    assert "127.0.0.1" in telemetry.troubles[0]
    assert "4711" not in f"{telemetry.troubles}{telemetry.options}{caplog.text}"
    shown = AppTest.from_function(_show, default_timeout=60, args=(telemetry,)).run()
    assert not shown.exception
    assert "127.0.0.1" in texts(shown, "markdown")
    assert "4711" not in texts(shown, "markdown") + texts(shown, "warning")


def _show(telemetry):  # type: ignore[no-untyped-def]  # its text alone is run, without this file's names
    from app.views.settings.telemetry import show_telemetry

    show_telemetry(telemetry)


def test_a_run_that_the_sdk_cannot_take_is_in_no_other_s_way(
    store: RunStore,
    collector: Collector,
    open_telemetry: Open,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    telemetry, send = open_telemetry(), sending.Sender.send
    failures = [RuntimeError("a secret question")]

    def fail_once(self: sending.Sender, *arguments: Any) -> None:
        if failures:
            raise failures.pop()
        send(self, *arguments)

    monkeypatch.setattr(sending.Sender, "send", fail_once)
    run(store)
    run(store)
    telemetry.flush()
    assert len(collector.spans()) == 1
    assert "RuntimeError" in caplog.text
    assert "secret" not in caplog.text


def test_the_end_waits_for_nothing_that_hangs_though_no_more_can_wait(
    store: RunStore, collector: Collector, open_telemetry: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def hold(*_: object) -> None:
        entered.set()
        go_on.wait(30)

    monkeypatch.setattr(sending.Sender, "send", hold)
    monkeypatch.setattr(telemetry_module, "_MOST_WAITING", 1)
    monkeypatch.setattr(telemetry_module, "_HAND_OVER_S", 0.05)
    telemetry = open_telemetry()
    thread = telemetry._thread
    assert thread is not None
    run(store)
    assert entered.wait(30)
    run(store)
    telemetry.flush()
    telemetry.close()
    assert thread.is_alive()
    go_on.set()
    thread.join(20)
    assert not thread.is_alive()
    assert telemetry.dropped == 1


def test_no_run_waits_for_a_collector_that_hangs_and_neither_does_the_end(
    store: RunStore, collector: Collector, open_telemetry: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "_CLOSING_S", 0.1)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "20")
    collector.hanging.clear()
    telemetry = open_telemetry()
    began = monotonic()
    for _ in range(20):
        run(store)
    telemetry.close()
    assert monotonic() - began < 10  # far less than the collector's 20 s
    assert store.page().total == 20


def test_more_runs_than_can_wait_are_dropped_and_counted(
    store: RunStore, collector: Collector, open_telemetry: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def hold(*_: object) -> None:
        entered.set()
        go_on.wait(30)

    monkeypatch.setattr(sending.Sender, "send", hold)
    monkeypatch.setattr(telemetry_module, "_MOST_WAITING", 1)
    telemetry = open_telemetry()
    run(store)
    assert entered.wait(30)
    for _ in range(3):
        run(store)
    go_on.set()
    assert telemetry.dropped == 2
