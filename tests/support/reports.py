"""A report as an experiment makes one, and one whose every text tries to be more than text."""

from __future__ import annotations

from datetime import UTC, datetime

from app.reports.report import Attachment, Chart, Flip, Mark, Report, Section, Shape, Table, Tone, Value

MADE_AT = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)


def make_report(text: str = "", *, flips: int = 12) -> Report:
    """A report of a usual size; ``text`` is added to every text in it."""

    def said(words: str) -> str:
        return words + text

    quality = Chart(
        title=said("Difference in quality"),
        unit=said("points"),
        shape=Shape.INTERVALS,
        values=tuple(
            Value(said(name), value, said(f"{value:+.1f} points"), value - 2.5, value + 2.5)
            for name, value in (("all 200 prompts", -0.8), ("arithmetic", -3.1), ("code", 0.4), ("facts", -0.2))
        ),
        marks=(Mark(0.0, said("no difference")), Mark(-2.0, said("margin"))),
        note=said("Intervals of 95 %, clustered by template; slices corrected for many comparisons (Holm)."),
    )
    speed = Chart(
        title=said("E2E, less is better"),
        unit=said("s"),
        values=(
            Value(said("16 bits"), 3.41, said("3.41 s"), 3.2, 3.6),
            Value(said("int4"), 1.12, said("1.12 s"), 1.0, 1.3),
            Value(said("int4, never measured"), None, said("–")),
        ),
    )
    table = Table(
        title=said("Figures"),
        headers=tuple(map(said, ("Configuration", "Accuracy", "TTFT p50", "E2E p95", "Cost a day"))),
        rows=tuple(tuple(map(said, (f"configuration {n}", "71 %", "412 ms", "3.42 s", "$12.30"))) for n in range(5)),
        note=said("Cost: derived from $0.10 per hour at 10,000 requests a day."),
    )
    return Report(
        title=said("Decision sheet"),
        question=said("Ship int4 instead of 16 bits?"),
        answer=said("Yes"),
        tone=Tone.GOOD,
        verdict=said("int4 keeps quality within 2 points (95 %) and answers 3.0 times as fast."),
        sections=(
            Section(title=said("Quality"), text=said("200 prompts, each answered once."), charts=(quality,)),
            Section(title=said("Speed and cost"), charts=(speed,), tables=(table,)),
        ),
        baseline=said("16 bits"),
        candidate=said("int4"),
        flips=tuple(
            Flip(
                prompt=said("What is 17 × 23? " * 3),
                baseline=said("It is 391. " * 30),
                candidate=said("It is 381. " * 30),
                gained=place % 3 == 0,
            )
            for place in range(flips)
        ),
        environment=tuple(
            (said(name), said(value))
            for name, value in (("Machine", "Xeon, 2 threads"), ("Kernel", "native"), ("Weights", "b179c952"))
        ),
        reproduce=said("gearbox experiment run ship-int4.toml"),
        attachments=(Attachment(said("ship-int4.toml"), said('name = "Ship int4"\n')),),
        made_at=MADE_AT,
    )
