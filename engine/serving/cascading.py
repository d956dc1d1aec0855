"""Between two tiers: the scores, and what follows from them. In the engine's thread."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from engine.cascade import (
    BoundaryRouter,
    RouterProfile,
    TierAnswer,
    TierIdentity,
    answer_table,
    goes_up,
    random_score,
    reading_table,
)
from engine.errors import RouterProfileError
from engine.generation.confidence import Confidence
from engine.generation.recorder import RunRecorder
from engine.repetition import repeated_share
from engine.types import NEVER, CascadeConfig, GenerationRequest, RouterKind, TokenEvent, TokenSource
from engine.untrusted import parse_json

_PLAIN = BoundaryRouter(threshold=NEVER)
"""The scores that need no data."""


@dataclass(slots=True)
class Judgement:
    """What a router thought at one boundary."""

    threshold: float
    prompt_score: float | None = None
    answer_score: float | None = None
    goes_up: bool | None = None
    """``None`` while it has not decided."""
    hidden: tuple[float, ...] = ()
    """The smaller tier's state after the prompt."""


class Router:
    """Decides for one request whether to go up."""

    def __init__(self, cascade: CascadeConfig, request: GenerationRequest, present: Mapping[int, TierIdentity]) -> None:
        """
        Args:
            cascade: the gear.
            request: what is asked.
            present: the tiers that take part, by their place in the configuration's ladder.

        Raises:
            RouterProfileError: its profile was made for other tiers, or is none.
        """
        self._cascade = cascade
        self._prompt = request.prompt
        self.spent_s = 0.0
        """Seconds of judging."""
        self._profile: RouterProfile | None = None
        if cascade.profile is not None:
            self._profile = _read_profile(cascade.profile)
            # of a tier that is missing nothing can be said
            ladder = [present.get(place, tier) for place, tier in enumerate(self._profile.ladder)]
            beyond = [present[place] for place in present if place >= len(ladder)]
            self._profile.check_fits([*ladder, *beyond])
            if self._profile.kind is not cascade.router:
                raise RouterProfileError(
                    f"The profile “{self._profile.name}” is of a router that works by {self._profile.kind}, not "
                    f"{cascade.router}."
                )
            if self._profile.after_tokens != cascade.after_tokens:
                raise RouterProfileError(
                    f"The profile “{self._profile.name}” judges {_judged(self._profile.after_tokens)}, not "
                    f"{_judged(cascade.after_tokens)}: its thresholds mean nothing there."
                )

    def first_look(self, boundary: int) -> Judgement:
        """Before the tier below a boundary writes anything."""
        begun = perf_counter()
        judgement = Judgement(self._cascade.thresholds[boundary])
        match self._cascade.router:
            case RouterKind.ALWAYS_LARGE:
                judgement.goes_up = True
            case RouterKind.ALWAYS_SMALL:
                judgement.goes_up = False
            case RouterKind.RANDOM:
                judgement.prompt_score = float(random_score([self._prompt], seed=boundary)[0])
                judgement.goes_up = _reaches(judgement.prompt_score, judgement.threshold)
            case RouterKind.ROUTE | RouterKind.HYBRID if not self._boundary(boundary).reads_first:
                self._judge_prompt(boundary, judgement, ())
            case _:
                pass
        self.spent_s += perf_counter() - begun
        return judgement

    def tokens_to_judge(self, boundary: int, judgement: Judgement) -> int | None:
        """After how many tokens of the smaller tier to look again; ``None`` for all of them."""
        if judgement.goes_up is not None:
            return None
        judges_prompt = self._cascade.router in (RouterKind.ROUTE, RouterKind.HYBRID)
        if judges_prompt and judgement.prompt_score is None and self._boundary(boundary).reads_first:
            return 1
        return self._cascade.after_tokens

    def look(self, boundary: int, judgement: Judgement, tokens: Sequence[TokenEvent]) -> bool:
        """At the first tokens of the smaller tier. Returns whether it goes up already."""
        begun = perf_counter()
        if self._cascade.router is RouterKind.ESCALATE:
            self._judge_answer(boundary, judgement, tokens, finished=False)
        else:
            self._judge_prompt(boundary, judgement, tokens)
        self.spent_s += perf_counter() - begun
        return bool(judgement.goes_up)

    def last_look(self, boundary: int, judgement: Judgement, recorder: RunRecorder) -> bool:
        """At the smaller tier's whole answer. Returns whether it goes up."""
        if judgement.goes_up is None:
            begun = perf_counter()
            if self.tokens_to_judge(boundary, judgement) == 1 and self._cascade.router is not RouterKind.ESCALATE:
                self._judge_prompt(boundary, judgement, recorder.tokens)  # its first token was its last
            if judgement.goes_up is None:
                self._judge_answer(boundary, judgement, recorder.tokens, finished=recorder.finish_reason == "stop")
            self.spent_s += perf_counter() - begun
        return bool(judgement.goes_up)

    def _boundary(self, boundary: int) -> BoundaryRouter:
        return self._profile.boundaries[boundary] if self._profile else _PLAIN

    def _judge_prompt(self, boundary: int, judgement: Judgement, tokens: Sequence[TokenEvent]) -> None:
        table = reading_table([self._prompt], [_as_answer(tokens, judgement.hidden, finished=False)])
        score = float(self._boundary(boundary).prompt_score(table)[0])
        judgement.prompt_score = score
        if self._cascade.router is RouterKind.ROUTE:
            judgement.goes_up = _reaches(score, judgement.threshold)
            return
        band = self._boundary(boundary).band
        if band is None:
            return  # sure of nothing: the answer is judged
        if _reaches(score, band.up_from):
            judgement.goes_up = True
        elif score < band.keep_below:
            judgement.goes_up = False

    def _judge_answer(
        self, boundary: int, judgement: Judgement, tokens: Sequence[TokenEvent], *, finished: bool
    ) -> None:
        table = answer_table([_as_answer(tokens, (), finished=finished)])
        score = float(self._boundary(boundary).answer_score(table)[0])
        judgement.answer_score = score
        judgement.goes_up = _reaches(score, judgement.threshold)


class Watched:
    """A recorder that lets a router look at the first tokens, and ends the answer if it goes up."""

    def __init__(self, recorder: RunRecorder, router: Router, boundary: int, judgement: Judgement) -> None:
        self._recorder = recorder
        self._router = router
        self._boundary = boundary
        self._judgement = judgement

    def cancelled(self) -> bool:
        return self._recorder.cancelled()

    def prefilled(self, cached_tokens: int, computed_tokens: int, hidden: tuple[float, ...]) -> None:
        self._judgement.hidden = hidden
        self._recorder.prefilled(cached_tokens, computed_tokens, hidden)

    def token(self, token_id: int, confidence: Confidence, source: TokenSource = "target") -> bool:
        goes_on = self._recorder.token(token_id, confidence, source)
        due = self._router.tokens_to_judge(self._boundary, self._judgement)
        if goes_on and due == len(self._recorder.tokens):
            return not self._router.look(self._boundary, self._judgement, self._recorder.tokens)
        return goes_on


def _reaches(score: float, threshold: float) -> bool:
    """The very rule that thresholds are chosen by."""
    return bool(goes_up(np.array([score]), threshold)[0])


def _read_profile(text: str) -> RouterProfile:
    try:
        return RouterProfile.from_dict(parse_json(text))
    except ValueError as error:
        if isinstance(error, RouterProfileError):
            raise
        raise RouterProfileError(f"The router's profile cannot be read: {error}") from error


def _judged(after_tokens: int | None) -> str:
    return "whole answers" if after_tokens is None else f"answers by their first {after_tokens:,} tokens"


def _as_answer(tokens: Sequence[TokenEvent], hidden: tuple[float, ...], *, finished: bool) -> TierAnswer:
    """What has been written, as the signals read it."""
    finite = [token for token in tokens if math.isfinite(token.logprob) and math.isfinite(token.entropy)]
    return TierAnswer(
        text="".join(token.text for token in tokens),
        token_ids=tuple(token.token_id for token in tokens),
        score=None,
        prompt_tokens=0,
        completion_tokens=len(tokens),
        prefill_s=0.0,
        ttft_s=None,
        e2e_s=0.0,
        finish_reason="stop" if finished else "length",
        logprobs=tuple(token.logprob for token in finite),
        entropies=tuple(token.entropy for token in finite),
        margins=tuple(token.margin for token in finite if token.margin is not None and math.isfinite(token.margin)),
        repetition=repeated_share([token.token_id for token in tokens]),
        hidden=hidden if all(map(math.isfinite, hidden)) else (),
    )
