"""What a run costs: the machine's price per hour times the time measured."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from app.settings import REPOSITORY
from engine.errors import GearboxError
from engine.untrusted import decode_text

_FILE_NAME = "prices.toml"
_SHIPPED = REPOSITORY / "data" / _FILE_NAME
_SECONDS_PER_HOUR = 3600


class PricesError(GearboxError):
    """The price file cannot be used."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine and what an hour of it costs."""

    name: str
    per_hour: float
    note: str = ""
    watts: float | None = None
    """Its power while busy, as it is stated; ``None`` where it is not."""


@dataclass(frozen=True, slots=True)
class Prices:
    """The price file."""

    currency: str
    """Written before an amount."""
    machines: tuple[Machine, ...]
    """At least one; the first is the default."""


def cost(per_hour: float, e2e_s: float) -> float:
    """Derived: what ``e2e_s`` seconds of a machine cost, in the currency of its price."""
    return per_hour * e2e_s / _SECONDS_PER_HOUR


def prices_path(data_dir: Path) -> Path:
    """The user's own price file where there is one, else the one that comes with Gearbox."""
    own = data_dir / _FILE_NAME
    return own if own.is_file() else _SHIPPED


def load_prices(path: Path) -> Prices:
    """Read a price file.

    Raises:
        PricesError: the file cannot be read, is not TOML, or lacks a usable machine.
    """
    try:
        tree = tomllib.loads(decode_text(path.read_bytes(), path.name))
        machines = tuple(map(_machine, tree["machine"]))
        prices = Prices(str(tree["currency"]), machines)
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise PricesError(f"The prices in {path} cannot be read: {error!r}.") from error
    if not machines or not all(0 <= machine.per_hour < float("inf") for machine in machines):
        raise PricesError(f"{path} needs at least one machine, each with a price per hour of 0 or more.")
    if not all(0 < machine.watts < float("inf") for machine in machines if machine.watts is not None):
        raise PricesError(f"The watts of a machine in {path} must be above 0, or left out.")
    return prices


def _machine(entry: Mapping[str, Any]) -> Machine:
    """
    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    machine = Machine(str(entry["name"]), float(entry["per_hour"]), str(entry.get("note", "")))
    return machine if "watts" not in entry else replace(machine, watts=float(entry["watts"]))
