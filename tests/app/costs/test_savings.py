from dataclasses import replace
from typing import Any

import pytest

from app.costs.savings import Gear, savings
from app.store import KindStats, Totals, Work

PLAIN = {"plain_read_tokens": 100, "plain_written_tokens": 100}


def stats(model: str, precision: str, read_s: float | None, write_s: float | None, **work: Any) -> KindStats:
    measured = {} if read_s is None or write_s is None else {
        **PLAIN, "plain_read_s": 100 * read_s, "plain_written_s": 100 * write_s,
    }  # fmt: skip
    counts = dict.fromkeys(Totals.__dataclass_fields__, 0)
    tokens = {"runs": 2, "prompt_tokens": 100, "completion_tokens": 100, "cached_tokens": work.pop("cached", 0)}
    return KindStats(
        backend="local", model=model, precision=precision,
        totals=Totals(**{**counts, **tokens}),
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
    work = {"saved_measured_s": -0.1, "saved_derived_s": 0.5, "speculation_saved_s": 0.2}
    work |= {"machine_s": 0.2, "shared": 2}
    found = savings([stats("large", "bf16", 0.001, 0.01, cached=50, **work)])
    assert found is not None
    assert by_gear(found) == {
        Gear.CASCADE: (-0.1, 0.5),
        Gear.CACHE: (0.0, 0.05),
        Gear.SPECULATION: (0.0, 0.2),
        # 1.1 s at its pace, less 0.65 s that the others left out, are 0.45 s
        Gear.SHARING: (0.0, 0.25),
    }
    assert found.alone_s == pytest.approx(1.1)


@pytest.mark.parametrize(("machine_s", "saved_s"), [(25.0, 15.0), (50.0, -10.0)])
def test_shared_passes_saved_what_the_runs_would_have_taken_alone(machine_s: float, saved_s: float) -> None:
    """Four runs of 10 s each that took 25 s each in company."""
    alone = stats("large", "bf16", 0.0, 0.1)
    four = replace(
        stats("large", "bf16", None, None, busy_s=4 * machine_s, machine_s=machine_s, shared=4),
        totals=replace(alone.totals, runs=4, completion_tokens=400),
    )
    found = savings([replace(alone, work=replace(alone.work, busy_s=10.0, machine_s=10.0)), four])
    assert found is not None
    assert by_gear(found) == {Gear.SHARING: (0.0, saved_s)}
    assert found.alone_s == pytest.approx(50.0)


def test_alone_no_run_takes_longer_than_in_company() -> None:
    shared = stats("large", "bf16", 0.001, 0.1, busy_s=1.0, machine_s=0.4, shared=2)
    found = savings([shared])
    assert found is not None
    assert by_gear(found) == {Gear.SHARING: (0.0, 0.6)}


def test_what_nobody_measured_is_left_out_and_said() -> None:
    assert savings([stats("large", "int4", 0.001, 0.01)]) is None
    found = savings([stats("large", "bf16", 0.001, 0.01), stats("other", "int4", 0.001, 0.01)])
    assert found is not None
    assert found.left_out == {"other · bf16": 2}
    assert found.runs == 2
    nothing = savings([replace(stats("large", "bf16", 0.001, 0.01), work=Work())])
    assert nothing is None
