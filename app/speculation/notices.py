"""What a run's speculative decoding amounts to, in words."""

from __future__ import annotations

from app import units
from app.speculation.drafters import reported_name
from engine.types import (
    ControllerNote,
    Drafter,
    Losslessness,
    RunConfig,
    RunMetrics,
    SpeculationReport,
)

_MOSTLY = 0.8
"""Of all steps; with more of them plain, a pause is worth telling of."""


def speculation_notice(report: SpeculationReport, metrics: RunMetrics, config: RunConfig) -> str | None:
    """Why the gear did little or nothing for a run; ``None`` where it did its work."""
    if report.unavailable:
        return " ".join(report.unavailable)
    speculation = config.optimization.speculation
    steps = report.plain_steps + len(report.rounds)
    if not steps or speculation is None:
        return None
    if speculation.gamma == 0:
        return "γ is 0, so nothing was drafted."
    pauses = [note for note in report.notes if note.state == "paused"]
    if pauses and report.plain_steps >= _MOSTLY * steps:
        return _pause(pauses[-1], report.plain_steps, steps)
    if metrics.drafted_tokens == 0:
        nobody = " and no model in memory could draft" if speculation.drafter is Drafter.AUTO else ""
        return f"Nothing was drafted: the text had nothing to copy{nobody}."
    return None


def _pause(note: ControllerNote, plain: int, steps: int) -> str:
    who, kind = reported_name(note.drafter), "" if note.kind == "any" else f", {note.kind}"
    return (
        f"Speculation paused itself: {plain} of {steps} steps were plain. At token {note.at + 1} it expected "
        f"{units.percent(note.acceptance)} of the drafts ({who}{kind}) to be accepted, and drafting to be "
        f"{units.ratio(note.speedup)} as fast as plain decoding."
    )


def losslessness_title(found: Losslessness) -> str:
    """What reading an answer again showed, on a badge."""
    if found.divergence:
        return "Parts from plain decoding"
    if found.p_value is None:
        return f"Identical to plain decoding: checked, {found.checked}/{found.tokens} tokens"
    passed = "Same distribution as" if found.holds else "Another distribution than"
    return f"{passed} plain decoding: p = {found.p_value:.3g}"


def losslessness_details(found: Losslessness) -> str:
    """The figures behind it."""
    if parted := found.divergence:
        return (
            f"{parted.index} of {found.tokens} tokens are plain decoding's own. At token {parted.index + 1} the run "
            f"wrote {parted.written!r}, plain decoding writes {parted.plain!r}: {parted.gap:.3g} logits apart."
        )
    if found.p_value is not None:
        return "A chi-squared test of the rule of acceptance on distributions that this run met."
    if found.near_ties:
        return f"{units.counted(found.near_ties, 'near tie')} confirmed by computing that token alone."
    return (
        "The answer was read again, and each token compared with the one that plain decoding chooses there: the "
        "likeliest, or for a sampled answer the one drawn with the same random numbers."
    )
