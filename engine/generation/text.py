"""Token ids to text while they arrive: never half a character, never a stop string."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import compress

REPLACEMENT = "\ufffd"


class Detokenizer:
    """Decodes a growing sequence piece by piece.

    A token may hold a part of a character. Text is released only when it ends on a whole one, so
    the pieces joined always equal the whole sequence decoded at once. Each push decodes no more
    than the tokens since the last but one release.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._ids: list[int] = []
        self._window = 0
        """Where decoding starts: the last but one release, so that leading-space rules see context."""
        self._released = 0

    def push(self, token_id: int) -> str:
        """The text that this token completes; empty while a character is still open."""
        self._ids.append(token_id)
        text = self._pending()
        if not text or text.endswith(REPLACEMENT):
            return ""
        self._window, self._released = self._released, len(self._ids)
        return text

    def flush(self) -> str:
        """What is left at the end, an unfinished character as the replacement character."""
        text = self._pending()
        self._window = self._released = len(self._ids)
        return text

    def _pending(self) -> str:
        before = self._decode(self._ids[self._window : self._released])
        return self._decode(self._ids[self._window :])[len(before) :]


class StopMatcher:
    """Holds back text that may be the start of a stop string, and ends it where one begins."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self._shown: list[bool] = []
        """Whether each character held back is one of the text."""

    def push(self, text: str, *, shown: bool = True) -> tuple[str, bool]:
        """Take in what comes next.

        Args:
            text: as it is spelled.
            shown: it is part of the text; a control token only counts for where to stop.

        Returns:
            Text that is safe to show, and whether a stop string has been met.
        """
        if not self._stops:
            return text if shown else "", False
        self._held += text
        self._shown += [shown] * len(text)
        starts = [at for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if starts:
            safe = self._release(min(starts))
            self._release(len(self._held))
            return safe, True
        keep = max(_overlap(self._held, stop) for stop in self._stops)
        return self._release(len(self._held) - keep), False

    def flush(self) -> str:
        """What was held back and turned out to be no stop string."""
        return self._release(len(self._held))

    def _release(self, length: int) -> str:
        text = "".join(compress(self._held[:length], self._shown))
        self._held, self._shown = self._held[length:], self._shown[length:]
        return text


def touches(stop: str, token: str) -> bool:
    """Whether a stop string can be met in a text only if a token is spelled out in it: it holds it, lies in it, begins
    in it or ends in it."""
    return token in stop or stop in token or _overlap(token, stop) > 0 or _overlap(stop, token) > 0


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of ``text`` that begins ``stop``."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)
