"""The one gate: a checkpoint is held as a whole against what its ``config.json`` promises.

Behind it, tensors are handed to native code by address, and their lengths come from the configuration. Only headers
and the tokenizer's own files are read, no weights, so that the list of models can say what is wrong with a folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from engine.errors import UnsupportedModelError, WeightsIntegrityError
from engine.models.format.architecture import Architecture
from engine.models.format.manifest import sha256_once
from engine.models.format.weight_files import StoredTensor
from engine.untrusted import read_json_file

HEAD = "lm_head.weight"
EMBEDDING = "model.embed_tokens.weight"

_BUFFER = "rotary_emb.inv_freq"
"""Older checkpoints hold this buffer for each layer; it is computed from the configuration."""
LARGEST_SETTINGS = 4 * 2**20
"""Bytes of a file of settings."""
LARGEST_TOKENIZER = 256 * 2**20
"""Bytes of a tokenizer's file."""
_LARGEST_FILES = {
    ".json": LARGEST_TOKENIZER,
    ".txt": LARGEST_TOKENIZER,
    ".model": LARGEST_TOKENIZER,
    ".jinja": 2**22,
}
"""Bytes of the small files that transformers may read, by their names' end."""
_MOST_GROWTH = 64
"""How many times longer a tokenizer's rules may make a text."""
_COPY_AGAIN = "Copy or download the model again."

_largest_ids: dict[str, int] = {}
"""Largest token id of files already read by this process, by their sha256: models of a family share them."""


def read_config(folder: Path) -> dict[str, Any]:
    """The folder's ``config.json``.

    Raises:
        WeightsIntegrityError: it is no JSON object.
    """
    config = _read_json(folder / "config.json", LARGEST_SETTINGS)
    if not isinstance(config, dict):
        raise WeightsIntegrityError(f"{folder / 'config.json'} is damaged: it holds no settings.")
    return config


def check_tensors(name: str, architecture: Architecture, tensors: Mapping[str, StoredTensor]) -> None:
    """Whether a checkpoint holds exactly the tensors that its configuration promises, in their very shapes.

    A head of its own beside tied embeddings is allowed: it is used, as transformers does.

    Raises:
        WeightsIntegrityError: a tensor is missing, has another shape, or belongs to another kind of model. The
            message names it, the shape found and the shape promised.
    """
    promised = architecture.tensors()
    allowed = promised | {HEAD: promised[EMBEDDING]}
    for tensor, shape in allowed.items():
        if tensor in tensors and tensors[tensor].shape != shape:
            raise WeightsIntegrityError(
                f"{name}: {tensor} has the shape {list(tensors[tensor].shape)}, and config.json promises "
                f"{list(shape)}. {_COPY_AGAIN}"
            )
    if missing := [tensor for tensor in promised if tensor not in tensors]:
        raise WeightsIntegrityError(
            f"{name}: {missing[0]} is missing, which config.json promises with the shape "
            f"{list(promised[missing[0]])}{_more(missing)}. {_COPY_AGAIN}"
        )
    if unknown := [tensor for tensor in tensors if tensor not in allowed and not tensor.endswith(_BUFFER)]:
        raise WeightsIntegrityError(
            f"{name}: {unknown[0]}{_more(unknown)} belongs to no {architecture.family} model with this config.json, "
            "and would be ignored. Choose a checkpoint without it, or mend config.json."
        )


def small_files(folder: Path) -> list[Path]:
    """Whatever beside the weights transformers may read of a folder."""
    entries = [*folder.iterdir(), *(folder / "additional_chat_templates").glob("*")]
    return [entry for entry in entries if entry.suffix in _LARGEST_FILES]


def check_folder(name: str, folder: Path) -> None:
    """Whether what lies beside weights and tokenizer can be used.

    Raises:
        UnsupportedModelError: there is an adapter, which would change the model but is not read here.
        WeightsIntegrityError: ``generation_config.json`` names as a token what is none, or a file that is read is no
            regular one or far too large.
    """
    for entry in small_files(folder):
        if not entry.is_file():
            raise WeightsIntegrityError(f"{entry} is no regular file. {_COPY_AGAIN}")
        if entry.stat().st_size > _LARGEST_FILES[entry.suffix]:
            raise WeightsIntegrityError(f"{entry} has more than {_LARGEST_FILES[entry.suffix]:,} bytes. {_COPY_AGAIN}")
    if (folder / "adapter_config.json").exists():
        raise UnsupportedModelError(
            f"{name} holds an adapter (adapter_config.json), which is not applied here. Merge it into the weights."
        )
    path = folder / "generation_config.json"
    settings = _read_json(path, LARGEST_SETTINGS) if path.is_file() else {}
    for key in ("eos_token_id", "bos_token_id", "pad_token_id"):
        ids = settings.get(key) if isinstance(settings, dict) else None
        for token_id in ids if isinstance(ids, list) else [ids]:
            if token_id is not None and type(token_id) is not int:
                raise WeightsIntegrityError(f"{path}: {key} must be a token id, and is {ids!r:.80}.")


def check_tokenizer(name: str, folder: Path, vocab_size: int) -> None:
    """Whether there is a tokenizer whose ids all have a row in the embedding.

    Raises:
        UnsupportedModelError: there is no ``tokenizer.json``.
        WeightsIntegrityError: it is damaged, or has an id beyond the table.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise UnsupportedModelError(f"{name} has no tokenizer.json, so no text can be turned into tokens for it.")
    found = [_largest_id(path)]
    if (settings := folder / "tokenizer_config.json").is_file():
        found.append(_largest_id(settings))
    check_largest_id(name, max(found), vocab_size)


def check_largest_id(name: str, largest: int, vocab_size: int) -> None:
    """Whether a tokenizer's largest id has a row in the embedding.

    Raises:
        WeightsIntegrityError: it has none.
    """
    if largest >= vocab_size:
        raise WeightsIntegrityError(
            f"{name}: its tokenizer has a token with the id {largest:,}, and its embedding ends at {vocab_size - 1:,}. "
            f"Tokenizer and weights are not of the same model. {_COPY_AGAIN}"
        )


def _largest_id(path: Path) -> int:
    key = sha256_once(path)
    if key not in _largest_ids:
        tree = _read_json(path, LARGEST_TOKENIZER)
        try:
            ids = list(_token_ids(tree))
            _check_rules(tree)
            if odd := [token_id for token_id in ids if type(token_id) is not int]:
                raise TypeError(f"{odd[0]!r:.80} is no token id")
        except (TypeError, ValueError, AttributeError, KeyError, IndexError) as error:
            raise WeightsIntegrityError(f"{path} is damaged ({error}). {_COPY_AGAIN}") from error
        _largest_ids[key] = max(ids, default=-1)
    return _largest_ids[key]


def _check_rules(tree: Any) -> None:
    """Refuse settings under which a text's tokens would be random, endless, or none that can be told beforehand.

    Raises:
        TypeError, ValueError, AttributeError: they are such, or no settings.
    """
    if not isinstance(longest := tree.get("model_max_length"), int | float | None):
        raise TypeError(f"model_max_length is {longest!r:.80}")
    if tree.get("fast_tokenizer_files"):
        raise ValueError("it names tokenizer files of its own (fast_tokenizer_files)")
    if (model := tree.get("model")) and model.get("dropout"):
        raise ValueError("its tokens are drawn at random (dropout)")
    growth = 1
    for rule in _rules([tree.get(part) for part in ("normalizer", "pre_tokenizer", "decoder")]):
        growth *= max(1, len(rule.get("content") or "")) * (1 + len(rule.get("prepend") or ""))
    if growth > _MOST_GROWTH:
        raise ValueError(f"its rules may make a text {growth:,} times as long")


def _rules(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in a part of a ``tokenizer.json``, however deep."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _rules(inner)


def _token_ids(tree: Any) -> Iterator[int]:
    """All ids in a ``tokenizer.json`` or a ``tokenizer_config.json``.

    Raises:
        TypeError, ValueError, AttributeError, KeyError: it is built in another way.
    """
    if model := tree.get("model"):
        vocabulary = model["vocab"]
        yield from vocabulary.values() if isinstance(vocabulary, dict) else range(len(vocabulary))
    for token in tree.get("added_tokens") or ():
        yield token["id"]
    for key in tree.get("added_tokens_decoder") or ():
        yield int(key)
    for rule in _rules(tree.get("post_processor")):
        yield from rule.get("ids") or ()
        for end in ("cls", "sep"):
            if rule.get(end):
                yield rule[end][1]


def _read_json(path: Path, most_bytes: int) -> Any:
    try:
        return read_json_file(path, most_bytes)
    except ValueError as error:
        raise WeightsIntegrityError(f"{path} is damaged: {error}. {_COPY_AGAIN}") from error


def _more(names: list[str]) -> str:
    return f" ({len(names) - 1:,} more like it)" if len(names) > 1 else ""
