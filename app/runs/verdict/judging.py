"""Runs of one prompt put into words, with their numbers.

"Faster" is what a reader means by it: the whole answer sooner (E2E), where both wrote equally many tokens; else the
first token and the pace after it, both. Whether a difference is one is decided by `paired` alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from app import units
from app.runs.verdict.answers import ending, likeness, unlike
from app.runs.verdict.noise import UNMEASURED, Figure, Noise
from app.runs.verdict.outcome import Outcome
from app.runs.verdict.paired import Call, Paired, Rounds
from app.store import RunStatus
from engine.types import Backend, RunMetrics

_QUEUED_S = 0.05
_SAME_SIZE = 0.005

Tone = Literal["better", "worse", "even", "none"]
"""What the second lane's speed amounts to; ``none`` where it cannot be told, or where a faster answer is no better
one: the models or the answers' quality differ, or a run was disturbed."""

Pair = tuple[Outcome, Outcome]


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the second of two lanes compares with the first."""

    summary: str
    """One sentence, with numbers."""
    details: tuple[str, ...]
    """What the numbers are made of, and what to keep in mind; a sentence each."""
    tone: Tone
    disturbance: str = ""
    """What makes its speeds unreliable, to be told before all else; empty where nothing does."""
    doubt: str = ""
    """Why a gain in speed may be none, a sentence; empty where the answers are worth the same."""
    is_of_two_backends: bool = False
    """Whether the lanes differ in what runs the model on this machine, so that the gears alone do not make the
    difference."""
    paired: Mapping[Figure, Paired] = field(default_factory=dict)
    """The times that were compared. E2E is among them only at equal length."""
    pairs: tuple[Pair, ...] = ()
    """The rounds that count, in order."""

    @property
    def is_disturbed(self) -> bool:
        """Whether its speeds are not to be relied on: running again is worth it."""
        return bool(self.disturbance)

    def rounds(self, figure: Figure, lane: int, noise: Noise) -> Rounds | None:
        """A time of the first (0) or second (1) lane over the rounds that count; ``None`` where it was not measured."""
        return _rounds(self.pairs, figure, lane, noise)

    def metrics(self, lane: int) -> tuple[RunMetrics, ...]:
        """The figures of the first (0) or second (1) lane in the rounds that count."""
        return tuple(_metrics(pair[lane]) for pair in self.pairs)


def judge(first: Sequence[Outcome], other: Sequence[Outcome], noise: Noise = UNMEASURED) -> Verdict:
    """Say what one lane gains and loses against another.

    Args:
        first: a lane's runs, one a round, at least one. The answers of the last round are the ones on view.
        other: the other lane's runs of the same rounds.
        noise: what single runs differ by on this machine.
    """
    pairs = tuple(zip(first, other, strict=True))
    measured = [pair for pair in pairs if all(run.is_measured for run in pair)]
    if not measured:
        return Verdict(f"No comparison: {' and '.join(_missing(pairs[-1]))}.", (), "none")
    whole = [pair for pair in measured if all(run.status is RunStatus.FINISHED for run in pair)] or measured
    quiet = [pair for pair in whole if not any(run.disturbed for run in pair)]
    used = tuple(quiet or whole)
    shown = used[-1]
    paired = _paired(used, noise)
    reasons = unlike(*shown)
    parts = [_speed(paired), _memory(*shown), likeness(*shown), *_discarded(shown)]
    summary = f"{shown[1].name} against {shown[0].name}: {', '.join(part for part in parts if part)}."
    details = (
        *_rounds_told(pairs, whole, used, paired, noise),
        *_figures(used, noise, paired),
        *_caveats(shown),
        *_wavering(pairs),
    )
    return Verdict(
        summary,
        details,
        "none" if reasons or not quiet else _tone(paired),
        disturbance="" if quiet else f"Disturbed: {' '.join(_disturbances(shown))}",
        doubt=f"Whether that is better is open: {'; '.join(reasons)}." if reasons else "",
        is_of_two_backends=all(run.is_all_here for run in shown) and shown[0].is_reference != shown[1].is_reference,
        paired=paired,
        pairs=used,
    )


def _missing(pair: Pair) -> Iterator[str]:
    for run in pair:
        if not run.is_measured:
            yield f"{run.name} {_END[run.status]}"


_END = {
    RunStatus.RUNNING: "is still running",
    RunStatus.FINISHED: "wrote nothing",
    RunStatus.STOPPED: "was stopped before its first token",
    RunStatus.FAILED: "failed",
    RunStatus.INTERRUPTED: "was interrupted",
}


# --- what is compared ---------------------------------------------------------------------------------


def _metrics(run: Outcome) -> RunMetrics:
    assert run.metrics is not None  # only measured runs are asked
    return run.metrics


def _rounds(pairs: Sequence[Pair], figure: Figure, lane: int, noise: Noise) -> Rounds | None:
    values = [value for pair in pairs if (value := figure.of(_metrics(pair[lane])))]
    return Rounds.of(figure, values, noise) if values and len(values) == len(pairs) else None


def _paired(pairs: Sequence[Pair], noise: Noise) -> dict[Figure, Paired]:
    found = {}
    for figure in Figure:
        first, other = (_rounds(pairs, figure, lane, noise) for lane in (0, 1))
        if first and other and (figure is not Figure.E2E or _is_equally_long(pairs)):
            found[figure] = Paired.of(figure, first.values, other.values, noise)
    return found


def _is_equally_long(pairs: Sequence[Pair]) -> bool:
    return all(_metrics(a).completion_tokens == _metrics(b).completion_tokens for a, b in pairs)


def _told(paired: Mapping[Figure, Paired]) -> tuple[Figure, ...]:
    """What the headline speaks of."""
    return (Figure.E2E,) if Figure.E2E in paired else tuple(f for f in (Figure.TTFT, Figure.TPOT) if f in paired)


def _tone(paired: Mapping[Figure, Paired]) -> Tone:
    """Of answers of the same worth, and so of the same length."""
    tones: dict[Call, Tone] = {"faster": "better", "slower": "worse", "tied": "even"}
    return tones[paired[Figure.E2E].call] if Figure.E2E in paired else "none"


# --- the summary's parts ------------------------------------------------------------------------------


def _speed(paired: Mapping[Figure, Paired]) -> str:
    if whole := paired.get(Figure.E2E):
        return gain(whole) + " from start to end"
    first = f"first token {gain(paired[Figure.TTFT], 'sooner', 'later')}"
    if pace := paired.get(Figure.TPOT):
        return f"{first}, " + ("speed per token tied" if pace.call == "tied" else f"then {gain(pace)} per token")
    return f"{first}, speed per token unknown (TPOT needs two tokens)"


def gain(found: Paired, more: str = "faster", less: str = "slower") -> str:
    """What came out, in as many digits as the rounds support: "2.9× faster", or that there is no difference."""
    ratio = found.ratio
    match found.call:
        case "faster":
            return f"{units.ratio(ratio, found.spread)} {more}"
        case "slower":
            return f"{units.ratio(1 / ratio, found.spread)} {less}"
        case "tied":
            return "tied"


def ranged_gain(found: Paired, of: str) -> str:
    """What came out with the range of what it was made of: "1.4× faster (1.3× to 1.5× over 3 pairs)"."""
    low, high = (units.ratio(value, found.spread) for value in (found.low, found.high))
    between = "" if low == high else f"{low} to {high} "
    return f"{gain(found)} ({between}over {found.rounds} {of})" if found.rounds > 1 else gain(found)


def _memory(first: Outcome, other: Outcome) -> str:
    if not (first.is_all_here and other.is_all_here):
        return ""
    before, after = (_metrics(run).weights_bytes + _metrics(run).kv_bytes for run in (first, other))
    if not before or abs(after / before - 1) < _SAME_SIZE:
        return ""
    share = units.percent(abs(1 - after / before))
    return f"{share} {'less' if after < before else 'more'} memory for weights and KV"


def _discarded(pair: Pair) -> Iterator[str]:
    for run in pair:
        if lost := _metrics(run).discarded_tokens:
            yield f"{run.name} threw away {units.counted(lost, 'token')} of a smaller model"


def _disturbances(pair: Pair) -> Iterator[str]:
    for run in pair:
        if run.disturbed:
            yield f"{run.name}: {run.disturbed.rstrip('.')}."


# --- the details --------------------------------------------------------------------------------------


def _rounds_told(
    pairs: Sequence[Pair], whole: Sequence[Pair], used: Sequence[Pair], paired: Mapping[Figure, Paired], noise: Noise
) -> Iterator[str]:
    """How often it was measured, and what that makes of the differences."""
    if len(whole) < len(pairs):
        yield f"{len(whole)} of {units.counted(len(pairs), 'round')} came to their end in both lanes."
    if left_out := len(whole) - len(used):
        run = next(run for pair in whole for run in pair if run.disturbed)
        yield (
            f"{units.counted(left_out, 'disturbed round')} left out ({run.name}: {(run.disturbed or '').rstrip('.')})."
        )
    figures = _told(paired)
    if len(used) > 1:
        ranges = ", ".join(f"{figure.name} {_range(paired[figure])}" for figure in figures)
        yield f"{len(used)} rounds, {used[-1][0].name} over {used[-1][1].name}: {ranges}."
        return
    limits = {figure: units.percent(noise.limit(figure)) for figure in figures}
    if len(set(limits.values())) == 1:
        words = next(iter(limits.values()))
    else:
        words = " and ".join(f"{limit} in {figure.name}" for figure, limit in limits.items())
    if all(noise.is_measured(figure) for figure in figures):
        yield f"One round: differences below about {words} are noise on this machine."
    else:
        yield f"One round: differences below about {words} are noise (not measured yet on this machine: assumed)."


def _range(found: Paired) -> str:
    low, ratio, high = (units.ratio(value, found.spread) for value in (found.low, found.ratio, found.high))
    return ratio if low == high else f"{ratio} ({low} to {high})"


def _figures(pairs: Sequence[Pair], noise: Noise, paired: Mapping[Figure, Paired]) -> Iterator[str]:
    first, other = pairs[-1]
    written = {}
    for figure in Figure:
        values = [_rounds(pairs, figure, lane, noise) for lane in (0, 1)]
        if values[0] and values[1]:
            written[figure] = " → ".join(units.seconds(each.median, each.spread) for each in values if each)
    if Figure.TPOT in written:
        yield f"TPOT {written[Figure.TPOT]}, {gain(paired[Figure.TPOT])}."
    if Figure.TTFT in written:
        yield f"TTFT {written[Figure.TTFT]}, {gain(paired[Figure.TTFT], 'sooner', 'later')}."
    lengths = [_metrics(run).completion_tokens for run in (first, other)]
    if Figure.E2E in paired:
        yield f"E2E {written[Figure.E2E]} for {units.counted(lengths[0], 'token')} each."
    else:
        yield f"E2E is not compared: {lengths[0]:,} and {lengths[1]:,} tokens were written."


_BACKENDS = {Backend.REFERENCE: "transformers", Backend.LOCAL: "Gearbox's own kernels", Backend.REMOTE: "a server"}


def _caveats(pair: Pair) -> Iterator[str]:
    first, other = pair
    if first.config == other.config:
        yield "Both have the same configuration: a difference in speed is noise."
    if first.config.backend is not other.config.backend:
        mine, theirs = (f"{run.name} runs on {_BACKENDS[run.config.backend]}" for run in pair)
        yield f"{mine}, {theirs}: the difference is the backends' as well as the gears'."
    for run in pair:
        if run.tier:
            yield f"{run.name} is a cascade, and {run.tier} answered."
        if lost := _metrics(run).discarded_tokens:
            lost_tokens = units.counted(lost, "token")
            yield f"{run.name}'s TTFT and E2E include the {lost_tokens} that it threw away, its TPOT does not."
    if first.writer != other.writer:
        yield "The models differ, so the texts are compared by words."
    if first.config.sampling != other.config.sampling:
        yield "The sampling settings differ."
    if max(first.config.sampling.temperature, other.config.sampling.temperature) > 0:
        yield "Sampled at a temperature above 0: a different text alone says nothing about quality."
    for run in pair:
        if run.status is not RunStatus.FINISHED:
            yield f"{run.name} {ending(run)} after {len(run.token_ids):,} tokens."
        if _metrics(run).queue_s > _QUEUED_S:
            waited = units.seconds(_metrics(run).queue_s)
            yield f"{run.name} waited {waited} for another request; its TTFT and E2E include that."
        if _metrics(run).is_shared:
            others = units.mean((_metrics(run).mean_batch_size or 1.0) - 1)
            yield f"{run.name} shared its passes with {others} others on average: its times are not its own."


def _wavering(pairs: Sequence[Pair]) -> Iterator[str]:
    """Lanes that did not write the same in every round, which greedy decoding should."""
    for lane in zip(*pairs, strict=True):
        texts = {run.text for run in lane if run.status is RunStatus.FINISHED}
        if len(texts) > 1:
            though = ", though it is greedy" if lane[0].config.sampling.temperature == 0 else ""
            yield f"{lane[0].name} wrote {len(texts)} different texts in its rounds{though}."
