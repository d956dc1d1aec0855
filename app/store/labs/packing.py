"""How the labs' long values are packed into a few bytes."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from app.store.database.packing import pack, unpack
from engine.evaluation import Corpus, CorpusPrompt, Window, WindowDivergence

_COLUMNS = {"kld": "<f4", "delta_p": "<f4", "same_top": "?", "nll_ref": "<f4", "nll_cand": "<f4"}
_BYTES_PER_TOKEN = sum(np.dtype(kind).itemsize for kind in _COLUMNS.values())


def pack_divergence(figures: WindowDivergence) -> bytes:
    """Deflated columns, one after the other; every bit is kept."""
    columns = (np.ascontiguousarray(getattr(figures, name), dtype=kind) for name, kind in _COLUMNS.items())
    return zlib.compress(b"".join(column.tobytes() for column in columns))


def unpack_divergence(payload: bytes) -> WindowDivergence:
    """The inverse of :func:`pack_divergence`."""
    raw = zlib.decompress(payload)
    tokens = len(raw) // _BYTES_PER_TOKEN
    columns: dict[str, Any] = {}
    offset = 0
    for name, kind in _COLUMNS.items():
        columns[name] = np.frombuffer(raw, dtype=kind, count=tokens, offset=offset)
        offset += columns[name].nbytes
    return WindowDivergence(**columns)


def pack_windows(windows: Sequence[Window]) -> bytes:
    """Deflated JSON: first scored token and token ids of each."""
    return pack([[window.first_scored, list(window.token_ids)] for window in windows])


def unpack_windows(payload: bytes) -> tuple[Window, ...]:
    """The inverse of :func:`pack_windows`."""
    return tuple(Window(tuple(token_ids), first_scored) for first_scored, token_ids in unpack(payload))


def pack_corpus(corpus: Corpus) -> bytes:
    """Deflated JSON of all but the name."""
    return pack({"text": corpus.text, "prompts": [[item.prompt, item.system] for item in corpus.prompts]})


def unpack_corpus(name: str, payload: bytes) -> Corpus:
    """The inverse of :func:`pack_corpus`."""
    tree = unpack(payload)
    return Corpus(name=name, text=tree["text"], prompts=tuple(CorpusPrompt(*item) for item in tree["prompts"]))
