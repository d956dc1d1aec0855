"""What answers cost in money and energy, as parts of a report."""

from __future__ import annotations

from collections.abc import Sequence

from app import units
from app.experiments.reporting.day import Day, DayRow, day_rows, energy_note, energy_text, saving
from app.experiments.results.figures import Figures
from app.reports.report import Section, Table


def day_section(before: Figures, after: Figures, day: Day) -> Section | None:
    """A baseline's and a candidate's day; ``None`` where one was not timed.

    Raises:
        CostsError: a figure of the day is out of range.
    """
    rows = day_rows((before, after), day)
    saved = saving(before, after, day)
    if saved is None:
        return None
    headers = (
        "Configuration", "Requests", "Batch size", "Answer", "Throughput", "A million tokens", "A day", "Energy a day",
        "Machines",
    )  # fmt: skip
    return Section(
        title="A day",
        text=saved,
        tables=(
            Table(
                title=f"{day.requests:,.0f} requests a day, answered within {units.seconds(day.target_s)}",
                headers=headers,
                rows=tuple(
                    (
                        row.name,
                        row.how,
                        f"{row.served.at_once:.1f}",
                        units.seconds(row.served.e2e_s),
                        units.rate(row.served.tokens_per_s),
                        row.million_tokens,
                        row.a_day,
                        row.energy_a_day,
                        row.machines,
                    )
                    for row in rows
                ),
                note=f"{_derived(day)}; Poisson arrivals, 10 % of the day in one hour. {energy_note(rows)}",
            ),
        ),
    )


def costs_table(figures: Sequence[Figures], day: Day) -> Table | None:
    """What a run and a million tokens cost with each configuration, the engine alone; ``None`` where none was timed.

    Raises:
        CostsError: a figure of the day is out of range.
    """
    rows = [row for each in figures if each.alone for row in day_rows((each,), day)[:1]]
    if not rows:
        return None
    return Table(
        title="Cost and energy with the engine alone",
        headers=("Configuration", "1,000 runs", "A million tokens", "Energy a run", "Energy of a million tokens"),
        rows=tuple(map(_row, rows)),
        note=f"{_derived(day)}. {energy_note(rows)}",
    )


def _row(row: DayRow) -> tuple[str, ...]:
    return (row.name, row.thousand, row.million_tokens, energy_text(row.energy), row.energy_million)


def _derived(day: Day) -> str:
    return f"Derived from measured times at {day.currency}{day.per_hour:g} an hour"
