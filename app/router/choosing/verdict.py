"""What the Router lab says of a choice, in words: one verdict, in order.

Whether a cascade can pay at all on these prompts; whether they are enough for the promise asked for; the threshold and
what it promises. Only the last says success.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from app import units
from app.router.choosing.study import Study
from engine.cascade import (
    NEVER,
    Curve,
    Figure,
    KeepQuality,
    LadderFigures,
    LadderSelection,
    Promise,
    RiskAtMost,
    Selection,
    SpendAtMost,
    Target,
    ThresholdFigures,
)

Outcome = Literal["large", "small", "no quality", "too dear", "not shown", "shown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One sentence that decides, and why."""

    outcome: Outcome
    title: str
    because: tuple[str, ...]

    @property
    def usable(self) -> bool:
        """Whether a threshold is worth using: not where one of the two models alone is the better choice."""
        return self.outcome in ("not shown", "shown")


def verdict(study: Study, selection: Selection) -> Verdict:
    """What to do on these prompts, with this router and target."""
    choice, target, naive = selection.choice, selection.target, selection.naive
    if isinstance(target, KeepQuality) and choice.reason:
        return Verdict(
            outcome="no quality",
            title=f"{study.strong} gets none of the prompts right that chose",
            because=("There is no quality to keep. Read its answers and how they are checked first.",),
        )
    if not choice.met:
        return Verdict(outcome="too dear", title="No threshold is that cheap", because=(choice.reason,))
    if isinstance(target, KeepQuality) and choice.safe is not None and choice.safe >= NEVER:
        return _small_alone(study, selection)
    dearer = naive.cost_share is not None and naive.cost_share.low >= 1
    if not isinstance(target, SpendAtMost) and (not choice.saves or dearer):
        return _large_alone(study, selection)
    if choice.safe is None:
        return _not_shown(study, selection)
    return Verdict(
        outcome="shown",
        title=f"Threshold {written(choice.safe)}: {promise_in_words(selection.promise)}",
        because=(f"{_where(selection)}: {reached(selection.test, spent(study))}.", *_price(study, selection)),
    )


def ladder_verdict(tiers: tuple[str, ...], selection: LadderSelection) -> Verdict:
    """The same for three tiers, whose thresholds were picked at once."""
    where = _where(selection)
    pair = " and ".join(map(written, selection.thresholds))
    if selection.naive.quality_kept is None:
        return Verdict(outcome="no quality", title=f"{tiers[-1]} gets none of the prompts right that chose", because=())
    cost = selection.naive.cost_share
    if not isinstance(selection.target, SpendAtMost) and (not selection.saves or (cost is not None and cost.low >= 1)):
        return Verdict(
            outcome="large",
            title=f"Always use {tiers[-1]}: no pair of thresholds pays here",
            because=(
                f"{where}, the quickest that would {target_in_words(selection.target)}: {reached(selection.naive)}.",
            ),
        )
    found = f"{where}: {reached(selection.test)}."
    if selection.promise.shown:
        return Verdict(
            outcome="shown", title=f"Thresholds {pair}: {promise_in_words(selection.promise)}", because=(found,)
        )
    return Verdict(
        outcome="not shown",
        title=_missing(selection.promise),
        because=(
            f"Thresholds {pair} would {target_in_words(selection.target)} on the prompts that chose them, which is not "
            "enough to promise it. You can use them: the profile stays marked as not shown.",
            found,
        ),
    )


def promise_mark(promise: Promise | None) -> str:
    """What to write beside a threshold wherever it is used: empty where its promise is shown or it makes none."""
    if promise is None or promise.shown:
        return ""
    if promise.more_prompts is None:
        return "not shown"
    return f"not shown yet, about {units.counted(promise.more_prompts, 'more prompt')}"


def promise_in_words(promise: Promise) -> str:
    """What is promised: "keep at least 95 % of the large model's score (90 % confidence)"."""
    share, sure = units.percent(promise.share), f"{units.percent(promise.confidence)} confidence"
    match promise.kind:
        case "quality":
            return f"keep at least {share} of the large model's score ({sure})"
        case "cost":
            return f"take at most {share} of what the large model takes ({sure})"
        case "risk":
            return f"at most {share} of prompts keep a worse answer ({sure})"


def target_in_words(target: Target) -> str:
    """What was asked for, without the confidence."""
    share = units.percent(target.share)
    match target:
        case KeepQuality():
            return f"keep {share} of the large model's score"
        case SpendAtMost():
            return f"take at most {share} of what the large model takes"
        case RiskAtMost():
            return f"let at most {share} of prompts keep a worse answer"


def written(threshold: float) -> str:
    """A threshold, as a number or what it means."""
    if threshold >= NEVER:
        return "“none goes up”"
    return f"{threshold:.3f}" if threshold > 0 else "“all go up”"


def reached(figures: ThresholdFigures | LadderFigures, of: str = "time") -> str:
    """Quality kept and time saved, with intervals: "0.97× (0.93–1.01) of the quality, 21 % (15 to 27 %) of the time
    saved"."""
    return f"{_kept(figures.quality_kept)} of the quality, {_saved(figures.cost_share, of)}"


def spent(study: Study) -> str:
    """What the study's costs are."""
    return "time" if study.costs is None or study.costs.in_seconds else "cost"


def _small_alone(study: Study, selection: Selection) -> Verdict:
    return Verdict(
        outcome="small",
        title=f"{study.weak} alone is enough on these prompts: {promise_in_words(selection.promise)}",
        because=(
            f"{_where(selection)} it gives {reached(selection.test, spent(study))}.",
            "No cascade can be quicker.",
        ),
    )


def _large_alone(study: Study, selection: Selection) -> Verdict:
    cost = selection.naive.cost_share
    because = []
    if cost is not None:
        because.append(
            f"{_where(selection)}, the quickest threshold that would {target_in_words(selection.target)} takes "
            f"{cost.value:.2f}× ({cost.low:.2f}–{cost.high:.2f}) its {spent(study)}: {study.choice} sends "
            f"{units.percent(selection.naive.share.value)} of them up."
        )
        if cost.low < 1:
            because.append("The interval leaves room for a saving: more prompts would tell.")
    oracle = oracle_saving(study, selection.target)
    if oracle is not None and oracle > 0:
        because.append(f"A router that knew both answers would save {units.percent(oracle)}: another router may pay.")
    else:
        because.append("Not even a router that knew both answers would save any.")
    return Verdict(outcome="large", title=f"Always use {study.strong}: no threshold pays here", because=tuple(because))


def _not_shown(study: Study, selection: Selection) -> Verdict:
    because = [
        f"{_where(selection)}: {reached(selection.test, spent(study))}.",
        f"Threshold {written(selection.choice.naive)} would {target_in_words(selection.target)} on the "
        f"{units.counted(selection.calibration.prompts, 'prompt')} that chose it, which is not enough to promise "
        "it. You can use it: it stays marked as not shown.",
    ]
    if selection.choice.reason:
        because.append(selection.choice.reason)
    target, kept = selection.target, selection.test.quality_kept
    if isinstance(target, KeepQuality) and kept is not None and kept.high < target.share:
        title = f"Missed on the prompts that report: {kept.value:.2f}× of the quality"
        return Verdict(outcome="not shown", title=title, because=(*because, f"{_missing(selection.promise)}."))
    return Verdict(outcome="not shown", title=_missing(selection.promise), because=tuple(because))


def _missing(promise: Promise) -> str:
    more = promise.more_prompts
    if more is None:
        return "Not shown: these prompts cannot tell how many more it takes"
    return f"Not shown yet: about {units.counted(more, 'more prompt')}"


def _price(study: Study, selection: Selection) -> tuple[str, ...]:
    naive, safe = selection.naive, selection.test
    if naive.threshold == safe.threshold or naive.cost_share is None or safe.cost_share is None:
        return ()
    if isinstance(selection.target, SpendAtMost) and naive.quality_kept and safe.quality_kept:
        price, of = naive.quality_kept.value - safe.quality_kept.value, "quality"
    else:
        price, of = safe.cost_share.value - naive.cost_share.value, spent(study)
    return (
        f"Without the promise, threshold {written(naive.threshold)} gives {reached(naive, spent(study))}: being sure "
        f"costs {units.percent(max(0.0, price))} of the large model's {of}.",
    )


def _where(selection: Selection | LadderSelection) -> str:
    if selection.prompts < 2:
        return "On the one prompt, which both chose and reports"
    return f"On the {units.counted(selection.test.prompts, 'prompt')} that had no part in choosing"


def _kept(figure: Figure | None) -> str:
    return "none" if figure is None else f"{figure.value:.2f}× ({figure.low:.2f}–{figure.high:.2f})"


def _saved(cost: Figure | None, of: str) -> str:
    if cost is None:
        return f"{of} unknown"
    word = "saved" if cost.value <= 1 else "lost"
    saved, low, high = 1 - cost.value, 1 - cost.high, 1 - cost.low
    if cost.value > 1:
        saved, low, high = -saved, -high, -low
    between = f"{100 * low:.0f} to {100 * high:.0f} %".replace("-", "−")
    return f"{units.percent(saved)} ({between}) of the {of} {word}"


def oracle_saving(study: Study, target: Target) -> float | None:
    """What the best router thinkable saves of the large model's time on the half that reports, with the target kept;
    ``None`` where the large model takes none."""
    oracle = study.reporting().with_oracle()
    large = float(oracle.strong_cost.mean())
    if large <= 0:
        return None
    curve = Curve.of(oracle)
    share = target.share if isinstance(target, KeepQuality) else 1.0
    return 1 - float(curve.cost[curve.quality >= share * oracle.strong_score.mean() - 1e-12].min()) / large
