"""Text to token ids and back, for one model: chat template, control tokens, end marks."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from engine.errors import InvalidRequestError
from engine.types import Message


class ChatTokenizer:
    """A model's tokenizer, used the way a chat needs it.

    Control tokens come from the template alone: a user who types ``<|im_end|>`` gets those ten
    characters as text, never the token that ends a turn.
    """

    def __init__(self, folder: Path) -> None:
        from transformers import AutoConfig, AutoTokenizer

        # AutoTokenizer, not the bare tokenizer.json: Qwen's class adds the NFC step
        self._hf: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        # how long a prompt may be is the engine's to say, and it says so in its own words
        self._hf.model_max_length = sys.maxsize
        self.vocab_size: int = max(self._hf.get_vocab().values(), default=-1) + 1
        """Ids from here up are padding of the matrix, and no token."""
        self.stop_ids = _stop_ids(self._hf, folder, AutoConfig.from_pretrained(folder, local_files_only=True))
        vocabulary = json.dumps(sorted(self._hf.get_vocab().items(), key=lambda entry: entry[1]))
        self.fingerprint: str = hashlib.sha256(vocabulary.encode()).hexdigest()
        """The same for two tokenizers whose ids mean the same."""
        first: list[int] = self._hf("a")["input_ids"][:1]
        self.bos_id: int | None = first[0] if first == [self._hf.bos_token_id] else None
        """The id that this tokenizer puts before every text; ``None`` if it puts none."""
        special: list[str] = [
            token.content for token in self._hf.added_tokens_decoder.values() if token.special and token.content
        ]
        self._special_pattern = (
            re.compile("|".join(re.escape(token) for token in sorted(special, key=len, reverse=True)))
            if special
            else None
        )

    def encode_chat(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a conversation, up to where the assistant's answer begins.

        An answer whose own tokens are known is given back in these, as the model wrote it.

        A model without a chat template gets the messages' text, a blank line between them.

        Raises:
            InvalidRequestError: the template does not take such messages (a system prompt, for one).
        """
        if not self._hf.chat_template:
            text = "\n\n".join(message.content for message in messages)
            ids: list[int] = self._hf(text, split_special_tokens=True)["input_ids"]
            return ids
        shield, contents = self._shield([message.content for message in messages])
        roles = [message.role for message in messages]
        known = self._known_answers(messages, shield)
        rendered = self._render(roles, [known_char or c for known_char, c in zip(known, contents, strict=True)])
        written = {char: message.token_ids for char, message in zip(known, messages, strict=True) if char}
        if any(rendered.count(char) != 1 for char in written):  # this template rewrites what was said
            return self._encode_rendered(self._render(roles, contents), shield)
        ids = []
        pieces = re.split(f"([{''.join(written)}])", rendered) if written else [rendered]
        for piece in pieces:
            answer = written.get(piece)
            ids += self._encode_rendered(piece, shield) if answer is None else _without_end(answer, self.stop_ids)
        return ids

    def _known_answers(self, messages: Sequence[Message], shield: dict[str, str]) -> list[str | None]:
        """For each message whose tokens are known and spell it, a character to stand for it, that occurs nowhere."""
        taken = {*shield, *(char for message in messages for char in message.content)}
        free = (char for code in range(0xF0000, 0xFFFFD) if (char := chr(code)) not in taken)
        return [
            next(free) if m.role == "assistant" and m.token_ids and self.decode(m.token_ids) == m.content else None
            for m in messages
        ]

    def _render(self, roles: Sequence[str], contents: Sequence[str]) -> str:
        turns = [{"role": role, "content": content} for role, content in zip(roles, contents, strict=True)]
        try:
            rendered: str = self._hf.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        except TemplateError as error:
            raise InvalidRequestError(f"This model's chat template refuses these messages: {error}.") from error
        return rendered

    def encode_document(self, text: str) -> list[int]:
        """Token ids of running text, no chat template around it; begins with :attr:`bos_id` if there is one."""
        return [*([] if self.bos_id is None else [self.bos_id]), *self._encode_text(text)]

    def token_text(self, token_id: int) -> str:
        """One token as it is spelled on its own, control tokens included."""
        return self.spell([token_id])

    def spell(self, ids: Sequence[int]) -> str:
        """The text of some ids, control tokens included."""
        text: str = self._hf.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some ids, control tokens left out."""
        text: str = self._hf.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def _shield(self, contents: list[str]) -> tuple[dict[str, str], list[str]]:
        """Replace control tokens typed in the contents by characters that occur nowhere in them."""
        if self._special_pattern is None:
            return {}, contents
        taken = set().union(*contents)
        free = (chr(code) for code in range(0xF0000, 0xFFFFD) if chr(code) not in taken)
        typed = {token for content in contents for token in self._special_pattern.findall(content)}
        stand_in = dict(zip(sorted(typed), free, strict=False))
        shielded = [self._special_pattern.sub(lambda match: stand_in[match[0]], content) for content in contents]
        return {char: token for token, char in stand_in.items()}, shielded

    def _encode_rendered(self, rendered: str, shield: dict[str, str]) -> list[int]:
        """Tokenize a rendered template: its own control tokens by id, all between them as text.

        A control token always splits the text, so encoding the parts alone changes nothing.
        """
        if self._special_pattern is None:
            return self._encode_text(rendered)
        ids: list[int] = []
        end = 0
        unshield = str.maketrans(shield)
        for match in self._special_pattern.finditer(rendered):
            ids += self._encode_text(rendered[end : match.start()].translate(unshield))
            ids.append(self._hf.convert_tokens_to_ids(match[0]))
            end = match.end()
        return ids + self._encode_text(rendered[end:].translate(unshield))

    def _encode_text(self, text: str) -> list[int]:
        if not text:
            return []
        ids: list[int] = self._hf(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return ids


def _without_end(token_ids: Sequence[int], stop_ids: frozenset[int]) -> Sequence[int]:
    """An answer without its end mark, which the template puts there itself."""
    return token_ids[:-1] if token_ids[-1] in stop_ids else token_ids


def _stop_ids(tokenizer: Any, folder: Path, config: Any) -> frozenset[int]:
    """Every id that ends an answer: what the tokenizer, the model and its generation settings say."""
    stated = [tokenizer.eos_token_id, config.eos_token_id]
    generation = folder / "generation_config.json"
    if generation.exists():
        stated.append(json.loads(generation.read_text()).get("eos_token_id"))
    for token in ("<|im_end|>", "<|endoftext|>", "<|eot_id|>"):
        if token in tokenizer.get_vocab():
            stated.append(tokenizer.convert_tokens_to_ids(token))
    flat = [i for entry in stated for i in (entry if isinstance(entry, list) else [entry])]
    return frozenset(i for i in flat if i is not None)
