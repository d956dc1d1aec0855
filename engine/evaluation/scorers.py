"""Whether an answer is right: one pure function of its text for each kind of task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Checker = Callable[[str, Any], bool]
"""``checker(text, expected)``; what ``expected`` is depends on the checker."""

CHECKERS: Mapping[str, Checker] = {}
