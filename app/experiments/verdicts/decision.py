"""Whether to ship a candidate instead of the baseline: one answer, with its reasons."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from app import units
from app.experiments.results.arrays import Bools, Floats, Judged, Measure, Results
from app.experiments.results.divergence import Kld, kld_of
from app.experiments.statistics.noninferiority import State
from app.experiments.verdicts.verdict import PromptPairs, QualityVerdict, SpeedVerdict, quality_verdict, speed_verdict

TOO_FEW = 50
"""Below so many prompts what is shown rests on exact bounds, and little can be shown at all."""


class Answer(StrEnum):
    """To the question whether the candidate can take the baseline's place."""

    YES = "Yes"
    NO = "No"
    NO_GAIN = "It can, but nothing is gained"
    GAIN_UNTOLD = "It can, but whether anything is gained cannot be told"
    OPEN = "Not shown yet"
    UNSCORED = "Nothing says which answers are right"
    DOUBTED = "Not to be relied on: the judge fails its audit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """How like the baseline's a candidate's answers are, where nothing says what is right."""

    prompts: int
    same_text: float
    """Share of answers with the very text."""
    word_f1: float
    """Mean, 0 to 1."""

    @property
    def text(self) -> str:
        """One sentence."""
        return (
            f"Of {units.counted(self.prompts, 'answer')} without a checker, {units.percent(self.same_text)} are the "
            f"baseline's word for word; word F1 is {units.percent(self.word_f1)} on average."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One candidate held against the baseline."""

    answer: Answer
    name: str
    baseline_name: str
    prompts: int
    """Compared for quality."""
    quality: QualityVerdict | None
    """By checkers; ``None`` where no prompt has one."""
    likeness: Likeness | None
    """``None`` where every prompt has a checker."""
    kld: Kld | str
    """From the 16-bit baseline, or why it was not measured, in a sentence."""
    speed: SpeedVerdict
    first_token: SpeedVerdict
    judged: QualityVerdict | None = None
    """By a judge, of the prompts without a checker; ``None`` where none was asked."""
    judge: Judged | None = None
    """Who judged."""
    unjudged: int = 0
    """Prompts without a checker that the judge has given no verdict on: they are left out."""

    @property
    def scored(self) -> QualityVerdict | None:
        """What quality is told by: checkers, or where there are none a judge."""
        return self.quality or self.judged

    @property
    def measure(self) -> Measure | None:
        """By whom :attr:`scored` is."""
        return Measure.CHECKER if self.quality else Measure.JUDGE if self.judged else None

    @property
    def as_judged(self) -> str:
        """What the judge says, and how far to believe it; empty where none was asked."""
        if self.judged is None or self.judge is None:
            return ""
        by = f"As {self.judge.judge} judges {units.counted(self.judged.prompts, 'prompt')} without a checker"
        left_out = f", {self.unjudged:,} more without a verdict" if self.unjudged else ""
        return f"{by}{left_out}: {self.judged.text} {self.judge.audit}"

    @property
    def because(self) -> tuple[str, ...]:
        """The reasons of the answer, each in a sentence or some: quality, then speed."""
        said = [
            self.quality.text if self.quality else "",
            self.as_judged,
            self.likeness.text if self.likeness else "",
            self.kld.text if self.likeness and isinstance(self.kld, Kld) else "",
            self.speed.text,
        ]
        return tuple(filter(None, said))

    @property
    def kld_text(self) -> str:
        """How far the model is from 16 bits, or why that is not known."""
        return self.kld.text if isinstance(self.kld, Kld) else f"KLD from 16 bits: none. {self.kld}"

    @property
    def turn(self) -> tuple[str, ...]:
        """What would have to be true for the answer to turn, a sentence each."""
        found = [each.shown.turn for each in (self.quality, self.judged) if each]
        interval = self.speed.ratio.interval if self.speed.ratio else None
        if self.answer is Answer.YES and interval:
            found.append(
                f"If it were not faster, nothing would be gained; {units.ratio(interval.low)} at least is shown."
            )
        elif self.answer is Answer.NO_GAIN:
            found.append("It would have to be shown to be faster, or to need less memory, for there to be a gain.")
        elif self.answer is Answer.GAIN_UNTOLD:
            timed = (
                "Too few prompts were timed to tell" if self.speed.ratio else "No prompt was timed with both to tell"
            )
            found.append(f"{timed} whether it is faster.")
        return tuple(found)


def decide(results: Results, candidate: int, *, margin: float, among: Bools | None = None) -> Decision | None:
    """Hold a configuration against the baseline, on the prompts that both have come to.

    Args:
        results: of the experiment, which may still be under way.
        candidate: its place among the configurations.
        margin: how much worse is still good enough, as a share: 0.02 for 2 points.
        among: the prompts that are looked at, ``[prompts]``; ``None`` for all.

    Returns:
        ``None`` where no prompt was answered by both yet.
    """
    baseline = results.design.baseline
    every = np.ones(len(results.prompt_ids), dtype=bool) if among is None else among
    answered = results.answered_by(baseline, candidate) & every
    timed = np.isfinite(results.e2e_s[[baseline, candidate]]).all(axis=0) & every
    if not (answered | timed).any():
        return None
    checked = answered & results.applies(Measure.CHECKER) & ~np.isnan(results.scores(Measure.CHECKER)[baseline])
    name, baseline_name = results.names[candidate], results.names[baseline]
    quality = None
    if checked.any():
        scores = results.scores(Measure.CHECKER)
        quality = quality_verdict(
            _paired(results, scores, candidate, checked), margin, name=name, baseline_name=baseline_name
        )
    speed, first_token = (
        speed_verdict(
            _paired(results, seconds, candidate, answered | timed),
            name=name,
            baseline_name=baseline_name,
            figure=figure,
        )
        for figure, seconds in (("E2E", results.e2e_s), ("TTFT", results.ttft_s))
    )
    likeness = _likeness(results, candidate, answered)
    without = answered & results.applies(Measure.JUDGE)
    judged, told = _judged(results, candidate, without, margin)
    return Decision(
        answer=_answer(quality, judged, results.judged, likeness, speed, lighter=_is_lighter(results, candidate)),
        prompts=int(answered.sum()),
        quality=quality,
        likeness=likeness,
        kld=kld_of(results, candidate, every),
        speed=speed,
        first_token=first_token,
        name=name,
        baseline_name=baseline_name,
        judged=judged,
        judge=results.judged if judged else None,
        unjudged=int(without.sum()) - told if judged else 0,
    )


def _answer(
    quality: QualityVerdict | None,
    judged: QualityVerdict | None,
    judge: Judged | None,
    likeness: Likeness | None,
    speed: SpeedVerdict,
    *,
    lighter: bool,
) -> Answer:
    states = [each.shown.state for each in (quality, judged) if each]
    if quality is not None and quality.shown.state is State.WORSE:
        return Answer.NO
    if not states and (likeness is None or likeness.same_text < 1):
        return Answer.UNSCORED
    if State.OPEN in states and State.WORSE not in states:
        return Answer.OPEN
    if judged is not None and judge is not None and judge.concerns:
        return Answer.DOUBTED
    if State.WORSE in states:
        return Answer.NO
    faster = speed.is_different and speed.ratio is not None and speed.ratio.ratio > 1
    better = any(each.interval.low > 0 for each in (quality, judged) if each)
    if faster or lighter or better:
        return Answer.YES
    return Answer.NO_GAIN if speed.is_told else Answer.GAIN_UNTOLD


def _judged(results: Results, candidate: int, without: Bools, margin: float) -> tuple[QualityVerdict | None, int]:
    """What a judge's verdicts come to on prompts without a checker, and how many it has judged. A prompt is left out
    where there is no verdict on the one or the other: that is no fault of theirs."""
    if results.judged is None:
        return None, 0
    scores = results.scores(Measure.JUDGE)
    if results.judged.pairwise:  # what the one is preferred, the other is not
        scores[results.design.baseline] = 1 - scores[candidate]
    known = without & np.isfinite(scores[[results.design.baseline, candidate]]).all(axis=0)
    if not known.any():
        return None, 0
    verdict = quality_verdict(
        _paired(results, scores, candidate, known),
        margin,
        name=results.names[candidate],
        baseline_name=results.names[results.design.baseline],
    )
    return verdict, int(known.sum())


def _is_lighter(results: Results, candidate: int) -> bool:
    """Whether a configuration's weights take less memory than the baseline's."""
    before, after = (results.weights_bytes[place] for place in (results.design.baseline, candidate))
    both = np.isfinite(before) & np.isfinite(after)
    return bool(both.any()) and float(after[both].mean()) < 0.98 * float(before[both].mean())


def _paired(results: Results, values: Floats, candidate: int, which: Bools) -> PromptPairs:
    def chosen(texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(text for text, here in zip(texts, which, strict=True) if here)

    return PromptPairs(
        prompt_ids=chosen(results.prompt_ids),
        groups=chosen(results.groups),
        categories=chosen(results.categories),
        baseline=values[results.design.baseline][which],
        candidate=values[candidate][which],
    )


def _likeness(results: Results, candidate: int, answered: Bools) -> Likeness | None:
    same, f1 = (results.scores(measure)[candidate] for measure in (Measure.SAME_TEXT, Measure.WORD_F1))
    known = answered & np.isfinite(same) & np.isfinite(f1)
    if not known.any():
        return None
    return Likeness(prompts=int(known.sum()), same_text=float(same[known].mean()), word_f1=float(f1[known].mean()))
