"""What an answer's comparison, token by token, says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TokenChance:
    """A token and the probability a model gives it."""

    token_id: int
    text: str
    """As the tokenizer spells it on its own; control tokens are shown."""
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerToken:
    """One token of the answer, as both models see it."""

    token_id: int
    text: str
    """The text it adds to the answer; all of them joined are the answer. Empty for a part of a
    character and for the end mark."""
    kld: float
    """Σ p (log p − log q), in nats."""
    delta_p: float
    """q − p of this token."""
    p: float
    """The 16-bit model's probability of this token."""
    q: float
    """The candidate's."""
    flip: bool
    """Whether the two models' likeliest tokens differ here."""
    reference_top: tuple[TokenChance, ...]
    """The 16-bit model's five likeliest, likeliest first."""
    candidate_top: tuple[TokenChance, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstDifference:
    """Where the two models' greedy answers part, and how close that call was."""

    index: int
    """Of the token in the answer; all before it are the same in both."""
    candidate_choice: TokenChance
    """What the candidate wrote, with its own probability."""
    reference_choice: TokenChance
    """What the 16-bit model would have written, with its own probability."""
    candidate_gap: float
    """Logit of the candidate's choice − logit of the other, in the candidate."""
    reference_gap: float
    """Logit of the 16-bit model's choice − logit of the other, in the 16-bit model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerDivergence:
    """An answer read by both models."""

    tokens: tuple[AnswerToken, ...]
    first_difference: FirstDifference | None
    """``None`` where the answers do not part, and where the answer was not a greedy one: only along
    the candidate's own greedy answer does the first flip tell where the 16-bit model would leave it."""
