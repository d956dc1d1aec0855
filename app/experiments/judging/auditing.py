"""What an audit rests on: a judge's verdicts beside its own in the other order, length, checkers, thumbs, others."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.experiments.judging.audit import Audit
from app.experiments.judging.opinions import RIGHT, Opinions, judge_words
from app.experiments.results.arrays import Results
from app.experiments.statistics.agreement import Agreement, LengthBias, agreement, length_bias, position_flips
from app.store import Judgement, JudgementKind


def audit_of(
    results: Results, opinions: Opinions, kind: JudgementKind, thumbs: Mapping[str, int], others: Sequence[Opinions]
) -> Audit:
    """Audit a judge.

    Args:
        results: of the experiment.
        opinions: the judge's.
        kind: how it judges.
        thumbs: people's ratings, 1 or −1, by run.
        others: other judges of the same experiment.
    """
    texts = _Texts.of(results, thumbs)
    said = opinions.said  # all that was asked is paid for, and goes into the share without a verdict
    forward, backward = ([getattr(each, way) - 0.5 for each in opinions.preferences] for way in ("forward", "backward"))
    preferred = _preferred(results, opinions, kind)
    compared = [(each.judge, _with_another(texts.groups, opinions, each, kind)) for each in others]
    model = opinions.judge.name.rpartition("@")[0]
    return Audit(
        kind=kind,
        asked=len(said),
        unanswered=Counter(each.no_verdict for each in said if each.no_verdict),
        flips=position_flips(forward, backward) if forward else None,
        length=texts.bias(preferred),
        length_of_checkers=texts.bias(_pairwise(results, texts.checked)),
        checkers=texts.agree(opinions, kind, texts.checked),
        people=texts.agree(opinions, kind, texts.thumbs),
        others={judge_words(judge): found for judge, found in compared if found},
        judges_itself=any(model in each.models for each in results.design.configurations),
        seconds=sum(each.seconds for each in said),
        prompt_tokens=sum(each.prompt_tokens or 0 for each in said),
        completion_tokens=sum(each.completion_tokens or 0 for each in said),
        uncounted=sum(each.prompt_tokens is None for each in said),
    )


_Key = tuple[str, str]
"""A prompt's id, and a text's hash."""
_Compared = list[tuple[_Key, _Key, float]]
"""Two texts, and above 0 where the first is better, below 0 where the second is."""


@dataclass(frozen=True, slots=True)
class _Texts:
    """What is known of an experiment's texts besides what a judge says."""

    checked: Mapping[_Key, float]
    """The checkers' scores."""
    thumbs: Mapping[_Key, float]
    """1 or 0, of those that people rated."""
    lengths: Mapping[_Key, int]
    """Tokens."""
    groups: Mapping[str, str]
    """By prompt."""

    @classmethod
    def of(cls, results: Results, thumbs: Mapping[str, int]) -> _Texts:
        checked: dict[_Key, float] = {}
        lengths: dict[_Key, int] = {}
        rated: defaultdict[_Key, int] = defaultdict(int)
        for cell in results.scored_cells:
            key = cell.key.prompt_id, cell.answer_sha256 or ""
            if cell.score is not None:
                checked[key] = cell.score
            if cell.completion_tokens is not None:
                lengths[key] = cell.completion_tokens
            rated[key] += thumbs.get(cell.run_id or "", 0)
        people = {key: float(sum > 0) for key, sum in rated.items() if sum}
        return cls(checked, people, lengths, dict(zip(results.prompt_ids, results.groups, strict=True)))

    def bias(self, compared: _Compared) -> LengthBias | None:
        known = [each for each in compared if {each[0], each[1]} <= self.lengths.keys()]
        if not known:
            return None
        first, second = ([self.lengths[each[0]] for each in known], [self.lengths[each[1]] for each in known])
        return length_bias([better for *_, better in known], first, second)

    def agree(self, opinions: Opinions, kind: JudgementKind, truth: Mapping[_Key, float]) -> Agreement | None:
        """With somebody who scores answers: on which are good, or which of two is better where they are not alike."""
        if kind is JudgementKind.SCORE:
            both = [
                (key[0], score >= RIGHT, truth[key] >= RIGHT) for key, score in opinions.scores.items() if key in truth
            ]
        else:
            both = []
            for each in opinions.preferences:
                first, second = ((each.prompt_id, sha256) for sha256 in (each.first_sha256, each.second_sha256))
                if first in truth and second in truth and truth[first] != truth[second]:
                    both.append((each.prompt_id, np.sign(each.mean - 0.5), np.sign(truth[first] - truth[second])))
        return _agree(both, self.groups)


def _preferred(results: Results, opinions: Opinions, kind: JudgementKind) -> _Compared:
    """The pairs of answers of which a judge says that one is better."""
    if kind is JudgementKind.SCORE:
        return _pairwise(results, opinions.scores)
    return [
        ((each.prompt_id, each.first_sha256), (each.prompt_id, each.second_sha256), each.mean - 0.5)
        for each in opinions.preferences
    ]


def _pairwise(results: Results, scores: Mapping[_Key, float]) -> _Compared:
    """Each text against the baseline's to the same prompt, by their scores."""
    baseline, found = results.texts_sha256[results.design.baseline], dict[tuple[_Key, _Key], float]()
    for place, texts in enumerate(results.texts_sha256):
        for id, mine, theirs in zip(results.prompt_ids, texts, baseline, strict=True):
            first, second = (id, str(mine)), (id, str(theirs))
            if place != results.design.baseline and mine != theirs and first in scores and second in scores:
                found[first, second] = scores[first] - scores[second]
    return [(first, second, better) for (first, second), better in found.items()]


def _with_another(
    groups: Mapping[str, str], opinions: Opinions, other: Opinions, kind: JudgementKind
) -> Agreement | None:
    """On the questions that both gave a verdict on."""

    def label(score: float) -> object:
        return score >= RIGHT if kind is JudgementKind.SCORE else score

    theirs = {_texts_of(each): each.score for each in other.of_kind(kind) if each.score is not None}
    both = [
        (each.key.prompt_id, label(each.score), label(theirs[_texts_of(each)]))
        for each in opinions.of_kind(kind)
        if each.score is not None and _texts_of(each) in theirs
    ]
    return _agree(both, groups)


def _texts_of(judgement: Judgement) -> tuple[str, str, str]:
    key = judgement.key
    return key.prompt_id, key.first_sha256, key.second_sha256


def _agree(both: Sequence[tuple[str, object, object]], groups: Mapping[str, str]) -> Agreement | None:
    if not both:
        return None
    ids, mine, theirs = zip(*both, strict=True)
    return agreement(mine, theirs, [groups.get(id, id) for id in ids])
