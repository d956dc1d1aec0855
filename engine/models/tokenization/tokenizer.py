"""Text to token ids and back, for one model: chat template, control tokens, end marks."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from engine.errors import InvalidRequestError
from engine.models.tokenization.chat_encoder import ChatEncoder
from engine.models.tokenization.chat_template import ChatTemplate
from engine.models.tokenization.fast_tokenizer import FastTokenizer
from engine.models.tokenization.rendered_chat import plain_text, render_chat
from engine.models.tokenization.tokenizer_calls import call
from engine.models.tokenization.typed_controls import TypedControls
from engine.types import GenerationRequest, Message
from engine.untrusted.confined import patient


@dataclass(frozen=True, slots=True)
class ChatPrompt:
    """A conversation as a model reads it."""

    ids: list[int]
    retokenized: Mapping[int, str] = field(default_factory=dict)
    """Answers whose own tokens could not be given back, by the place of their message, and why: a clause."""


class ChatTokenizer:
    """A model's tokenizer, used the way a chat needs it.

    Control tokens come from the template alone: a user who types ``<|im_end|>`` gets those ten
    characters as text, never the token that ends a turn.
    """

    def __init__(self, tokenizer: FastTokenizer) -> None:
        """
        Args:
            tokenizer: the model's; this one's from now on.
        """
        self._tokenizer = tokenizer
        facts = tokenizer.facts
        self.vocab_size = facts.vocab_size
        """Ids from here up are padding of the matrix, and no token."""
        self.stop_ids = frozenset(facts.stop_ids)
        self.fingerprint = facts.fingerprint
        """The same for two tokenizers whose ids mean the same."""
        self.bos_id = facts.bos_id
        """The id that this tokenizer puts before every text; ``None`` if it puts none."""
        self.control_tokens: Mapping[int, str] = {
            i: token.content
            for i, token in tokenizer.backend.get_added_tokens_decoder().items()
            if token.special and token.content
        }
        """What begins and ends turns, and is no part of what is said, by id."""
        self._template = ChatTemplate(facts.template, facts.variables) if facts.template else None
        self._typed = TypedControls(tokenizer, self.control_tokens)
        self._encoder = ChatEncoder(tokenizer, self.control_tokens)

    def prepare(self, waiting: Callable[[], object] = patient) -> None:
        """Do once what the first conversation would have to wait for.

        Args:
            waiting: called every 50 ms meanwhile; what it raises comes out here.

        Raises:
            InvalidRequestError: the model's chat template cannot be run.
        """
        if self._template:
            self._template.prepare(waiting)

    def encode_chat(self, messages: Sequence[Message], waiting: Callable[[], object] = patient) -> list[int]:
        """The ids of :meth:`read_chat`."""
        return self.read_chat(messages, waiting).ids

    def read_chat(self, messages: Sequence[Message], waiting: Callable[[], object] = patient) -> ChatPrompt:
        """Token ids of a conversation, up to where the assistant's answer begins: those that transformers gives.

        An answer whose own tokens are known is given back in these, as the model wrote it, where that changes nothing
        of what the template says. A model without a chat template gets the messages' text, a blank line between them.

        Args:
            messages: what was said.
            waiting: called every 50 ms while the template is at work; what it raises ends that and comes out here.

        Raises:
            InvalidRequestError: the template does not take such messages (a system prompt, for one), or cannot be run.
        """
        if self._template is None:
            text = "\n\n".join(message.content for message in messages)
            plain = self._tokenizer.encode(text, with_bos=True, split_controls=True).ids
            if not plain:
                raise InvalidRequestError("This model's tokenizer makes no tokens of these messages.")
            return ChatPrompt(plain)
        own = {place: ids for place, message in enumerate(messages) if (ids := self._own_tokens(message))}
        chat = render_chat(self._template, messages, self._typed.find, own.keys(), waiting)
        encoded = self._encoder.encode(chat)
        if not encoded.ids:
            raise InvalidRequestError("This model's chat template makes no text of these messages.")
        found = {place: ids for place, ids in own.items() if place in encoded.answers}
        ids, kept_out = self._encoder.with_own_tokens(encoded, found)
        retokenized = dict.fromkeys(own.keys() - found.keys(), "the chat template does not repeat it word for word")
        retokenized |= dict.fromkeys(
            kept_out, "in the chat template's text it shares a token with what stands beside it"
        )
        return ChatPrompt(ids, retokenized)

    @cached_property
    def for_grammars(self) -> Any:
        """The same vocabulary as llguidance wants it: an ``LLTokenizer`` with :attr:`stop_ids` as its end marks and
        all control tokens forbidden. Takes a second or more to make.

        Raises:
            InvalidRequestError: it cannot be made of this tokenizer, or nothing ends this model's answers.
        """
        from llguidance import LLTokenizer

        ends = sorted(token_id for token_id in self.stop_ids if token_id < self.vocab_size)
        if not ends:
            raise InvalidRequestError("No answer of this model can be held to a JSON schema: it has no end mark.")
        tree = json.loads(self._tokenizer.backend.to_str())
        # tokens that were added after it was read are none of the model's
        tree["added_tokens"] = [token for token in tree["added_tokens"] if token["id"] < self.vocab_size]
        tree["padding"] = tree["truncation"] = None
        before = tree["pre_tokenizer"] or {}
        for step in (before, *before.get("pretokenizers", ())):
            if "add_prefix_space" in step:  # what is read for grammars never stands at a text's beginning
                step["add_prefix_space"] = False
        source, slices = json.dumps(tree, ensure_ascii=False), LLTokenizer.json_slices()
        try:
            return call(LLTokenizer, source, n_vocab=self.vocab_size, eos_token=ends, slices=slices)
        except InvalidRequestError as error:
            raise InvalidRequestError(
                "No answer of this model can be held to a JSON schema: its tokenizer is of a kind that this cannot be "
                f"done with ({error.__cause__!s:.200})."
            ) from error

    def read_prompt(self, request: GenerationRequest, waiting: Callable[[], object] = patient) -> ChatPrompt:
        """What a request asks to be read: its messages as :meth:`read_chat` says, or its text as it is.

        Args:
            request: what is asked.
            waiting: as for :meth:`read_chat`.

        Raises:
            InvalidRequestError: as :meth:`read_chat`, or the text has no tokens.
        """
        if request.completion is None:
            return self.read_chat(request.messages, waiting)
        ids = self._encode_plain(request.completion)
        if not ids:
            raise InvalidRequestError("This model's tokenizer makes no tokens of this text.")
        return ChatPrompt(ids)

    def encode_document(self, text: str) -> list[int]:
        """Token ids of running text, no chat template around it; begins with :attr:`bos_id` if there is one."""
        return [*([] if self.bos_id is None else [self.bos_id]), *self._encode_text(text)]

    def _encode_plain(self, text: str) -> list[int]:
        """A document in which every control token that somebody typed is text."""
        ids = self.encode_document(text)
        own = 0 if self.bos_id is None else 1
        if self.control_tokens.keys().isdisjoint(ids[own:]):
            return ids
        # the vocabulary holds control tokens among its words, or has one for what it does not know
        return [*ids[:own], *self._encoder.encode(plain_text(text, self._typed.find)).ids]

    def token_text(self, token_id: int) -> str:
        """One token as it is spelled on its own, control tokens included."""
        return self.spell([token_id])

    def spell(self, ids: Sequence[int]) -> str:
        """The text of some ids, control tokens included."""
        return self._tokenizer.decode(ids, without_controls=False)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some ids, control tokens left out."""
        return self._tokenizer.decode(ids, without_controls=True)

    def _own_tokens(self, message: Message) -> Sequence[int]:
        """The tokens that an answer was written in, without its end mark; none if they are not known or do not spell
        it."""
        ids = message.token_ids
        if message.role != "assistant" or not all(0 <= token_id < self.vocab_size for token_id in ids):
            return ()
        while ids and (ids[-1] in self.stop_ids or ids[-1] in self.control_tokens):
            ids = ids[:-1]
        return ids if self.decode(ids) == message.content else ()

    def _encode_text(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, split_controls=True).ids if text else []
