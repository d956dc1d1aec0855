from dataclasses import replace
from typing import Any

import pytest

from app.costs.savings import Gear, savings
from app.store import Configuration, ConfigurationStats, Latency, Totals, Work
from engine.types import OptimizationConfig

PLAIN = {"plain_read_tokens": 100, "plain_written_tokens": 100}


def stats(model: str, precision: str, read_s: float | None, write_s: float | None, **work: Any) -> ConfigurationStats:
    measured = {} if read_s is None or write_s is None else {
        **PLAIN, "plain_read_s": 100 * read_s, "plain_written_s": 100 * write_s,
    }  # fmt: skip
    counts = dict.fromkeys(Totals.__dataclass_fields__, 0)
    tokens = {"runs": 2, "prompt_tokens": 100, "completion_tokens": 100, "cached_tokens": work.pop("cached", 0)}
    return ConfigurationStats(
        configuration=Configuration(
            config_hash=f"{model}{precision}", model=model, backend="local", precision=precision,
            gears=OptimizationConfig(),
        ),
        totals=Totals(**{**counts, **tokens}),
        latency=Latency(),
        work=Work(**{"busy_s": 1.1, "machine_s": 1.1, **measured, **work}),
    )  # fmt: skip


def by_gear(found: Any) -> dict[Gear, tuple[float, float]]:
    return {each.gear: (round(each.measured_s, 6), round(each.derived_s, 6)) for each in found.gears}


def test_the_large_model_in_16_bits_saves_nothing() -> None:
    found = savings([stats("large", "bf16", 0.001, 0.01)])
    assert found is not None
    assert (found.large, found.gears, found.alone_s) == ("large", (), 1.1)


def test_fewer_bits_and_a_smaller_model_are_derived_from_what_runs_measured() -> None:
    found = savings([stats("large", "bf16", 0.004, 0.04), stats("large", "int4", 0.001, 0.01, busy_s=1.1)])
    assert found is not None
    assert by_gear(found) == {Gear.PRECISION: (0.0, 3.3)}
    small = savings([stats("large", "bf16", 0.004, 0.04), stats("small", "bf16", 0.001, 0.01)])
    assert small is not None
    assert by_gear(small) == {Gear.MODEL: (0.0, 3.3)}


def test_each_gear_has_what_is_measured_and_what_is_derived() -> None:
    work = {"saved_measured_s": -0.1, "saved_derived_s": 0.5, "speculation_saved_s": 0.2, "machine_s": 0.55}
    found = savings([stats("large", "bf16", 0.001, 0.01, cached=50, **work)])
    assert found is not None
    assert by_gear(found) == {
        Gear.CASCADE: (-0.1, 0.5),
        Gear.CACHE: (0.0, 0.05),
        Gear.SPECULATION: (0.0, 0.2),
        Gear.SHARING: (0.55, 0.0),
    }
    assert found.saved_s == pytest.approx(found.alone_s - 0.55)


def test_what_nobody_measured_is_left_out_and_said() -> None:
    assert savings([stats("large", "int4", 0.001, 0.01)]) is None
    found = savings([stats("large", "bf16", 0.001, 0.01), stats("other", "int4", 0.001, 0.01)])
    assert found is not None
    assert found.left_out == {"other · bf16": 2}
    assert found.runs == 2
    nothing = savings([replace(stats("large", "bf16", 0.001, 0.01), work=Work())])
    assert nothing is None
