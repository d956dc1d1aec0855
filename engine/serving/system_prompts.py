"""Which tokens a system prompt becomes, and whose they are: the session's own, or everybody's by permission."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import date

from engine.cache import CacheIdentity, Ids, SystemPrompt, as_ids
from engine.cache.prefix_index import shared_prefix
from engine.errors import InvalidRequestError
from engine.models.tokenization.tokenizer import ChatTokenizer
from engine.types import SHARED_SALT, Message
from engine.untrusted.confined import patient

LEAST_TOKENS = 16
"""A system prompt shorter than this is not worth an entry of its own."""
KNOWN_PROMPTS = 32
"""System prompts whose tokens are remembered."""


class SystemPrompts:
    """Finds the part of a prompt that is its system prompt."""

    def __init__(self, shared: Mapping[str, str]) -> None:
        """
        Args:
            shared: texts that all sessions may share the KV of, by the names an administrator gave them.
        """
        self._names = {text: name for name, text in shared.items()}
        self._known: OrderedDict[tuple[ChatTokenizer, str, date], Ids] = OrderedDict()

    def of(
        self,
        messages: tuple[Message, ...],
        prompt_ids: Ids,
        identity: CacheIdentity,
        tokenizer: ChatTokenizer,
        waiting: Callable[[], object] = patient,
    ) -> SystemPrompt | None:
        """The system prompt that a request begins with; ``None`` if there is none worth keeping for itself.

        Args:
            messages: the request's; empty for a text that is continued.
            prompt_ids: what they became.
            identity: the request's own.
            tokenizer: the model's.
            waiting: called while the chat template is at work; what it raises ends that and comes out here.
        """
        if not messages or identity.window is not None:  # a window moves its tokens about
            return None
        first = messages[0]
        if first.role != "system":
            return None
        name = self._names.get(first.content)
        salt = None if name is None else SHARED_SALT + name
        ids = self._ids(tokenizer, first.content, waiting)
        system = SystemPrompt(identity.of_system_prompts(salt), ids, first)
        return system if len(ids) >= LEAST_TOKENS and system.begins(prompt_ids) else None

    def _ids(self, tokenizer: ChatTokenizer, text: str, waiting: Callable[[], object]) -> Ids:
        """The first tokens that no question changes. Some templates write the date, so they hold for a day."""
        key = (tokenizer, text, date.today())
        if key not in self._known:
            try:
                one, other = (
                    as_ids(tokenizer.encode_chat([Message("system", text), Message("user", asked)], waiting))
                    for asked in "ab"
                )
                ids = one[: shared_prefix(one, other)]
            except InvalidRequestError:  # the template takes other questions only: there is nothing to keep
                ids = as_ids([])
            self._known[key] = ids
            if len(self._known) > KNOWN_PROMPTS:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return self._known[key]
