"""Text that every tokenizer, database and file can hold."""

from __future__ import annotations

import codecs
import re
from typing import Any

from engine.errors import InvalidRequestError

# Half a surrogate pair has no UTF-8, and neither C strings nor PostgreSQL take NUL.
_INVALID = re.compile("[\x00\ud800-\udfff]")
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins like UTF-16's, so it is looked for first
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def valid_text(text: str) -> str:
    """The text with each NUL and each lone surrogate replaced by U+FFFD; its length stays."""
    return _INVALID.sub("\ufffd", text)


def valid_tree(value: Any) -> Any:
    """JSON-like data with :func:`valid_text` applied to every string in it, keys included."""
    match value:
        case str():
            return valid_text(value)
        case dict():
            return {valid_text(str(key)): valid_tree(item) for key, item in value.items()}
        case list() | tuple():
            return [valid_tree(item) for item in value]
        case _:
            return value


def decode_text(data: bytes, name: str) -> str:
    """A file's bytes as valid text: UTF-8, or what its byte-order mark says. The mark is not part of it.

    Args:
        data: the whole file.
        name: what the user calls it; it begins the error's sentence.

    Raises:
        InvalidRequestError: the bytes are not in that encoding.
    """
    encoding = next((name_ for mark, name_ in _BYTE_ORDER_MARKS if data.startswith(mark)), "utf-8")
    try:
        return valid_text(data.decode(encoding))
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InvalidRequestError(
            f"{name} is not text in UTF-8: byte 0x{data[error.start]:02x} in line {line:,}. Save it as UTF-8."
        ) from error
