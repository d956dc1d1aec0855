"""Energy as it is counted, and as it is estimated."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from app.costs.energy import Energy, EnergyMeter, Nvml, Rapl, estimated_energy
from app.costs.errors import CostsError


def domain(root: Path, folder: str, name: str, microjoules: int, most: int = 1_000_000_000) -> Path:
    """A part of a processor, as the kernel tells of it."""
    made = root / folder
    made.mkdir(parents=True, exist_ok=True)
    for file, text in (("name", name), ("energy_uj", str(microjoules)), ("max_energy_range_uj", str(most))):
        (made / file).write_text(f"{text}\n", encoding="ascii")
    return made


def test_packages_and_memory_are_counted_and_parts_of_packages_are_not(tmp_path: Path) -> None:
    counted = [
        domain(tmp_path, "intel-rapl:0", "package-0", 5_000_000),
        domain(tmp_path, "intel-rapl:1", "package-1", 6_000_000),
        domain(tmp_path, "intel-rapl:0:1", "dram", 1_000_000),
    ]
    others = [
        domain(tmp_path, "intel-rapl:0:0", "core", 4_000_000),
        domain(tmp_path, "intel-rapl:2", "psys", 9_000_000),
        domain(tmp_path, "intel-rapl-mmio:0", "package-0", 5_000_000),
    ]
    rapl = Rapl.find(tmp_path)
    assert rapl is not None
    meter = EnergyMeter([rapl])
    for each in (*counted, *others):
        used = int((each / "energy_uj").read_text(encoding="ascii")) + 2_500_000
        (each / "energy_uj").write_text(str(used), encoding="ascii")
    found = meter.end()
    assert found.joules == pytest.approx(7.5)
    assert found.measured
    assert found.provenance == "measured, RAPL"


def test_a_count_that_begins_anew_goes_on(tmp_path: Path) -> None:
    package = domain(tmp_path, "intel-rapl:0", "package-0", 999_000_000)
    rapl = Rapl.find(tmp_path)
    assert rapl is not None
    meter = EnergyMeter([rapl])
    (package / "energy_uj").write_text("2000000", encoding="ascii")
    assert meter.end().joules == pytest.approx(3.0)


def test_counters_that_are_missing_or_may_not_be_read_are_none(tmp_path: Path) -> None:
    assert Rapl.find(tmp_path / "nowhere") is None
    assert Rapl.find(tmp_path) is None
    (domain(tmp_path, "intel-rapl:0", "package-0", 1) / "energy_uj").unlink()
    assert Rapl.find(tmp_path) is None


class FakeNvml:
    """The functions of NVML that are called."""

    def __init__(self, boards: int, *, counts: bool = True, driver: bool = True) -> None:
        self.boards, self.counts, self.driver = boards, counts, driver
        self.millijoules = 1_000_000

    def nvmlInit_v2(self) -> int:  # noqa: N802
        return 0 if self.driver else 9

    def nvmlDeviceGetCount_v2(self, count: Any) -> int:  # noqa: N802
        count._obj.value = self.boards
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, place: int, handle: Any) -> int:  # noqa: N802
        handle._obj.value = place + 1
        return 0

    def nvmlDeviceGetTotalEnergyConsumption(self, board: Any, count: Any) -> int:  # noqa: N802
        count._obj.value = board.value * self.millijoules
        return 0 if self.counts else 3


def test_boards_are_counted_by_their_driver() -> None:
    driver = FakeNvml(2)
    nvml = Nvml.find(driver)
    assert nvml is not None
    meter = EnergyMeter([nvml])
    driver.millijoules += 40_000
    found = meter.end()
    assert found.joules == pytest.approx(40 + 80)
    assert found.provenance == "measured, NVML"


@pytest.mark.parametrize("library", [FakeNvml(0), FakeNvml(1, counts=False), FakeNvml(1, driver=False)])
def test_without_a_board_that_counts_there_is_no_counter(library: FakeNvml) -> None:
    assert Nvml.find(library) is None


def test_an_estimate_says_what_it_is_from() -> None:
    found = estimated_energy(40, 90)
    assert found.joules == 3_600
    assert not found.measured
    assert found.provenance == "estimated from 40 W"


@pytest.mark.parametrize("wrong", [-1.0, math.nan])
def test_a_power_that_cannot_be_is_refused(wrong: float) -> None:
    with pytest.raises(CostsError, match="in watts"):
        estimated_energy(wrong, 1)


def test_an_energy_is_written_with_what_is_known_of_it() -> None:
    assert Energy(12.3, "RAPL", measured=True).text == "12.3 J"
    estimated = estimated_energy(40.0, 2.0)
    assert estimated.text == "80.0 J, estimated"
    assert estimated.times(1000).text == "80.0 kJ, estimated"
    assert estimated.times(1000).provenance == "estimated from 40 W"
