"""Text to token ids and back, for one model: chat template, control tokens, end marks."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from engine.errors import InvalidRequestError
from engine.models.format.gate import LARGEST_TOKENIZER
from engine.models.tokenization.chat_encoder import ChatEncoder
from engine.models.tokenization.chat_template import ChatTemplate
from engine.models.tokenization.rendered_chat import plain_text, render_chat
from engine.models.tokenization.stop_ids import stated_stop_ids
from engine.models.tokenization.tokenizer_calls import call
from engine.models.tokenization.typed_controls import TypedControls
from engine.types import GenerationRequest, Message
from engine.untrusted import read_json_file
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

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            InvalidRequestError: the chat template is none, or the settings that say where answers end are none.
        """
        from transformers.models.auto.configuration_auto import AutoConfig
        from transformers.models.auto.tokenization_auto import AutoTokenizer

        _check_stated_template(folder)
        # AutoTokenizer, not the bare tokenizer.json: Qwen's class adds the NFC step
        self._hf: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        # how long a prompt may be is the engine's to say, and it says so in its own words
        self._hf.model_max_length = sys.maxsize
        self.vocab_size: int = max(self._hf.get_vocab().values(), default=-1) + 1
        """Ids from here up are padding of the matrix, and no token."""
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        self.stop_ids = stated_stop_ids(self._hf, folder, config)
        vocabulary = json.dumps(sorted(self._hf.get_vocab().items(), key=lambda entry: entry[1]))
        self.fingerprint: str = hashlib.sha256(vocabulary.encode()).hexdigest()
        """The same for two tokenizers whose ids mean the same."""
        first: list[int] = self._hf("a")["input_ids"][:1]
        self.bos_id: int | None = first[0] if first == [self._hf.bos_token_id] else None
        """The id that this tokenizer puts before every text; ``None`` if it puts none."""
        self.control_tokens: Mapping[int, str] = {
            i: token.content for i, token in self._hf.added_tokens_decoder.items() if token.special and token.content
        }
        """What begins and ends turns, and is no part of what is said, by id."""
        source = _template_source(self._hf)
        self._template = ChatTemplate(source, self._hf.special_tokens_map) if source else None
        self._typed = TypedControls(self._hf, self.control_tokens)
        self._encoder = ChatEncoder(self._hf, self.control_tokens)

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
            ids = call(self._hf, text, split_special_tokens=True)["input_ids"]
            if not ids:
                raise InvalidRequestError("This model's tokenizer makes no tokens of these messages.")
            return ChatPrompt(ids)
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
        tree = json.loads(self._hf.backend_tokenizer.to_str())
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
        text: str = call(self._hf.decode, list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some ids, control tokens left out."""
        text: str = call(self._hf.decode, list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

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
        if not text:
            return []
        ids: list[int] = call(self._hf, text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return ids


def _check_stated_template(folder: Path) -> None:
    """Refuse what transformers would stumble over."""
    path = folder / "tokenizer_config.json"
    if not path.is_file():
        return
    try:
        stated = read_json_file(path, LARGEST_TOKENIZER)
    except ValueError as error:
        raise InvalidRequestError(f"{path.name} of this model cannot be read: {error}.") from error
    template = stated.get("chat_template") if isinstance(stated, dict) else None
    named = template if isinstance(template, list) else []
    if not isinstance(template, str | list | dict | None) or not all(
        isinstance(entry, dict) and isinstance(entry.get("name"), str) and isinstance(entry.get("template"), str)
        for entry in named
    ):
        raise InvalidRequestError(
            f"The chat template in {path.name} of this model is none: a text is needed, or a list of names and texts."
        )


def _template_source(tokenizer: Any) -> str:
    """The template for chats without tools; empty if the model has none."""
    templates = tokenizer.chat_template
    if not isinstance(templates, dict):
        return str(templates or "")
    if "default" not in templates:
        raise InvalidRequestError(
            f"This model has several chat templates ({', '.join(map(str, templates))}), and none is its default."
        )
    return str(templates["default"])
