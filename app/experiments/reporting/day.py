"""What a day of requests costs with configurations that were measured, and how many machines it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from app import units
from app.costs.capacity import machines_needed
from app.costs.energy import Energy
from app.costs.errors import CostsError
from app.costs.running import RunCost, Served, listed_cost, own_cost, savings_a_day
from app.experiments.results.figures import Figures
from app.remote.prices import ListPrice

MILLION = 1_000_000
BUSIEST = 0.1
"""Of a day's requests, in its busiest hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """What a day is reckoned with."""

    per_hour: float
    """The machine's price."""
    currency: str
    watts: float | None = None
    """The machine's stated power while busy; ``None`` where none is."""
    prices: Mapping[str, ListPrice] = field(default_factory=dict)
    """List prices of servers' models."""
    requests: float = 10_000
    target_s: float = 5.0
    """Seconds within which 95 % of the busiest hour's requests are to be answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DayRow:
    """Derived: one configuration, serving in one way."""

    name: str
    how: str
    served: Served
    thousand: str
    """Requests."""
    million_tokens: str
    a_day: str
    machines: str
    energy: Energy | None
    """Of one request; ``None`` where the machine does not count it and no power is stated."""
    energy_million: str
    energy_a_day: str


def day_rows(figures: Sequence[Figures], day: Day) -> tuple[DayRow, ...]:
    """Of each configuration its requests one after the other, and several at once, as far as they were measured.

    Raises:
        CostsError: the price is no number of 0 or more.
    """
    rows = []
    for each in figures:
        for how, served in (("alone", each.alone), ("in company", each.together)):
            if served is not None:
                cost, energy = _cost(each, served, day), each.request_energy(served, day.watts)
                rows.append(
                    DayRow(
                        name=each.name,
                        how=how,
                        served=served,
                        thousand=units.money(cost.request * 1_000 if cost else None, day.currency),
                        million_tokens=units.money(cost.million_tokens if cost else None, day.currency),
                        a_day=units.money(cost.request * day.requests if cost else None, day.currency),
                        machines=units.MISSING if each.has_server else _machines(served, day),
                        energy=energy,
                        energy_million=energy_text(energy, MILLION / served.completion_tokens),
                        energy_a_day=energy_text(energy, day.requests),
                    )
                )
    return tuple(rows)


def energy_text(energy: Energy | None, times: float = 1.0) -> str:
    """So many times an energy, with how it is known where it was not measured."""
    return units.MISSING if energy is None else energy.times(times).text


def energy_note(rows: Sequence[DayRow]) -> str:
    """How the energies are known, in a sentence."""
    known = dict.fromkeys(row.energy.provenance for row in rows if row.energy)
    if not known:
        return "Energy is not known: this machine does not count it, and prices.toml states no watts."
    return f"Energy: {', '.join(known)}."


def saving(before: Figures, after: Figures, day: Day) -> str | None:
    """What the candidate saves a day against the baseline, in a sentence; ``None`` where one was not timed, or its
    price is not known.

    Raises:
        CostsError: price or traffic are no numbers of 0 or more.
    """
    if before.alone is None or after.alone is None:
        return None
    costs = _cost(before, before.alone, day), _cost(after, after.alone, day)
    if costs[0] is None or costs[1] is None:
        return None
    saved = savings_a_day(costs[0], costs[1], day.requests)
    direction, amount = "saves" if saved >= 0 else "costs", units.money(abs(saved), day.currency)
    how = "servers at their list prices" if before.has_server or after.has_server else "its machine always busy"
    return f"One after the other, {after.name} {direction} {amount} a day against {before.name}, {how}."


def _cost(figures: Figures, served: Served, day: Day) -> RunCost | None:
    """Of this machine by its time, of a server's model by its list price; ``None`` where that is not known."""
    if not figures.has_server:
        return own_cost(day.per_hour, served)
    price = day.prices.get(figures.server or "")
    if price is None:
        return None
    return listed_cost(price, served.prompt_tokens, served.completion_tokens, served.cached_tokens)


def _machines(served: Served, day: Day) -> str:
    try:
        found = machines_needed(day.requests, BUSIEST, day.target_s, served)
    except CostsError:
        return units.MISSING
    return "none would do" if found is None else f"{found:,}"
