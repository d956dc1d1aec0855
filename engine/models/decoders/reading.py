"""Reading texts with a model, for those who do not say when its passes are performed, nor beside what."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, Protocol, TypeVar

from torch import Tensor

T = TypeVar("T")

Reading = Generator[Any, Any, T]
"""Work on its way: yields what it wants done, and returns what came of it."""


class Reader(Protocol):
    """A model that is read with, one pass after the other; ``result = yield from reader...``."""

    def new_cache(self, capacity: int) -> Any:
        """An empty KV cache."""
        ...

    def chunks(self, ids: Tensor, cache: Any) -> Sequence[Tensor]:
        """A text in the pieces that one call of :meth:`forward` reads."""
        ...

    def forward(self, ids: Tensor, cache: Any) -> Reading[Tensor]:
        """Append ids; hidden states ``[rows, hidden]``."""
        ...

    def logits(self, hidden: Tensor) -> Reading[Tensor]:
        """fp32 ``[rows, vocab]``."""
        ...

    def compute(self, work: Callable[[], T]) -> Reading[T]:
        """Something that takes a while, with no more of the model."""
        ...
