"""A checkpoint's configuration and tokenizer, as transformers reads them: read by it once, and kept.

To import transformers takes longer than to load a small model. What it made of a folder's small files is therefore
kept beside the packed weights, under all that decides it; only who finds nothing there, or something else, imports it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from engine.errors import InvalidRequestError, WeightsIntegrityError
from engine.models.checkpoint import Checkpoint
from engine.models.format.decoder_config import DecoderConfig, read_decoder_config
from engine.models.format.gate import check_largest_id, small_files
from engine.models.format.manifest import sha256_once
from engine.models.kept import kept_file_of, path_bytes
from engine.models.tokenization.fast_tokenizer import FastTokenizer
from engine.models.tokenization.tokenizer import ChatTokenizer
from engine.models.tokenization.tokenizer_calls import call
from engine.untrusted import parse_json

log = logging.getLogger(__name__)

A = TypeVar("A")
T = TypeVar("T")

KEPT_FORMAT = 1
"""Raised when what is kept of the same files would be something else."""


def open_small_files(checkpoint: Checkpoint, kept_in: Path) -> tuple[DecoderConfig, ChatTokenizer]:
    """What a checkpoint's small files say.

    Args:
        checkpoint: one that has passed the gate.
        kept_in: the folder for what is kept of it.

    Raises:
        UnsupportedModelError: transformers does not take the configuration.
        WeightsIntegrityError: the tokenizer's files cannot be used.
    """
    kept = _Kept(kept_in / kept_file_of(checkpoint.folder), _identity(checkpoint))
    found = kept.read(checkpoint)
    if found is None:
        config = read_decoder_config(checkpoint.name, checkpoint.folder, checkpoint.architecture)
        tokenizer = _read_tokenizer(checkpoint)
        kept.write(config, tokenizer)
    else:
        config, tokenizer = found
    check_largest_id(checkpoint.name, tokenizer.facts.vocab_size - 1, config.vocab_size)
    return config, _call(checkpoint, ChatTokenizer, tokenizer)


def _read_tokenizer(checkpoint: Checkpoint) -> FastTokenizer:
    from engine.models.tokenization.transformers_tokenizer import read_tokenizer

    return _call(checkpoint, read_tokenizer, checkpoint.folder)


def _call(checkpoint: Checkpoint, function: Callable[[A], T], argument: A) -> T:
    """What a tokenizer's function returns.

    Raises:
        WeightsIntegrityError: it fails, so the checkpoint's files are at fault.
    """
    try:
        return call(function, argument)
    except InvalidRequestError as error:
        raise WeightsIntegrityError(f"{checkpoint.name}: {error}") from error


def _identity(checkpoint: Checkpoint) -> str:
    """One sha256 of all that decides what transformers makes of a folder; it looks at the folder's name too."""
    libraries = [f"{name} {version(name)}" for name in ("transformers", "tokenizers", "torch")]
    files = [
        f"{path.relative_to(checkpoint.folder)} {sha256_once(path)}" for path in sorted(small_files(checkpoint.folder))
    ]
    lines = [f"format {KEPT_FORMAT}", *libraries, str(checkpoint.folder), *files]
    return hashlib.sha256(path_bytes("\n".join(lines))).hexdigest()


class _Kept:
    """A file in three parts: a checksum of the others, what belongs to the configuration, and the tokenizer."""

    def __init__(self, path: Path, identity: str) -> None:
        self._path = path
        self._identity = identity

    def read(self, checkpoint: Checkpoint) -> tuple[DecoderConfig, FastTokenizer] | None:
        """What is kept; ``None`` if it is missing, of other files, or not what was written."""
        try:
            checksum, _, data = self._path.read_bytes().partition(b"\n")
        except OSError:
            return None
        if hashlib.sha256(data).hexdigest().encode() != checksum:
            log.warning("%s was truncated or altered since it was written; reading the model's files again", self._path)
            return None
        head, _, tokenizer = data.partition(b"\n")
        try:
            known: dict[str, Any] = parse_json(head)
            if known.pop("identity") != self._identity:
                return None
            config = DecoderConfig.from_derived(checkpoint.architecture, known)
            return config, FastTokenizer.from_bytes(tokenizer)
        except (ValueError, TypeError, KeyError, AttributeError, InvalidRequestError) as error:
            log.warning("%s is not to be used (%s); reading the model's files again", self._path, error)
            return None

    def write(self, config: DecoderConfig, tokenizer: FastTokenizer) -> None:
        """Keep it, if another process would have the same from it. A full disk is no reason to fail."""
        written = tokenizer.to_bytes()
        if not _reads_back(written):
            log.info("%s is not kept: the tokenizer cannot be written down", self._path)
            return
        head = json.dumps({"identity": self._identity, **config.derived()})
        data = b"%s\n%s" % (head.encode(), written)
        aside = self._path.with_suffix(f".{os.getpid()}.part")
        try:
            aside.parent.mkdir(parents=True, exist_ok=True)
            aside.write_bytes(b"%s\n%s" % (hashlib.sha256(data).hexdigest().encode(), data))
            aside.replace(self._path)
        except OSError as error:
            log.warning("what transformers made of a model could not be kept in %s: %s", self._path, error)
        finally:
            with suppress(OSError):  # where it could not be made, it cannot be looked for
                aside.unlink(missing_ok=True)


def _reads_back(written: bytes) -> bool:
    """Whether a tokenizer that was written down is the same when it is read."""
    try:
        return FastTokenizer.from_bytes(written).to_bytes() == written
    except (ValueError, InvalidRequestError):
        return False
