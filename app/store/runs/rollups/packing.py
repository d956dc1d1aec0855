"""The sums of one stretch of time as bytes: what they are of as JSON, then the columns, little-endian, deflated."""

from __future__ import annotations

import json
import struct
import zlib

import numpy as np

from app.store.runs.rollups.parts import AMOUNTS, COUNTS, PEAKS, Identity, Parts, Tally

_HEAD = struct.Struct("<III")
"""Bytes of JSON, rows, entries of histograms."""
_NONE = np.empty((0, 0), dtype=np.int64)
_ENTRY = np.dtype([("row", "<u4"), ("kind", "u1"), ("bin", "<u2"), ("count", "<u4")])


def pack(parts: Parts) -> bytes:
    """Rows of one stretch, whose number is left out."""
    words = {"of": parts.identities, "tallies": parts.tallies}
    known = json.dumps(words, separators=(",", ":"), ensure_ascii=False).encode()
    entries = np.empty(len(parts.times), dtype=_ENTRY)
    for place, name in enumerate(_ENTRY.names or ()):
        entries[name] = parts.times[:, place]
    rows = len(parts.identity)
    columns = (
        parts.identity.astype("<u4"), parts.counts.astype("<i8"), parts.amounts.astype("<f8"),
        parts.peaks.astype("<f8"), entries,
    )  # fmt: skip
    head = _HEAD.pack(len(known), rows, len(entries))
    return zlib.compress(head + known + b"".join(column.tobytes() for column in columns), 1)


def unpack(payload: bytes, stretch: int) -> Parts:
    """The inverse of :func:`pack`, as rows of the stretch with this number."""
    data = zlib.decompress(payload)
    length, rows, entries = _HEAD.unpack_from(data)
    at = _HEAD.size + length
    words = json.loads(data[_HEAD.size : at])
    identity = np.frombuffer(data, "<u4", rows, at).astype(np.int64)
    at += 4 * rows
    behind = 8 * rows * (len(AMOUNTS) + len(PEAKS)) + _ENTRY.itemsize * entries
    known = np.frombuffer(data, "<i8", (len(data) - at - behind) // 8, at).reshape(rows, -1) if rows else _NONE
    at += known.nbytes
    counts = np.zeros((rows, len(COUNTS)), dtype=np.int64)
    counts[:, : known.shape[1]] = known
    amounts = np.frombuffer(data, "<f8", rows * len(AMOUNTS), at).reshape(rows, len(AMOUNTS))
    at += amounts.nbytes
    peaks = np.frombuffer(data, "<f8", rows * len(PEAKS), at).reshape(rows, len(PEAKS))
    at += peaks.nbytes
    packed = np.frombuffer(data, _ENTRY, entries, at)
    times = np.empty((entries, len(_ENTRY.names or ())), dtype=np.int64)
    for place, name in enumerate(_ENTRY.names or ()):
        times[:, place] = packed[name]
    return Parts(
        tuple(Identity(*each) for each in words["of"]),
        identity,
        np.full(rows, stretch, dtype=np.int64),
        counts,
        amounts,
        peaks,
        times,
        tuple(Tally(*each) for each in words["tallies"]),
    )
