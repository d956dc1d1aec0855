"""Why a prompt was not reused further: where it parted from what is kept, and what most likely made it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from engine.cache.prefix_index import CacheIdentity, Entry, Evicted, EvictionReason, Ids, PrefixIndex, shared_prefix
from engine.cache.system_prompt import SystemPrompt, within_reach
from engine.types import SHARED_SALT, CacheReport, Message, MissCause

SHOWN_TOKENS = 12
"""Tokens told of either side of a parting."""
WORTH_TELLING = 8
"""So many tokens more than what was reused must a sequence out of reach offer to be named as the cause."""

Sequenced = Entry[Any] | Evicted


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A sequence that had more to give than was reused, had it only been within reach."""

    sequence: Sequenced
    tokens: int
    cause: MissCause
    detail: str


def explain(
    index: PrefixIndex[Any],
    identity: CacheIdentity,
    ids: Ids,
    messages: Sequence[Message],
    spell: Callable[[Sequence[int]], str],
    *,
    cold: bool,
    system: SystemPrompt | None = None,
    retokenized: Mapping[int, str] = MappingProxyType({}),
) -> CacheReport:
    """What the cache has for a prompt, and why not more. To be asked before the prompt is lent anything.

    Args:
        index: what is kept, and what has left.
        identity: the request's.
        ids: its prompt.
        messages: what the prompt says; empty for a text that is continued.
        spell: token ids as text, control tokens included.
        cold: the request wants nothing reused.
        system: what the prompt begins with, and whose that is.
        retokenized: answers, by the place of their message, that could not be given back in their own tokens, and
            why: a clause.
    """
    most = len(ids) - 1
    reach = within_reach(identity, system)
    nearest, conversation = index.nearest(reach, ids), index.nearest([identity], ids)
    if nearest and conversation and conversation.tokens == nearest.tokens:
        nearest = conversation  # it knows more of where the two part
    tokens = min(nearest.tokens, most) if nearest else 0
    if cold:
        return _report(MissCause.COLD, tokens, lost=tokens, detail="This run was asked to start cold.")
    # of several that would have given as much, what the session itself could have kept
    beyond = max(
        _out_of_reach(index, identity, reach, ids),
        key=lambda candidate: (min(candidate.tokens, most), candidate.cause is not MissCause.SESSION),
        default=None,
    )
    if beyond and (found := min(beyond.tokens, most)) >= tokens + WORTH_TELLING:
        shown = beyond.cause is not MissCause.SESSION
        parting = _parting(beyond.sequence.ids, ids, spell) if shown else (None, "", "")
        return _report(beyond.cause, found, lost=found - tokens, detail=beyond.detail, parting=parting)
    if nearest is None:
        return _report(MissCause.NOTHING, 0, lost=0, detail="Nothing that begins like this prompt has been kept.")
    kept = nearest.kept
    if nearest.tokens == len(kept.ids) or nearest.tokens >= most:
        return _report(None, tokens, lost=0, detail=_all_reused(kept.identity))
    at = _first_difference(kept.messages, messages)
    if messages and at == len(messages) - 1:
        return _report(None, tokens, lost=0, detail="All that stands before the new question was reused.")
    if messages:
        cause, detail = _difference(kept.messages, messages, at, retokenized)
    else:
        cause, detail = MissCause.TURN, "The text differs from there on: edited, or another one."
    lost = min(len(kept.ids), most) - tokens
    return _report(cause, tokens, lost=lost, detail=detail, parting=_parting(kept.ids, ids, spell))


def _all_reused(identity: CacheIdentity) -> str:
    if not identity.is_system:
        return "All that was kept of this conversation was reused."
    if identity.salt.startswith(SHARED_SALT):
        return f"The system prompt shared as “{identity.salt.removeprefix(SHARED_SALT)}” was reused."
    return "The system prompt, kept for itself, was reused."


def _out_of_reach(
    index: PrefixIndex[Any], identity: CacheIdentity, reach: Collection[CacheIdentity], ids: Ids
) -> Iterable[_Candidate]:
    """Sequences that would have to be within the request's reach, or still to be there."""
    for left in index.evicted():
        if left.identity in reach:
            detail = _EVICTED[left.reason]
            yield _Candidate(left, shared_prefix(left.ids, ids), MissCause.EVICTED, detail)
    for kept in index.kept():
        other = kept.identity
        if other in reach or other.weights_sha256 != identity.weights_sha256:
            continue
        if other.salt in {one.salt for one in reach}:
            cause, detail = MissCause.CONFIGURATION, _other_configuration(other, identity)
        elif other.computation() == identity.computation() and not other.salt.startswith(SHARED_SALT):
            cause, detail = MissCause.SESSION, "What is kept belongs to another person, and is theirs alone."
        else:
            continue
        yield _Candidate(kept, shared_prefix(kept.ids, ids), cause, detail)


_EVICTED = {
    EvictionReason.BUDGET: "It was kept, and left when the cache's budget ran out.",
    EvictionReason.MEMORY: "It was kept, and left when the machine's memory ran out.",
    EvictionReason.DISTRUSTED: "It was kept, and left because recomputing it gave other logits.",
}


def _other_configuration(kept: CacheIdentity, wanted: CacheIdentity) -> str:
    if kept.precision != wanted.precision:
        return f"What is kept was computed in {kept.precision}, and this run is in {wanted.precision}."
    if kept.kv_dtype != wanted.kv_dtype:
        return f"What is kept are keys and values in {kept.kv_dtype}, and this run's are in {wanted.kv_dtype}."
    if kept.window != wanted.window:
        return "What is kept was computed with another sliding window."
    return f"What is kept was computed by another kernel ({kept.kernel})."


def _first_difference(kept: Sequence[Message], came: Sequence[Message]) -> int | None:
    """The first message in which two conversations differ; ``None`` if one only goes on where the other ends."""
    pairs = enumerate(zip(kept, came, strict=False))
    return next((at for at, (old, new) in pairs if (old.role, old.content) != (new.role, new.content)), None)


def _difference(
    kept: Sequence[Message], came: Sequence[Message], at: int | None, retokenized: Mapping[int, str]
) -> tuple[MissCause, str]:
    """What a difference in message ``at`` says."""
    if at is None and (place := min((place for place in retokenized if place < len(kept)), default=None)) is not None:
        turn = sum(message.role == "user" for message in came[:place])
        detail = f"The answer of turn {turn} was read anew and not in its own tokens: {retokenized[place]}."
        return MissCause.TEMPLATE, detail
    if at is None:
        return MissCause.TEMPLATE, "The same messages became other tokens: the chat template writes the history anew."
    if "system" in (kept[at].role, came[at].role):
        return MissCause.SYSTEM_PROMPT, "The system prompt differs."
    turn = sum(message.role == "user" for message in came[: at + 1])
    if came[at].role == "assistant":
        return MissCause.TURN, f"The answer of turn {turn} differs: answered anew, or edited."
    if turn == 1:
        return MissCause.TURN, "The first question differs: edited, or another conversation."
    return MissCause.TURN, f"The question of turn {turn} differs: edited."


def _parting(kept: Ids, came: Ids, spell: Callable[[Sequence[int]], str]) -> tuple[int | None, str, str]:
    at = shared_prefix(kept, came)
    if at == len(kept):
        return None, "", ""
    return at, spell(kept[at : at + SHOWN_TOKENS].tolist()), spell(came[at : at + SHOWN_TOKENS].tolist())


def _report(
    cause: MissCause | None,
    nearest_tokens: int,
    *,
    lost: int,
    detail: str,
    parting: tuple[int | None, str, str] = (None, "", ""),
) -> CacheReport:
    at, kept_text, came_text = parting
    return CacheReport(
        cause=cause,
        nearest_tokens=nearest_tokens,
        parted_at=at,
        kept_text=kept_text,
        came_text=came_text,
        detail=detail,
        lost_tokens=lost,
    )
