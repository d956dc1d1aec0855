"""What judges said of an experiment, with the one whose verdicts count: the same for everybody who opens it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from app.experiments.judging.audit import Audit, Limits
from app.experiments.judging.auditing import audit_of
from app.experiments.judging.judged import judged
from app.experiments.judging.opinions import Opinions, judges_of
from app.experiments.results.arrays import Results
from app.store import JudgeId, Judgement, JudgementKind, KeptExperiment, RunStore

Heard = tuple[JudgeId, JudgementKind]
"""A judge, and how it judges."""


@dataclass(frozen=True, slots=True)
class Judging:
    """How an experiment's judges are read, as it is kept with the experiment."""

    limits: Limits = field(default_factory=Limits)
    """Beyond which a judge fails its audit."""
    counts: Heard | None = None
    """Whose verdicts count; ``None`` for the judge that was asked most."""

    @classmethod
    def of(cls, kept: KeptExperiment) -> Self:
        """As it is kept."""
        tree = kept.judging or {}
        limits, counts = Limits(**tree.get("limits", {})), tree.get("counts")
        return cls(limits, (JudgeId(**counts["judge"]), JudgementKind(counts["kind"])) if counts else None)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        counts = {"judge": asdict(self.counts[0]), "kind": str(self.counts[1])} if self.counts else None
        return {"limits": asdict(self.limits), "counts": counts}

    def judges(self, said: Sequence[Judgement]) -> tuple[Heard, ...]:
        """All who have judged, the one whose verdicts count first, then those that were asked most. Who was chosen
        counts whatever it was asked."""
        found = judges_of(said)
        there = self.counts in {(each.key.judge, each.key.kind) for each in said}
        return tuple(dict.fromkeys([*([self.counts] if self.counts and there else []), *found]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Hearing:
    """What judges said of an experiment, and whose verdicts count."""

    results: Results
    """With these."""
    judging: Judging
    said: tuple[Judgement, ...] = ()
    judges: tuple[Heard, ...] = ()
    """All who have judged it, the one that counts first."""
    opinions: Opinions | None = None
    """Of the one that counts; ``None`` where there is none."""
    kind: JudgementKind = JudgementKind.SCORE
    """How it judges."""
    audit: Audit | None = None


def audited(
    results: Results, said: Sequence[Judgement], thumbs: Mapping[str, int], heard: Heard
) -> tuple[Opinions, Audit]:
    """What one judge says, and its audit.

    Args:
        results: of the experiment.
        said: all judgements.
        thumbs: people's ratings, 1 or −1, by run.
        heard: which judge.
    """
    judge, kind = heard
    opinions = Opinions.of(judge, said)
    others = dict.fromkeys(each for each, _ in judges_of(said) if each != judge)
    return opinions, audit_of(results, opinions, kind, thumbs, [Opinions.of(each, said) for each in others])


Read = Callable[[Results, Sequence[Judgement], Mapping[str, int], Heard], tuple[Opinions, Audit]]
"""As :func:`audited`, or what remembers what that came to."""


def hear(results: Results, said: tuple[Judgement, ...], thumbs: Mapping[str, int], *, read: Read = audited) -> Hearing:
    """The verdicts of the judge that counts, beside an experiment's results.

    Args:
        results: of the experiment.
        said: all judgements.
        thumbs: people's ratings, 1 or −1, by run.
        read: works out opinions and audit.
    """
    judging = Judging.of(results.kept)
    judges = judging.judges(said)
    if not judges:
        return Hearing(results=results, judging=judging)
    heard = judges[0]
    opinions, audit = read(results, said, thumbs, heard)
    found = judged(results, opinions, heard[1], audit, judging.limits)
    return Hearing(
        results=replace(results, judged=found),
        judging=judging,
        said=said,
        judges=judges,
        opinions=opinions,
        kind=heard[1],
        audit=audit,
    )


def read_hearing(store: RunStore, results: Results) -> Hearing:
    """The same from what is kept.

    Raises:
        StoreError: the database cannot be read.
    """
    id = results.kept.id
    return hear(results, store.experiments.judgements(id), store.experiments.thumbs(id))
