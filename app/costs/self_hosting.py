"""Where one's own machines are cheaper than an API: costs by the month over the traffic, and where the two cross.

An API costs the same for every request. Machines come whole: their cost is a step for each, upkeep that is there
without any traffic, and a little power for every request. So the two may cross several times: a machine more can make
the API the cheaper one again, until it is busy enough.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from app.costs.energy import Energy
from app.costs.errors import check_amount, check_positive

DAYS_A_MONTH = 365 / 12
_HOURS_A_DAY = 24
_SECONDS_PER_HOUR = 3600
_MOST_STEPS = 500
"""Steps among which crossings are told one by one."""
_SURELY = 1 - 1e-12
"""A machine that is full to the rounding of a float needs no second one."""
_ROUNDING = Fraction(1, 10**9)
"""What a full machine must save of its cost at least: less is the rounding of prices like 0.1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnMachines:
    """What machines of one's own cost and take. Money is in one currency."""

    requests_per_day: float
    """That one machine takes (`app.costs.capacity.requests_per_day`)."""
    machine_s: float
    """That one request keeps a machine busy."""
    per_hour: float
    """Of one machine, busy or idle."""
    hours_a_day: float = _HOURS_A_DAY
    """That a machine is paid for."""
    idle_watts: float = 0.0
    busy_watts: float = 0.0
    per_kwh: float = 0.0
    upkeep_hours: float = 0.0
    """Of people, a month."""
    wage: float = 0.0
    """Of an hour of theirs."""
    upgrades: float = 0.0
    """Hardware and software, a month."""

    def __post_init__(self) -> None:
        """
        Raises:
            CostsError: a figure is out of range; the message names it.
        """
        check_positive("What one machine takes, in requests a day,", self.requests_per_day)
        check_positive("The machine's time for a request, in seconds,", self.machine_s)
        check_amount("The machine's price per hour", self.per_hour)
        check_amount("The hours a day that a machine is paid for", self.hours_a_day, most=_HOURS_A_DAY)
        check_amount("A machine's power while idle, in watts,", self.idle_watts)
        check_amount("A machine's power while busy, in watts,", self.busy_watts, least=self.idle_watts)
        check_amount("The price of a kilowatt-hour", self.per_kwh)
        check_amount("The hours of upkeep a month", self.upkeep_hours)
        check_amount("The wage of an hour of upkeep", self.wage)
        check_amount("Upgrades a month", self.upgrades)

    @property
    def fixed(self) -> float:
        """A month's cost that is there whatever the traffic: upkeep and upgrades."""
        return self.upkeep_hours * self.wage + self.upgrades

    @property
    def each_machine(self) -> float:
        """A month's cost of one machine that answers nobody: its hours and its idle power."""
        hours = self.hours_a_day * DAYS_A_MONTH
        return hours * (self.per_hour + self.idle_watts / 1000 * self.per_kwh)

    @property
    def each_request(self) -> float:
        """What a request costs beyond that: the power of a busy machine above an idle one's."""
        return (self.busy_watts - self.idle_watts) / 1000 * self.machine_s / _SECONDS_PER_HOUR * self.per_kwh

    def machines(self, traffic: float) -> int:
        """How many there must be for so many requests a day; one at least."""
        return max(1, math.ceil(traffic / self.requests_per_day * _SURELY))

    def monthly(self, traffic: float) -> float:
        """A month's cost at so many requests a day.

        Raises:
            CostsError: the traffic is no number of 0 or more.
        """
        check_amount("Requests a day", traffic)
        return self._with(self.machines(traffic), traffic)

    def energy_a_day(self, traffic: float) -> Energy:
        """Estimated from the stated powers: what all machines use in a day.

        Raises:
            CostsError: the traffic is no number of 0 or more.
        """
        check_amount("Requests a day", traffic)
        idle = self.machines(traffic) * self.idle_watts * self.hours_a_day * _SECONDS_PER_HOUR
        busy = (self.busy_watts - self.idle_watts) * self.machine_s * traffic
        return Energy(idle + busy, f"{self.idle_watts:g} W idle, {self.busy_watts:g} W busy", measured=False)

    def _with(self, machines: int, traffic: float) -> float:
        return self.fixed + machines * self.each_machine + traffic * DAYS_A_MONTH * self.each_request


def api_monthly(each: float, traffic: float) -> float:
    """A month's cost of an API at so many requests a day, each at the same price.

    Raises:
        CostsError: the price or the traffic is no number of 0 or more.
    """
    check_amount("An API's price for a request", each)
    check_amount("Requests a day", traffic)
    return traffic * DAYS_A_MONTH * each


@dataclass(frozen=True, slots=True)
class Crossing:
    """A traffic at which the cheaper one changes."""

    requests_per_day: float
    own_is_cheaper: bool
    """Just above it. Where that is false, it is the traffic above which one machine more is needed."""
    machines: int
    """Of one's own just above it."""


@dataclass(frozen=True, slots=True)
class BreakEven:
    """Where one's own machines are cheaper."""

    crossings: tuple[Crossing, ...]
    """By rising traffic; of several hundred the first."""
    for_good: float | None
    """Requests a day above which they always are; ``None`` where they never are."""

    @property
    def first(self) -> Crossing | None:
        """The least traffic above which they are; ``None`` where they never are."""
        return self.crossings[0] if self.crossings else None


def break_even(own: OwnMachines, api_each: float) -> BreakEven:
    """All crossings of the two costs, exact up to the rounding of a float.

    With k machines the difference own − API is F + k·C − b·R, for R from above (k−1)·c up to k·c requests a day: F is
    fixed, C a machine's cost, b what a request saves, c what a machine takes. At the end of the k-th step it is
    F − k·(b·c − C), at its beginning F + C − (k−1)·(b·c − C): both fall without end, or never below 0. So the two cross
    once in each step from the first whose end is below 0, and back at each step's beginning up to the last that is not.

    Args:
        own: the machines.
        api_each: what the API asks for a request.

    Raises:
        CostsError: the price is no number of 0 or more.
    """
    check_amount("An API's price for a request", api_each)
    fixed, machine, takes = Fraction(own.fixed), Fraction(own.each_machine), Fraction(own.requests_per_day)
    saved = Fraction(DAYS_A_MONTH) * (Fraction(api_each) - Fraction(own.each_request))
    gain = saved * takes - machine  # of a machine that is wholly busy, over the API
    if gain <= machine * _ROUNDING:
        return BreakEven((), None)
    first, last = math.floor(fixed / gain) + 1, math.floor((fixed + machine) / gain) + 1
    crossings: list[Crossing] = []
    for machines in range(first, min(last, first + _MOST_STEPS) + 1):
        if crossings:
            begin = float((machines - 1) * takes)
            crossings.append(Crossing(begin, own_is_cheaper=False, machines=machines))
        crossings.append(Crossing(float((fixed + machines * machine) / saved), True, machines))
    return BreakEven(tuple(crossings), float((fixed + last * machine) / saved))
