"""How many tokens to draft, and with whom: what gives the most tokens a second, or nothing.

A round of γ drafted tokens, each accepted with probability α, gives (1 − α^(γ+1)) / (1 − α) tokens in the time of γ
drafted ones and one pass over γ + 1 rows (arXiv:2211.17192, equation 1). α is learned while the answer is written.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.speculation.step_times import StepTimes
from engine.types import ControllerNote, ControllerState

_PRIOR_WEIGHT = 4.0
"""Observations that a first guess of the acceptance counts for."""
_DECAY = 0.97
"""What an observation still counts for at the next one: an answer goes from code to prose and back."""
_MARGIN = 1.05
"""A round must be expected to be so much faster than plain decoding: below it, being wrong costs more."""
_FIRST_PAUSE, _LONGEST_PAUSE = 8, 128
"""Chances to draft that are let pass before one is tried again; doubled every time it fails."""
_PROBE_GAMMA = 2


def expected_tokens(acceptance: float, gamma: int) -> float:
    """Of one round, the model's own token included: Σ αⁱ for i = 0 … γ."""
    if acceptance >= 1:
        return gamma + 1.0
    return float((1 - acceptance ** (gamma + 1)) / (1 - acceptance))


def predicted_speedup(
    acceptance: float, gamma: int, relative_cost: float, verify_cost: float, beside: int = 0
) -> float:
    """Tokens a second against plain decoding (arXiv:2211.17192, theorem 3.8, with a cost of verification), those of
    other sequences in the same pass included.

    Args:
        acceptance: α, 0 to 1.
        gamma: tokens drafted in a round.
        relative_cost: c, a drafted token's time / a plain step's.
        verify_cost: v, the time of a pass over γ + 1 rows / a plain step's, others' rows included in both.
        beside: other sequences' rows in the pass, each of which gives them a token.
    """
    tokens = (expected_tokens(acceptance, gamma) + beside) / (1 + beside)
    return tokens / (gamma * relative_cost + verify_cost)


@dataclass(slots=True)
class Acceptance:
    """An estimate of how often a drafted token is accepted."""

    prior: float
    _accepted: float = 0.0
    _looked_at: float = 0.0

    @property
    def rate(self) -> float:
        """Expected share, 0 to 1."""
        return (self.prior * _PRIOR_WEIGHT + self._accepted) / (_PRIOR_WEIGHT + self._looked_at)

    def observe(self, drafted: int, accepted: int) -> None:
        """Of so many drafted tokens the first so many were accepted; after the first refusal none is looked at."""
        self._accepted = self._accepted * _DECAY + accepted
        self._looked_at = self._looked_at * _DECAY + accepted + (accepted < drafted)


@dataclass(frozen=True, slots=True)
class Offer:
    """What a drafter could do in this round."""

    drafter: str
    kind: str
    """Rounds of one kind are accepted alike: for n-grams, those that rest on about as long a match."""
    prior: float
    """First guess of the acceptance."""
    most: int
    """Tokens that it can draft."""
    seconds_per_token: float
    """What a drafted token costs."""


@dataclass(slots=True)
class _Pause:
    """The standing of one kind of rounds: whether they are drafted, and when they are next tried."""

    state: ControllerState = "drafting"
    length: int = _FIRST_PAUSE
    waited: int = 0


@dataclass(slots=True)
class Controller:
    """Decides for one run."""

    times: StepTimes
    gamma: int | None = None
    """Always so many, if they can be had; ``None`` to choose."""
    rows_beside: int = 0
    """Other sequences' rows in the latest pass: they wait for a longer one too."""
    notes: list[ControllerNote] = field(default_factory=list)
    _acceptances: dict[tuple[str, str], Acceptance] = field(default_factory=dict)
    _pauses: dict[tuple[str, str], _Pause] = field(default_factory=dict)

    def choose(self, offers: list[Offer], at: int) -> tuple[Offer, int] | None:
        """The offer to take up and the tokens to draft, or ``None`` for a plain step.

        Args:
            offers: what there is, each for at least one token.
            at: index of the next token in the answer, for the notes.
        """
        if self.gamma is not None:
            best = max(offers, key=lambda offer: self._acceptance(offer).rate, default=None)
            gamma = min(self.gamma, best.most) if best else 0
            return (best, gamma) if best and gamma else None
        plans = [(offer, *self._best_gamma(offer)) for offer in offers]
        plans.sort(key=lambda plan: plan[2], reverse=True)
        for offer, gamma, speedup in plans:
            pause = self._pauses.setdefault((offer.drafter, offer.kind), _Pause())
            if speedup >= _MARGIN:
                self._turn(offer, pause, "drafting", at, speedup)
                return offer, gamma
            if pause.state == "drafting":
                pause.waited = 0
                self._turn(offer, pause, "paused", at, speedup)
            pause.waited += 1
            if pause.waited > pause.length:
                pause.waited, pause.length = 0, min(2 * pause.length, _LONGEST_PAUSE)
                self._turn(offer, pause, "probing", at, speedup)
                return offer, min(_PROBE_GAMMA, offer.most)
        return None

    def observe(self, offer: Offer, drafted: int, accepted: int) -> None:
        """What became of a round."""
        self._acceptance(offer).observe(drafted, accepted)

    def acceptance(self, offer: Offer) -> float:
        """The share of this offer's tokens that is expected to be accepted."""
        return self._acceptance(offer).rate

    def _best_gamma(self, offer: Offer) -> tuple[int, float]:
        """Tokens to draft and the speed-up over plain decoding that they are expected to give."""
        rate, beside = self._acceptance(offer).rate, self.rows_beside
        plain = self.times.seconds(1 + beside)

        def speedup(gamma: int) -> float:
            cost, verifying = offer.seconds_per_token / plain, self.times.seconds(gamma + 1 + beside) / plain
            return predicted_speedup(rate, gamma, cost, verifying, beside)

        best = max(range(1, offer.most + 1), key=speedup)
        return best, speedup(best)

    def _acceptance(self, offer: Offer) -> Acceptance:
        return self._acceptances.setdefault((offer.drafter, offer.kind), Acceptance(offer.prior))

    def _turn(self, offer: Offer, pause: _Pause, state: ControllerState, at: int, speedup: float) -> None:
        if pause.state == state:
            return
        if state == "drafting":
            pause.length = _FIRST_PAUSE
        pause.state = state
        self.notes.append(
            ControllerNote(
                at=at,
                drafter=offer.drafter,
                kind=offer.kind,
                state=state,
                acceptance=self._acceptance(offer).rate,
                speedup=speedup,
            )
        )
