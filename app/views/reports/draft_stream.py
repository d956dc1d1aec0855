"""An answer coloured by where its tokens come from: the model alone, a draft that was accepted, or a bonus."""

from __future__ import annotations

from app import units
from app.speculation.drafters import WITHOUT_WEIGHTS, reported_name
from app.store import Timeline
from app.views.shared.segments import Category, Hue, Line, Segment, show_segments
from engine.types import DraftRound, SpeculationReport

ALONE = Category("the model alone", Hue.GRAY, Line.NONE, 0.0)
ACCEPTED = Category("drafted and accepted", Hue.GREEN, Line.UNDERLINE, 0.4)
BONUS = Category("bonus after a whole draft", Hue.BLUE, Line.DOTTED, 0.3)
REPLACED = Category("in place of a rejected draft", Hue.ORANGE, Line.DOUBLE, 0.3)


def draft_segments(timeline: Timeline, report: SpeculationReport) -> tuple[Segment, ...]:
    """A piece for each token of the answer; what was drafted in its place and rejected stands in its tooltip."""
    by_place: dict[int, tuple[Category, DraftRound]] = {}
    for drafted in report.rounds:
        end = drafted.at + drafted.accepted
        by_place |= dict.fromkeys(range(drafted.at, end), (ACCEPTED, drafted))
        by_place[end] = (BONUS if drafted.accepted == len(drafted.token_ids) else REPLACED, drafted)
    return tuple(_segment(timeline, place, *by_place.get(place, (ALONE, None))) for place in range(len(timeline)))


def show_draft_stream(timeline: Timeline, report: SpeculationReport, *, key: str) -> None:
    """Draw the answer with its legend."""
    show_segments(
        draft_segments(timeline, report),
        key=key,
        label="Answer by the source of its tokens",
        title="Token from",
        categories=(ALONE, ACCEPTED, BONUS, REPLACED),
    )


def drafter_words(drafted: DraftRound) -> str:
    """Who drafted, and on what grounds."""
    name = reported_name(drafted.drafter)
    if drafted.drafter in WITHOUT_WEIGHTS and drafted.match_length:
        return f"{name}, {units.counted(drafted.match_length, 'token')} matched"
    return name


def _segment(timeline: Timeline, place: int, category: Category, drafted: DraftRound | None) -> Segment:
    lines = [f"{timeline.texts[place]!r} · token {place + 1}", category.label.capitalize()]
    if drafted:
        lines.append(f"Draft of {units.counted(len(drafted.token_ids), 'token')} by {drafter_words(drafted)}")
    if drafted and category is REPLACED:
        ghosts = drafted.texts[drafted.accepted :]
        lines.append(f"Rejected: {' '.join(map(repr, ghosts))}")
    lines.append(f"Probability {units.probability(timeline.logprob[place])}")
    return Segment(timeline.texts[place], category=category, tooltip=tuple(lines))
