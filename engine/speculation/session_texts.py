"""What a session has read and written before: an n-gram drafter draws on it."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque

MOST_TOKENS = 8192
"""Of one session that are remembered, the latest; no less than its last text."""
MOST_SESSIONS = 64


class SessionTexts:
    """Prompts with their answers, by session and tokenizer. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._texts: OrderedDict[tuple[str, str], deque[tuple[int, ...]]] = OrderedDict()

    def of(self, salt: str, tokenizer: str) -> tuple[tuple[int, ...], ...]:
        """A session's texts, oldest first."""
        with self._lock:
            return tuple(self._texts.get((salt, tokenizer), ()))

    def add(self, salt: str, tokenizer: str, ids: tuple[int, ...]) -> None:
        """Remember a text. One that an older one begins, as the next turn of a chat is, takes its place."""
        with self._lock:
            texts = self._texts.setdefault((salt, tokenizer), deque())
            self._texts.move_to_end((salt, tokenizer))
            kept = [text for text in texts if text != ids[: len(text)]]
            texts.clear()
            texts.extend([*kept, ids])
            while len(texts) > 1 and sum(map(len, texts)) > MOST_TOKENS:
                texts.popleft()
            while len(self._texts) > MOST_SESSIONS:
                self._texts.popitem(last=False)

    def forget(self, salt: str) -> None:
        """A session has ended."""
        with self._lock:
            for key in [key for key in self._texts if key[0] == salt]:
                del self._texts[key]
