"""What one judge says of an experiment's answers: looked up by text, as scores, as preferences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from app.experiments.judging.plan import MOST_PAIRS
from app.experiments.results.arrays import Floats, Results
from app.store import Cell, JudgeId, Judgement, JudgementKind

RIGHT = 0.5
"""The score from which on an answer counts as good, where good ones are told from others."""


@dataclass(frozen=True, slots=True)
class Preference:
    """Two answers that a judge compared in both orders."""

    prompt_id: str
    first_sha256: str
    second_sha256: str
    forward: float
    """1 if the first was preferred when it was shown first, 0 if the second was, 0.5 for neither."""
    backward: float
    """The same when it was shown second; 1 still means the first."""

    @property
    def mean(self) -> float:
        """Of both orders: a preference that went with the place comes to 0.5."""
        return (self.forward + self.backward) / 2


@dataclass(frozen=True, slots=True)
class Opinions:
    """Of one judge."""

    judge: JudgeId
    said: tuple[Judgement, ...]
    """Of both kinds, those without a verdict among them."""
    scores: Mapping[tuple[str, str], float] = field(init=False)
    """By prompt and text."""
    preferences: tuple[Preference, ...] = field(init=False)
    """Those of which both orders have a verdict, each once."""

    def __post_init__(self) -> None:
        given = {each.key: each.score for each in self.said if each.score is not None}
        scores = {
            (key.prompt_id, key.first_sha256): score for key, score in given.items() if key.kind is JudgementKind.SCORE
        }
        pairs = {
            (key.prompt_id, key.first_sha256, key.second_sha256): score
            for key, score in given.items()
            if key.kind is JudgementKind.PAIR
        }
        both = (
            Preference(id, first, second, score, 1 - pairs[id, second, first])
            for (id, first, second), score in pairs.items()
            if (id, second, first) in pairs and first < second
        )
        object.__setattr__(self, "scores", scores)
        object.__setattr__(self, "preferences", tuple(both))

    @classmethod
    def of(cls, judge: JudgeId, said: Sequence[Judgement]) -> Self:
        """A judge's among those of all."""
        return cls(judge, tuple(each for each in said if each.key.judge == judge))

    def of_kind(self, kind: JudgementKind) -> tuple[Judgement, ...]:
        """What it said in one of the two ways."""
        return tuple(each for each in self.said if each.key.kind is kind)

    def as_scores(self, results: Results, kind: JudgementKind) -> Floats:
        """As :attr:`Judged.scores <app.experiments.results.Judged.scores>`."""
        if kind is JudgementKind.SCORE:
            return results.fold(
                lambda cell: 0.0 if cell.failed else self.scores.get((cell.key.prompt_id, cell.answer_sha256 or ""))
            )
        return self._shares(results)

    def _shares(self, results: Results) -> Floats:
        """The share of preferences over the baseline's answer, of first answers. Of two of which one failed the other
        is preferred; the same text, or two failures, are a draw."""
        baseline = {
            cell.key.prompt_id: cell
            for cell in results.scored_cells
            if cell.key.configuration == results.design.baseline and cell.key.repeat == 0
        }
        both = dict(_both_ways(self.preferences))

        def share(cell: Cell) -> float | None:
            against = baseline.get(cell.key.prompt_id)
            if cell.key.repeat or against is None:
                return None
            if cell.failed or against.failed:
                return 0.5 + 0.5 * (int(against.failed) - int(cell.failed))
            if cell.answer_sha256 == against.answer_sha256:
                return 0.5
            return both.get((cell.key.prompt_id, cell.answer_sha256 or "", against.answer_sha256 or ""))

        return results.fold(share)


def _both_ways(preferences: Sequence[Preference]) -> Iterator[tuple[tuple[str, str, str], float]]:
    for each in preferences:
        yield (each.prompt_id, each.first_sha256, each.second_sha256), each.mean
        yield (each.prompt_id, each.second_sha256, each.first_sha256), 1 - each.mean


def judge_words(judge: JudgeId) -> str:
    """A judge's name, for the user."""
    return judge.name.replace("@", " ")


def judges_of(said: Sequence[Judgement]) -> tuple[tuple[JudgeId, JudgementKind], ...]:
    """Who has judged answers, and how, the one that was asked most first. That a judge that grades was asked about a
    few pairs, for its audit, makes it no judge of pairs."""
    counts = Counter((each.key.judge, each.key.kind) for each in said)
    judges = [
        (judge, kind)
        for judge, kind in counts
        if kind is JudgementKind.SCORE
        or (judge, JudgementKind.SCORE) not in counts
        or counts[judge, kind] > 2 * MOST_PAIRS
    ]
    return tuple(sorted(judges, key=lambda each: (-counts[each], each)))
