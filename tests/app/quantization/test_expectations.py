"""What the gear promises: measured where something was measured, else an estimate that says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.background.jobs import Jobs
from app.quantization.estimates import WeightEstimates
from app.quantization.expectations import expectations
from app.store import RunStore
from app.views.gears.quantization import expectations_table
from engine import Engine, estimate_weights, machine_environment
from engine.errors import UnknownModelError
from engine.types import CPU_PRECISIONS, Precision
from tests.support.fakes import make_metrics, make_request
from tests.support.tiny import make_tiny_checkpoint
from tests.support.ui import add_run

ESTIMATES = {"bf16": 256 << 20, "int4": 90 << 20, "nf4": 80 << 20}


def measure(store: RunStore, precision: str, rate: float, **environment: Any) -> None:
    store.lab.add_speed(
        model="small",
        weights_sha256="w",
        precision=precision,
        tokens_per_second=rate,
        ttft_s=0.1,
        weights_bytes=91 << 20,
        environment=machine_environment() | environment,
    )


def test_the_lab_comes_before_the_runs_and_the_runs_before_an_estimate(store: RunStore) -> None:
    measure(store, "int4", 120.0)
    add_run(store, make_request(model="small", precision=Precision.INT4), metrics=make_metrics(tpot_s=0.1))
    add_run(store, make_request(model="small"), metrics=make_metrics(tpot_s=0.02))
    int4, bf16, nf4 = expectations(store, "small", ("int4", "bf16", "nf4"), ESTIMATES, "cpu")
    assert (int4.tokens_per_second, int4.weights_bytes, int4.weights_measured) == (120.0, 91 << 20, True)
    assert (bf16.tokens_per_second, bf16.weights_bytes, bf16.weights_measured) == (50.0, 150_000_000, True)
    assert (nf4.tokens_per_second, nf4.weights_bytes, nf4.weights_measured) == (None, 80 << 20, False)


def test_another_machines_speed_is_not_expected_here(store: RunStore) -> None:
    measure(store, "int4", 900.0, cpu="another processor")
    (int4,) = expectations(store, "small", ("int4",), ESTIMATES, "cpu")
    assert (int4.tokens_per_second, int4.weights_measured) == (None, False)


def test_the_table_says_what_was_measured_and_marks_the_choice(store: RunStore) -> None:
    measure(store, "int4", 120.0)
    table = expectations_table(expectations(store, "small", ("int4", "nf4", "other"), ESTIMATES, "cpu"), "int4")
    assert "| **int4** | 91.0 MiB, measured | 120 tok/s, measured |" in table
    assert "| nf4 | 80.0 MiB, estimated | not measured yet |" in table
    assert "| other | – | not measured yet |" in table


def test_an_estimate_is_within_a_tenth_of_what_loading_takes(engine: Engine, models_dir: Path) -> None:
    estimates = estimate_weights("smollm2-135m", models_dir)
    request = make_request(precision=Precision.INT4)
    for _ in engine.generate(request):
        pass
    resident = engine.status().resident[-1]  # the one used last
    assert (resident.model, resident.precision) == (request.config.model, Precision.INT4)
    measured = resident.weights_bytes
    assert estimates[Precision.INT4].bytes == pytest.approx(measured, rel=0.1)
    assert estimates.keys() == set(CPU_PRECISIONS)


def test_a_model_that_is_not_here_has_no_estimate(tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError, match="not on this machine"):
        estimate_weights("org/name", tmp_path)


def test_estimates_are_made_in_the_background_once(tmp_path: Path) -> None:
    make_tiny_checkpoint(tmp_path / "tiny", "llama")
    jobs = Jobs()
    estimates = WeightEstimates(tmp_path, jobs)
    assert estimates.of("tiny") is None
    assert estimates.of("missing") is None
    jobs.close(timeout_s=60)
    assert set(estimates.of("tiny") or {}) == {str(precision) for precision in CPU_PRECISIONS}
    assert estimates.of("missing") == {}
