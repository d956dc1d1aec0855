"""Speculative decoding of one run: asks the drafters, lets the controller choose, keeps the record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

from engine.generation.token_buffer import TokenBuffer
from engine.speculation.answer_drafter import AnswerDrafter
from engine.speculation.controller import Controller, Offer
from engine.speculation.drafts import NO_DRAFT, Draft, DraftSource
from engine.speculation.ngram import NgramDrafter
from engine.types import MAX_GAMMA, DraftRound, SpeculationReport

NGRAM, ANSWER = "ngram", "smaller tier's answer"
_PRIORS = ((1, 0.1), (2, 0.25), (3, 0.4), (5, 0.6), (9, 0.8), (17, 0.9))
"""First guess of the acceptance by the length of the match, up to the next one."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that can draft."""

    name: str
    """The model and its precision."""
    source: DraftSource
    prior: float
    """First guess of the acceptance."""
    step_s: float
    """Seconds for one drafted token, measured."""


class Speculator:
    """Proposes drafts and hears of their fate. Made for one run."""

    def __init__(
        self,
        controller: Controller,
        ngram: NgramDrafter | None,
        candidates: Sequence[Candidate] = (),
        unavailable: Sequence[str] = (),
        answer: AnswerDrafter | None = None,
    ) -> None:
        """
        Args:
            controller: decides.
            ngram: drafts from the text.
            candidates: models that draft.
            unavailable: drafters that cannot, with the reason, for the report.
            answer: drafts from a smaller model's answer.
        """
        self._controller = controller
        self._free: dict[str, DraftSource] = {}
        """Drafters that cost next to nothing: they are asked before it is decided."""
        if answer:
            self._free[ANSWER] = answer
        if ngram:
            self._free[NGRAM] = ngram
        self._candidates = {candidate.name: candidate for candidate in candidates}
        self._unavailable = tuple(unavailable)
        self._rounds: list[DraftRound] = []
        self._taken: Offer | None = None
        self._drafting_s = self._verification_s = self._plain_s = self._choosing_s = 0.0
        self._plain_steps = 0
        self._draft_s = {candidate.name: candidate.step_s for candidate in candidates}
        self._begun = 0.0

    def propose(self, text: TokenBuffer, room: int, at: int) -> Draft:
        """A draft for the next tokens of the text; an empty one for a plain step.

        Args:
            text: all tokens so far.
            room: tokens that may be drafted at most.
            at: index of the next token in the answer.
        """
        begun = perf_counter()
        draft = self._propose(text, min(room, self._controller.gamma or MAX_GAMMA), at)
        self._drafting_s += perf_counter() - begun
        return draft

    def verified(self, draft: Draft, accepted: int, chosen: Sequence[int], seconds: float, at: int) -> None:
        """A pass of the model is done, and what came of it is part of the text.

        Args:
            draft: what was proposed.
            accepted: how many of its tokens stand.
            chosen: the tokens added to the text.
            seconds: what the pass took.
            at: index in the answer of the first of them.
        """
        begun = perf_counter()
        drafted = len(draft.token_ids)
        self._controller.times.observe(drafted + 1, seconds)
        if drafted and self._taken:
            self._verification_s += seconds
            self._controller.observe(self._taken, drafted, accepted)
            self._rounds.append(
                DraftRound(
                    at=at,
                    drafter=self._taken.drafter,
                    token_ids=draft.token_ids,
                    accepted=accepted,
                    match_length=draft.match_length,
                )
            )
        else:
            self._plain_s += seconds
            self._plain_steps += 1
        self.observe(chosen)
        self._drafting_s += perf_counter() - begun

    def observe(self, token_ids: Sequence[int]) -> None:
        """Tokens have been added to the text, whoever chose them."""
        for source in self._free.values():
            source.observe(token_ids)
        for candidate in self._candidates.values():
            candidate.source.observe(token_ids)

    @property
    def salvaged_tokens(self) -> int:
        """Tokens accepted from a smaller model's answer."""
        return sum(entry.accepted for entry in self._rounds if entry.drafter == ANSWER)

    def chose(self, seconds: float) -> None:
        """Choosing tokens and telling of them took so long."""
        self._choosing_s += seconds

    def report(self) -> SpeculationReport:
        """How it went."""
        return SpeculationReport(
            rounds=tuple(self._rounds),
            notes=tuple(self._controller.notes),
            drafting_s=self._drafting_s,
            verification_s=self._verification_s,
            plain_s=self._plain_s,
            choosing_s=self._choosing_s,
            plain_steps=self._plain_steps,
            step_s=self._controller.times.measured,
            draft_step_s={name: candidate.step_s for name, candidate in self._candidates.items()},
            unavailable=self._unavailable,
        )

    def _propose(self, text: TokenBuffer, room: int, at: int) -> Draft:
        self._taken = None
        if room < 1:
            return NO_DRAFT
        found = {name: source.propose(text, room) for name, source in self._free.items()}
        offers = [
            Offer(candidate.name, "any", candidate.prior, room, self._draft_s[candidate.name])
            for candidate in self._candidates.values()
        ]
        for name, draft in found.items():
            if draft.token_ids:
                shortest, prior = _kind_of(draft.match_length or 1)
                offers.append(Offer(name, f"match of {shortest} or more", prior, len(draft.token_ids), 0.0))
        if not offers:
            return NO_DRAFT
        plan = self._controller.choose(offers, at)
        if plan is None:
            return NO_DRAFT
        self._taken, gamma = plan
        if self._taken.drafter in found:
            return found[self._taken.drafter].first(gamma)
        begun = perf_counter()
        draft = self._candidates[self._taken.drafter].source.propose(text, gamma)
        if draft.token_ids:
            self._learn_draft_time(self._taken.drafter, (perf_counter() - begun) / len(draft.token_ids))
        return draft

    def _learn_draft_time(self, name: str, seconds: float) -> None:
        known = self._draft_s[name]
        self._draft_s[name] = known * min(seconds / known, 1.5) ** 0.2  # one disturbed step decides nothing


def _kind_of(match_length: int) -> tuple[int, float]:
    return max((shortest, prior) for shortest, prior in _PRIORS if shortest <= match_length)
