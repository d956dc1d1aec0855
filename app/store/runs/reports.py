"""The engine's optional reports on a run, listed once: their columns, their JSON and their types follow from here.

A further report is a field here, a column of `RunContent` with its migration, and a view.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, get_args, get_type_hints

from engine.types import CacheReport, CascadeReport, Disturbance, RunFinished, SpeculationReport


@dataclass(frozen=True, kw_only=True)
class Reports:
    """What parts of the engine told of one run; ``None`` where a part had nothing to do.

    Base of the records that carry reports, each under its own name.
    """

    cache: CacheReport | None = None
    """How the prompt met the prefix cache; ``None`` for a run that did not ask it."""
    speculation: SpeculationReport | None = None
    """How speculative decoding went; ``None`` for a run with that gear off."""
    cascade: CascadeReport | None = None
    """The way of the prompt up the ladder; ``None`` for a run with that gear off."""
    disturbance: Disturbance | None = None
    """What else used the machine meanwhile; ``None`` for a run kept before that was measured, or without figures."""

    @staticmethod
    def of(source: RunFinished | Reports) -> Reports:
        """The reports of a run's last event or of a record."""
        return Reports(**{name: getattr(source, name) for name in REPORTS})

    @staticmethod
    def from_json(trees: Mapping[str, Any]) -> Reports:
        """The inverse of `reports_json`. A report that is not there is one that was not known yet."""
        return Reports(**{name: kind.from_dict(tree) for name, kind in REPORTS.items() if (tree := trees.get(name))})

    def named(self) -> dict[str, Any]:
        """The reports by name."""
        return {name: getattr(self, name) for name in REPORTS}

    def reports_json(self) -> dict[str, Any]:
        """The reports by name as JSON values, those that are missing as ``None``."""
        return {name: report and asdict(report) for name, report in self.named().items()}


def _kinds() -> Iterator[tuple[str, Any]]:
    """Each field's name, and its type without the ``None``."""
    hints = get_type_hints(Reports)
    for field in fields(Reports):
        yield field.name, get_args(hints[field.name])[0]


REPORTS: Mapping[str, Any] = dict(_kinds())
"""The type of each report, by its name."""
