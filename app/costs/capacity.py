"""How many requests a machine can take within a latency target, and how many machines a traffic needs.

Requests of the busiest hour come at random (Poisson), each machine has a line of its own, and as many are answered at
once as were when it was measured. They wait by Erlang C (Erlang 1917; Kleinrock, Queueing Systems 1, 1975, 3.5); the
time of an answer itself is taken as measured, which is more than it takes while fewer are there.
"""

from __future__ import annotations

import math

from app.costs.errors import CostsError, check_amount, check_positive
from app.costs.running import Served

PERCENTILE = 0.95
"""Of requests within the target."""
EVEN = 1 / 24
"""The busiest hour's share of a day on which all hours are alike."""
_SECONDS_PER_HOUR = 3600
_HALVINGS = 60


def waiting_s(per_second: float, e2e_s: float, places: int, percentile: float = PERCENTILE) -> float:
    """How long a request waits for a place at a percentile, in seconds; infinite where more come than can be answered.

    Args:
        per_second: requests that come.
        e2e_s: how long each has its place.
        places: how many are answered at once.
        percentile: share of requests that wait no longer, 0 to below 1.
    """
    offered = per_second * e2e_s
    if offered >= places:
        return math.inf
    blocked = 1.0  # Erlang B, one place after the other
    for place in range(1, places + 1):
        blocked = offered * blocked / (place + offered * blocked)
    waits = blocked / (1 - offered / places * (1 - blocked))
    if waits <= 1 - percentile:
        return 0.0
    return math.log(waits / (1 - percentile)) / (places / e2e_s - per_second)


def requests_per_s(served: Served, target_s: float) -> float:
    """The most requests a second that one machine takes with 95 % of them answered within ``target_s``; 0 where an
    answer alone takes longer.

    Raises:
        CostsError: the target is no time above 0.
    """
    check_positive("The latency target, in seconds,", target_s)
    room_s = target_s - served.e2e_s
    if room_s < 0:
        return 0.0
    places = int(served.at_once)
    low, high = 0.0, places / served.e2e_s
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if waiting_s(middle, served.e2e_s, places) <= room_s else (low, middle)
    return low


def requests_per_day(served: Served, target_s: float, peak_share: float) -> float:
    """The most requests a day that one machine takes, its busiest hour within the target; 0 where none is.

    Raises:
        CostsError: the target is no time above 0, or the share is none that the busiest hour of a day can have.
    """
    if not EVEN <= peak_share <= 1:
        raise CostsError(
            f"The busiest hour's share of a day must be from 4.2 % (1/24) to 100 %, not {peak_share * 100:g} %."
        )
    return requests_per_s(served, target_s) * _SECONDS_PER_HOUR / peak_share


def machines_needed(traffic_per_day: float, peak_share: float, target_s: float, served: Served) -> int | None:
    """How many machines a day's requests need, at least one; ``None`` where no number of them meets the target.

    Raises:
        CostsError: a figure is out of range.
    """
    check_amount("Requests a day", traffic_per_day)
    each = requests_per_day(served, target_s, peak_share)
    return max(1, math.ceil(traffic_per_day / each)) if each else None
