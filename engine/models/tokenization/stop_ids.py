"""Which tokens end a model's answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.errors import InvalidRequestError
from engine.models.format.gate import LARGEST_SETTINGS
from engine.untrusted import read_json_file

STOP_TOKENS = ("<|im_end|>", "<|endoftext|>", "<|eot_id|>")
"""End marks, whichever of them a model's files name."""


def stated_stop_ids(tokenizer: Any, folder: Path, config: Any) -> frozenset[int]:
    """Every id that ends an answer: what the tokenizer, the model and its generation settings say.

    Ids that the model's table does not hold are never chosen, and are left out.

    Args:
        tokenizer: transformers'.
        folder: may hold ``generation_config.json``.
        config: transformers', of the model.

    Raises:
        InvalidRequestError: a file says something that is no id.
    """
    vocabulary = tokenizer.get_vocab()
    stated = [tokenizer.eos_token_id, *(vocabulary[token] for token in STOP_TOKENS if token in vocabulary)]
    stated += _ids(config.eos_token_id, "config.json")
    path = folder / "generation_config.json"
    if path.is_file():
        try:
            generation = read_json_file(path, LARGEST_SETTINGS)
        except ValueError as error:
            raise InvalidRequestError(f"{path.name} of this model cannot be read: {error}.") from error
        if not isinstance(generation, dict):
            raise InvalidRequestError(f"{path.name} of this model cannot be read: it is no JSON object.")
        stated += _ids(generation.get("eos_token_id"), path.name)
    return frozenset(i for i in stated if i is not None and 0 <= i < config.vocab_size)


def _ids(stated: Any, file: str) -> list[int]:
    ids = stated if isinstance(stated, list) else [] if stated is None else [stated]
    wrong = [i for i in ids if not isinstance(i, int) or isinstance(i, bool)]
    if wrong:
        raise InvalidRequestError(
            f"The eos_token_id in {file} of this model is none: a token's number is needed, or a list of them, and it "
            f"holds {wrong[0]!r:.60}."
        )
    return ids
