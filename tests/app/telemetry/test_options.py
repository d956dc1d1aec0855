"""What the environment says of telemetry."""

import pytest

from app.telemetry.options import TelemetryOptions
from app.telemetry.telemetry import Telemetry


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, TelemetryOptions()),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, TelemetryOptions("http://c:4318", "http://c:4318")),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c/t"}, TelemetryOptions("http://c/t")),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_METRICS_EXPORTER": "none"},
            TelemetryOptions("http://c"),
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "true"}, TelemetryOptions()),
    ],
)
def test_the_environment_says_what_is_sent(environ: dict[str, str], expected: TelemetryOptions) -> None:
    assert TelemetryOptions.from_env(environ) == expected


def test_a_protocol_that_is_not_spoken_is_refused_in_words() -> None:
    options = TelemetryOptions.from_env(
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    )
    assert Telemetry(options).troubles == (options.refusal,)
    assert "http/protobuf" in str(options.refusal)
