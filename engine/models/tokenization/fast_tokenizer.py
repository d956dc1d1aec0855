"""A model's tokenizer: the tokenizers library's own, as transformers set it up, and what transformers knows of it.

Both can be written down, so that another process has them without transformers, which takes seconds to import.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from tokenizers import Encoding, Tokenizer

from engine.models.tokenization.tokenizer_calls import call
from engine.untrusted import parse_json


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerFacts:
    """What a tokenizer's own file does not say, or only to who reads all of it."""

    vocab_size: int
    """Ids from here up are padding of the matrix, and no token."""
    fingerprint: str
    """The same for two tokenizers whose ids mean the same."""
    stop_ids: tuple[int, ...]
    """What ends an answer, in order."""
    bos_id: int | None
    """The id that is put before every text; ``None`` if none is."""
    unknown_id: int | None
    """Stands for text that has no token."""
    splits_controls: bool
    """Whether control tokens in a text are text, unless said otherwise."""
    template: str
    """The chat template, without tools; empty if the model has none."""
    variables: Mapping[str, str]
    """What a template may ask for beside the messages: the control tokens by name."""

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any]) -> Self:
        """The inverse of :func:`dataclasses.asdict`, through JSON.

        Raises:
            ValueError: something is missing, too much, or of another type.
        """
        if tree.keys() != {field.name for field in fields(cls)}:
            raise ValueError("other facts than these")
        facts = cls(**{**tree, "stop_ids": tuple(tree["stop_ids"])})
        counts = [facts.vocab_size, *facts.stop_ids, *(i for i in (facts.bos_id, facts.unknown_id) if i is not None)]
        texts = [facts.fingerprint, facts.template, *facts.variables.values()]
        if (
            not all(type(count) is int and 0 <= count < 2**31 for count in counts)
            or not all(type(text) is str for text in texts)
            or type(facts.splits_controls) is not bool
        ):
            raise ValueError("a fact of another type")
        return facts


class FastTokenizer:
    """Encodes and decodes as transformers does. Used by one thread at a time."""

    def __init__(self, backend: Tokenizer, facts: TokenizerFacts) -> None:
        """
        Args:
            backend: as transformers has it; this one's from now on.
            facts: what is known of it.
        """
        backend.no_truncation()  # how long a prompt may be is the engine's to say, and it says so in its own words
        backend.no_padding()
        self.backend = backend
        self.facts = facts

    def encode(self, text: str, *, with_bos: bool = False, split_controls: bool | None = None) -> Encoding:
        """The tokens of a text.

        Args:
            text: any.
            with_bos: let it begin and end as this tokenizer wants whole texts to.
            split_controls: whether control tokens in it are text; by default as the tokenizer says.

        Raises:
            InvalidRequestError: the tokenizer cannot do it.
        """
        split = self.facts.splits_controls if split_controls is None else split_controls
        if self.backend.encode_special_tokens != split:
            self.backend.encode_special_tokens = split
        return call(self.backend.encode, text, add_special_tokens=with_bos)

    def decode(self, ids: Sequence[int], *, without_controls: bool) -> str:
        """The text of some ids.

        Raises:
            InvalidRequestError: the tokenizer cannot do it.
        """
        return call(self.backend.decode, list(ids), skip_special_tokens=without_controls)

    def to_bytes(self) -> bytes:
        """All of it, written down."""
        return f"{json.dumps(asdict(self.facts))}\n{self.backend.to_str()}".encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The inverse of :meth:`to_bytes`.

        Raises:
            ValueError: the facts are none.
            InvalidRequestError: the tokenizer is none.
        """
        facts, _, tokenizer = data.partition(b"\n")
        return cls(call(Tokenizer.from_buffer, tokenizer), TokenizerFacts.from_tree(parse_json(facts)))


def fingerprint(vocabulary: Mapping[str, int]) -> str:
    """The same for two vocabularies whose ids mean the same."""
    entries = json.dumps(sorted(vocabulary.items(), key=lambda entry: entry[1]))
    return hashlib.sha256(entries.encode()).hexdigest()
