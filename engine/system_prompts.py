"""Which tokens a system prompt becomes, and whose they are: the session's own, or everybody's by permission."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from functools import lru_cache

from engine.cache import CacheIdentity, Ids, SystemPrompt, as_ids
from engine.cache.prefix_index import shared_prefix
from engine.models.tokenizer import ChatTokenizer
from engine.types import SHARED_SALT, Message

LEAST_TOKENS = 16
"""A system prompt shorter than this is not worth an entry of its own."""


class SystemPrompts:
    """Finds the part of a prompt that is its system prompt."""

    def __init__(self, shared: Mapping[str, str]) -> None:
        """
        Args:
            shared: texts that all sessions may share the KV of, by the names an administrator gave them.
        """
        self._names = {text: name for name, text in shared.items()}

    def of(
        self, messages: tuple[Message, ...], prompt_ids: Ids, identity: CacheIdentity, tokenizer: ChatTokenizer
    ) -> SystemPrompt | None:
        """The system prompt that a request begins with; ``None`` if there is none worth keeping for itself.

        Args:
            messages: the request's.
            prompt_ids: what they became.
            identity: the request's own.
            tokenizer: the model's.
        """
        first = messages[0]
        if first.role != "system" or identity.window is not None:  # a window moves its tokens about
            return None
        name = self._names.get(first.content)
        salt = None if name is None else SHARED_SALT + name
        ids = _system_ids(tokenizer, first.content, date.today())
        system = SystemPrompt(identity.of_system_prompts(salt), ids, first)
        return system if len(ids) >= LEAST_TOKENS and system.begins(prompt_ids) else None


@lru_cache(maxsize=32)
def _system_ids(tokenizer: ChatTokenizer, text: str, today: date) -> Ids:
    """The first tokens that no question changes. Some templates write the date, so they hold for a day."""
    one, other = (as_ids(tokenizer.encode_chat([Message("system", text), Message("user", asked)])) for asked in "ab")
    return one[: shared_prefix(one, other)]
