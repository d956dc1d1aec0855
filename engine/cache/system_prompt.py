"""A system prompt kept for itself, beside the conversations that begin with it."""

from __future__ import annotations

from dataclasses import dataclass

from engine.cache.prefix_index import CacheIdentity, Ids, Work, shared_prefix
from engine.types import Message


@dataclass(frozen=True, slots=True, eq=False)
class SystemPrompt:
    """The tokens that every conversation with one system prompt begins with."""

    identity: CacheIdentity
    """Whose it is kept as: the session's own, or the salt under which an administrator shares it."""
    ids: Ids
    message: Message

    def begins(self, prompt_ids: Ids) -> bool:
        """Whether a prompt begins with all of it. Some templates write it further on."""
        return shared_prefix(self.ids, prompt_ids) == len(self.ids)

    def work(self, pace_s: float) -> Work:
        """What computing it has cost, at so many seconds a token."""
        return Work(len(self.ids), len(self.ids) * pace_s)


def within_reach(identity: CacheIdentity, system: SystemPrompt | None) -> tuple[CacheIdentity, ...]:
    """Whose sequences a request may begin from: its session's own, and what is shared of its system prompt."""
    own = (identity, identity.of_system_prompts())
    return (*own, system.identity) if system and system.identity not in own else own
