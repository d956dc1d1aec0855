"""Speculative decoding of one run: asks the drafters, lets the controller choose, keeps the record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import NamedTuple

import torch

from engine.generation.token_buffer import TokenBuffer
from engine.passes import Steps
from engine.speculation.controller import Controller, Offer
from engine.speculation.drafts import NO_DRAFT, Draft, DraftSource
from engine.types import MAX_GAMMA, DraftRound, SpeculationReport

ANSWER = "smaller tier's answer"
"""Names the drafter whose accepted tokens were salvaged."""
_PRIORS = ((1, 0.1), (2, 0.25), (3, 0.4), (5, 0.6), (9, 0.8), (17, 0.9))
"""First guess of the acceptance by the length of the match, up to the next one."""


class PassTime(NamedTuple):
    """What a pass has taken."""

    seconds: float
    rows: int
    """That it has read, other sequences' included."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One that can draft."""

    name: str
    """As it stands in reports: a model and its precision, or the drafter."""
    source: DraftSource
    prior: float | None = None
    """First guess of the acceptance; ``None`` to take it from the length of a draft's match."""
    step_s: float | None = None
    """Seconds for one drafted token, measured; ``None`` for one that costs next to nothing and is asked before it is
    decided."""


class Speculator:
    """Proposes drafts and hears of their fate. Made for one run."""

    def __init__(
        self,
        controller: Controller,
        candidates: Sequence[Candidate] = (),
        unavailable: Sequence[str] = (),
    ) -> None:
        """
        Args:
            controller: decides.
            candidates: who drafts.
            unavailable: drafters that cannot, with the reason, for the report.
        """
        self._controller = controller
        self._candidates = {candidate.name: candidate for candidate in candidates}
        self._draft_s = {candidate.name: s for candidate in candidates if (s := candidate.step_s) is not None}
        """What a drafted token takes now, where it takes anything."""
        self._unavailable = tuple(unavailable)
        self._rounds: list[DraftRound] = []
        self._taken: Offer | None = None
        self._drafting_s = self._verification_s = self._plain_s = self._choosing_s = 0.0
        self._plain_steps = 0

    def propose(self, text: TokenBuffer, room: int, at: int, generator: torch.Generator) -> Steps[Draft]:
        """A draft for the next tokens of the text; an empty one for a plain step. A drafting model's passes are
        yielded.

        Args:
            text: all tokens so far.
            room: tokens that may be drafted at most.
            at: index of the next token in the answer.
            generator: what the next token will be drawn with; it is not changed.
        """
        begun = perf_counter()
        draft = yield from self._propose(text, min(room, self._controller.gamma or MAX_GAMMA), at, generator)
        self._drafting_s += perf_counter() - begun
        return draft

    def verified(self, draft: Draft, accepted: int, chosen: Sequence[int], taken: PassTime, at: int) -> None:
        """A pass of the model is done, and what came of it is part of the text.

        Args:
            draft: what was proposed.
            accepted: how many of its tokens stand.
            chosen: the tokens added to the text.
            taken: what the pass took.
            at: index in the answer of the first of them.
        """
        begun = perf_counter()
        drafted, seconds = len(draft.token_ids), taken.seconds
        self._controller.times.observe(taken.rows, seconds)
        self._controller.rows_beside = taken.rows - drafted - 1
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
        for candidate in self._candidates.values():
            candidate.source.observe(token_ids)

    @property
    def rounds(self) -> tuple[DraftRound, ...]:
        """What was drafted so far, without its text."""
        return tuple(self._rounds)

    @property
    def reused_draft_tokens(self) -> int:
        """Tokens accepted from a smaller model's answer."""
        return sum(entry.accepted for entry in self._rounds if entry.drafter == ANSWER)

    def chose(self, seconds: float) -> None:
        """Choosing tokens and telling of them took so long."""
        self._choosing_s += seconds

    def report(self) -> SpeculationReport:
        """How it went."""
        return SpeculationReport(
            rounds=self.rounds,
            notes=tuple(self._controller.notes),
            drafting_s=self._drafting_s,
            verification_s=self._verification_s,
            plain_s=self._plain_s,
            choosing_s=self._choosing_s,
            plain_steps=self._plain_steps,
            step_s=self._controller.times.measured,
            draft_step_s={name: s for name, each in self._candidates.items() if (s := each.step_s) is not None},
            unavailable=self._unavailable,
        )

    def _propose(self, text: TokenBuffer, room: int, at: int, generator: torch.Generator) -> Steps[Draft]:
        self._taken = None
        if room < 1:
            return NO_DRAFT
        found: dict[str, Draft] = {}
        for name, candidate in self._candidates.items():
            if name not in self._draft_s:
                found[name] = yield from candidate.source.propose(text, room, generator)
        offers = [_offer(self._candidates[name], room, seconds) for name, seconds in self._draft_s.items()]
        offers += [_offer(self._candidates[name], len(draft.token_ids), 0.0, draft) for name, draft in found.items()]
        offers = [offer for offer in offers if offer.most]
        if not offers:
            return NO_DRAFT
        plan = self._controller.choose(offers, at)
        if plan is None:
            return NO_DRAFT
        self._taken, gamma = plan
        if self._taken.drafter in found:
            return found[self._taken.drafter].first(gamma)
        draft = yield from self._candidates[self._taken.drafter].source.propose(text, gamma, generator)
        if draft.seconds:
            self._learn_draft_time(self._taken.drafter, draft.seconds / len(draft.token_ids))
        return draft

    def _learn_draft_time(self, name: str, seconds: float) -> None:
        known = self._draft_s[name]
        self._draft_s[name] = known * min(seconds / known, 1.5) ** 0.2  # one disturbed step decides nothing


def _offer(candidate: Candidate, most: int, seconds: float, draft: Draft = NO_DRAFT) -> Offer:
    """What a candidate could do, with the draft of one that was asked already."""
    if candidate.prior is not None:
        return Offer(candidate.name, "any", candidate.prior, most, seconds)
    shortest, prior = _kind_of(draft.match_length or 1)
    return Offer(candidate.name, f"match of {shortest} or more", prior, most, seconds)


def _kind_of(match_length: int) -> tuple[int, float]:
    return max((shortest, prior) for shortest, prior in _PRIORS if shortest <= match_length)
