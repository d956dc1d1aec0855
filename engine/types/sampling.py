"""How the tokens of an answer are chosen."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from engine.errors import InvalidRequestError
from engine.types.requirement import require
from engine.untrusted import parse_json, valid_text

_LARGEST_COUNT = 10**9
MOST_TOP_LOGPROBS = 20
"""Likeliest tokens that are told of with each token."""
_MOST_BIASES = 1024
_LONGEST_SCHEMA = 100_000
"""Characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """How the next token is chosen. Temperature 0 is greedy, and ignores top-p, top-k and seed."""

    temperature: float = 0.0
    top_p: float = 1.0
    """Keep the smallest set of tokens whose probabilities reach this share; 1 keeps all."""
    top_k: int = 0
    """Keep the k likeliest tokens; 0 keeps all."""
    repetition_penalty: float = 1.0
    """Divides the positive and multiplies the negative logits of tokens seen before
    (CTRL, arXiv:1909.05858); 1 is off."""
    seed: int = 0
    max_tokens: int = 256
    stop: tuple[str, ...] = ()
    """Strings that end the answer; they are not part of it."""
    frequency_penalty: float = 0.0
    """Taken from a token's logit for each time that it stands in the answer so far."""
    presence_penalty: float = 0.0
    """Taken from the logit of each token that stands in the answer so far."""
    logit_bias: tuple[tuple[int, float], ...] = ()
    """Token ids, and what is added to the logit of each; kept in the order of the ids."""
    json_schema: str | None = None
    """Holds the answer to JSON of this schema, a JSON text. Properties are written in the schema's order."""
    top_logprobs: int = 0
    """So many of the likeliest tokens are told of with each token."""

    def __post_init__(self) -> None:
        require(math.isfinite(self.temperature) and 0 <= self.temperature <= 5, "Temperature must be between 0 and 5.")
        require(0 < self.top_p <= 1, "Top-p must be above 0 and at most 1.")
        require(0 <= self.top_k <= _LARGEST_COUNT, f"Top-k must be 0 (off) or more, up to {_LARGEST_COUNT:,}.")
        require(0.1 <= self.repetition_penalty <= 5, "Repetition penalty must be between 0.1 and 5.")
        require(0 <= self.seed < 2**63, "Seed must be between 0 and 2^63 − 1.")
        require(1 <= self.max_tokens <= _LARGEST_COUNT, f"Max tokens must be at least 1, up to {_LARGEST_COUNT:,}.")
        require(all(self.stop), "A stop string must not be empty.")
        object.__setattr__(self, "stop", tuple(map(valid_text, self.stop)))
        require(-2 <= self.frequency_penalty <= 2, "Frequency penalty must be between -2 and 2.")
        require(-2 <= self.presence_penalty <= 2, "Presence penalty must be between -2 and 2.")
        require(0 <= self.top_logprobs <= MOST_TOP_LOGPROBS, f"Top logprobs must be between 0 and {MOST_TOP_LOGPROBS}.")
        for name in ("frequency_penalty", "presence_penalty"):
            object.__setattr__(self, name, float(getattr(self, name)))
        object.__setattr__(self, "logit_bias", _checked_bias(self.logit_bias))
        if self.json_schema is not None:
            object.__setattr__(self, "json_schema", _canonical_schema(self.json_schema))

    @property
    def takes_the_likeliest(self) -> bool:
        """Whether each token is the model's own likeliest one, whatever came before."""
        shaped = self.frequency_penalty or self.presence_penalty or self.logit_bias or self.json_schema is not None
        return self.temperature == 0 and self.repetition_penalty == 1 and not shaped

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values. Settings that came later are left out while they are off, so that they change no hash
        of a run without them."""
        defaults = {each.name: each.default for each in fields(self)}
        return {
            name: value
            for name, value in asdict(self).items()
            if name not in _LATER_SETTINGS or value != defaults[name]
        }

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`, from JSON too.

        Raises:
            InvalidRequestError: a value is out of range.
        """
        lists = {"stop": tuple(tree.get("stop", ())), "logit_bias": tuple(map(tuple, tree.get("logit_bias", ())))}
        return cls(**{**tree, **lists})


_LATER_SETTINGS = ("frequency_penalty", "presence_penalty", "logit_bias", "json_schema", "top_logprobs")


def _checked_bias(biases: tuple[tuple[int, float], ...]) -> tuple[tuple[int, float], ...]:
    require(len(biases) <= _MOST_BIASES, f"Logit bias is for at most {_MOST_BIASES:,} tokens.")
    require(all(0 <= token_id < 2**31 for token_id, _ in biases), "Logit bias names a token that is none.")
    require(len({token_id for token_id, _ in biases}) == len(biases), "Logit bias names a token twice.")
    require(all(-100 <= bias <= 100 for _, bias in biases), "Logit bias must be between -100 and 100.")
    return tuple(sorted((int(token_id), float(bias)) for token_id, bias in biases))


def _canonical_schema(text: str) -> str:
    """The same schema without what says nothing; the order of its keys does."""
    require(
        len(text) <= _LONGEST_SCHEMA,
        f"The JSON schema has {len(text):,} characters, and no more than {_LONGEST_SCHEMA:,} are read.",
    )
    try:
        schema = parse_json(text)
    except ValueError as error:
        raise InvalidRequestError(f"The JSON schema is no JSON: {error}.") from error
    require(isinstance(schema, dict), "The JSON schema must be an object.")
    return json.dumps(schema, separators=(",", ":"), ensure_ascii=False)
