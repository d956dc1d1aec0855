"""What decides between two neighbouring tiers: one class for each :class:`~engine.types.RouterKind`.

A router looks at a prompt or at the smaller tier's answer to it, once or twice, and gives a score; one at or above the
threshold is escalated. The engine lets it look at an answer while that is written, the Router lab at recorded ones:
both by :meth:`Router.score_at` and :meth:`Router.combine`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, Self, assert_never

import numpy as np

from engine.cascade.routing.calibration import ScoreReference
from engine.cascade.routing.records import RoutedPrompt, TierAnswer
from engine.cascade.routing.scores import (
    Floats,
    LogisticWeights,
    SureBand,
    default_answer_score,
    default_prompt_score,
    hybrid_score,
    oracle_score,
    random_score,
)
from engine.cascade.routing.signals import FeatureTable, answer_table, prompt_table, read_by_a_model, reading_table
from engine.errors import RouterProfileError
from engine.types import NEVER, RouterKind

_UNSURE = SureBand(keep_below=0.0, up_from=NEVER)
"""No prompt is decided by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundaryRouter:
    """What a router has learned or been set to between two neighbouring tiers."""

    threshold: float
    """Scores from here up are escalated, 0 to 1; :data:`~engine.types.NEVER` for none."""
    prompt_weights: LogisticWeights | None = None
    """Of ``route`` and ``hybrid``; ``None`` is the score that needs no data."""
    answer_weights: LogisticWeights | None = None
    """Of ``escalate`` and ``hybrid``."""
    band: SureBand | None = None
    """Of ``hybrid``: where the prompt alone decides."""
    reference: ScoreReference | None = None
    """The scores the threshold was chosen on; ``None`` where it was set by hand."""

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= NEVER:
            raise RouterProfileError(f"A threshold of {self.threshold} is not between 0 and 1.")

    @property
    def reads_first(self) -> bool:
        """Whether the small model reads a prompt, up to its first token, before the prompt is judged."""
        return self.prompt_weights is None or any(map(read_by_a_model, self.prompt_weights.features))

    def prompt_score(self, table: FeatureTable) -> Floats:
        """Scores of prompts, ``[prompts]``, before anything is generated."""
        return self.prompt_weights.score(table) if self.prompt_weights else default_prompt_score(table)

    def answer_score(self, table: FeatureTable) -> Floats:
        """Scores of the smaller tier's answers, ``[answers]``."""
        return self.answer_weights.score(table) if self.answer_weights else default_answer_score(table)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "threshold": self.threshold,
            "prompt_weights": self.prompt_weights.to_dict() if self.prompt_weights else None,
            "answer_weights": self.answer_weights.to_dict() if self.answer_weights else None,
            "band": asdict(self.band) if self.band else None,
            "reference": self.reference.to_dict() if self.reference else None,
        }

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`.

        Raises:
            RouterProfileError: a value is out of range.
            KeyError, TypeError, ValueError: a value is missing or of another type.
        """
        prompt, answer, band, reference = (
            tree[name] for name in ("prompt_weights", "answer_weights", "band", "reference")
        )
        return cls(
            threshold=float(tree["threshold"]),
            prompt_weights=LogisticWeights.from_dict(prompt) if prompt else None,
            answer_weights=LogisticWeights.from_dict(answer) if answer else None,
            band=SureBand(keep_below=float(band["keep_below"]), up_from=float(band["up_from"])) if band else None,
            reference=ScoreReference.from_dict(reference) if reference else None,
        )


@dataclass(frozen=True, slots=True)
class Look:
    """A moment at which a router scores a prompt, or the smaller tier's answer to it."""

    at: Literal["prompt", "answer"]
    tokens: int | None
    """Of that answer, written by then: 0 before it begins, ``None`` at its end."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What a router makes of recorded prompts, ``[prompts]`` each."""

    score: Floats
    """NaN where it is unknown: such a prompt is escalated."""
    tried_s: Floats
    """What the small model took until it was decided to escalate, or its whole answer where that was not decided by the
    prompt alone; in seconds."""


@dataclass(frozen=True, kw_only=True)
class Router:
    """Gives the scores by which prompts are escalated from a tier to the next."""

    kind: ClassVar[RouterKind]
    reads_prompt: ClassVar[bool] = False
    reads_answer: ClassVar[bool] = False
    judges_first_tokens: ClassVar[bool] = False
    """Whether it can judge an answer by its first tokens."""
    has_band: ClassVar[bool] = False
    """Whether a :class:`~engine.cascade.routing.scores.SureBand` says where the prompt alone decides."""
    fixed: ClassVar[bool | None] = None
    """Whether it escalates, whatever it is asked; ``None`` for one that goes by scores and a threshold."""
    deployable: ClassVar[bool] = True

    boundary: BoundaryRouter = BoundaryRouter(threshold=NEVER)
    """What it has learned."""
    after_tokens: int | None = None
    """By how many first tokens it judges an answer; ``None`` for all of them."""
    place: int = 0
    """Of the boundary in its ladder, from the smallest tier up."""

    @property
    def looks(self) -> tuple[Look, ...]:
        """When it scores what, in order."""
        prompt = (Look("prompt", 1 if self.boundary.reads_first else 0),) if self.reads_prompt else ()
        answer = (Look("answer", self.after_tokens),) if self.reads_answer else ()
        return prompt + answer

    def score_at(self, look: Look, prompts: Sequence[str], answers: Sequence[TierAnswer]) -> Floats:
        """The scores at a look, ``[prompts]``; NaN where one is unknown.

        Args:
            look: one of :attr:`looks`.
            prompts: the users' texts.
            answers: the smaller tier's, as far as it has written; not needed by a look before it begins.
        """
        if look.at == "answer":
            return self.boundary.answer_score(answer_table(answers))
        return self.boundary.prompt_score(reading_table(prompts, answers) if look.tokens else prompt_table(prompts))

    def combine(self, scored: Sequence[Floats]) -> Floats:
        """The scores that are compared with the threshold, ``[prompts]``. Before the last look, NaN where that is
        needed.

        Args:
            scored: the scores at each look so far, one or more of them.
        """
        return scored[-1]

    def judge(self, prompts: Sequence[RoutedPrompt], weak: str, strong: str) -> Judged:
        """Score recorded prompts.

        Args:
            prompts: what was recorded; the smaller tier has answered wherever the router looks at that.
            weak: the smaller tier's key.
            strong: the larger tier's.
        """
        texts = [prompt.prompt for prompt in prompts]
        score = np.full(len(prompts), np.nan if self.fixed is None else float(self.fixed))
        tried_s, scored = np.zeros(len(prompts)), list[Floats]()
        for look in self.looks:
            answers = [] if look.tokens == 0 else [prompt.answers[weak].after(look.tokens) for prompt in prompts]
            if answers:  # whoever is escalated by an earlier look pays no more
                tried_s = np.where(score > 0, tried_s, [answer.e2e_s for answer in answers])
            scored.append(self.score_at(look, texts, answers))
            score = self.combine(scored)
        return Judged(score, tried_s)


class Route(Router):
    """Judges the prompt, before the smaller tier answers or at its first token."""

    kind = RouterKind.ROUTE
    reads_prompt = True


class Escalate(Router):
    """Judges the smaller tier's answer by its token probabilities."""

    kind = RouterKind.ESCALATE
    reads_answer = True
    judges_first_tokens = True


class Hybrid(Router):
    """Lets the prompt decide where that is sure; else the smaller tier tries, and its answer is judged."""

    kind = RouterKind.HYBRID
    reads_prompt = True
    reads_answer = True
    has_band = True

    def combine(self, scored: Sequence[Floats]) -> Floats:
        of_prompt = scored[0]
        of_answer = scored[1] if len(scored) > 1 else np.full(len(of_prompt), np.nan)
        return hybrid_score(of_prompt, of_answer, self.boundary.band or _UNSURE)


class Random(Router):
    """Escalates by lot: what every router must beat."""

    kind = RouterKind.RANDOM

    @property
    def looks(self) -> tuple[Look, ...]:
        return (Look("prompt", 0),)

    def score_at(self, look: Look, prompts: Sequence[str], answers: Sequence[TierAnswer]) -> Floats:
        return random_score(prompts, seed=self.place)


class AlwaysSmall(Router):
    """Never escalates."""

    kind = RouterKind.ALWAYS_SMALL
    fixed = False


class AlwaysLarge(Router):
    """Always escalates, before the smaller tier writes anything."""

    kind = RouterKind.ALWAYS_LARGE
    fixed = True


class Oracle(Router):
    """Knows how right both tiers' recorded answers are."""

    kind = RouterKind.ORACLE
    deployable = False

    def judge(self, prompts: Sequence[RoutedPrompt], weak: str, strong: str) -> Judged:
        weak_score, strong_score = (
            np.array([prompt.answers[tier].score for prompt in prompts], np.float64) for tier in (weak, strong)
        )
        return Judged(oracle_score(weak_score, strong_score), np.zeros(len(prompts)))


def router_class(kind: RouterKind) -> type[Router]:
    """What a kind of router is."""
    match kind:
        case RouterKind.ROUTE:
            return Route
        case RouterKind.ESCALATE:
            return Escalate
        case RouterKind.HYBRID:
            return Hybrid
        case RouterKind.RANDOM:
            return Random
        case RouterKind.ALWAYS_SMALL:
            return AlwaysSmall
        case RouterKind.ALWAYS_LARGE:
            return AlwaysLarge
        case RouterKind.ORACLE:
            return Oracle
        case _:
            assert_never(kind)
