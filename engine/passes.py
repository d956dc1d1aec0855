"""What a sequence wants of a model: it yields a pass, and is sent what came of it.

So whoever writes an answer stays straight-line code, and whoever runs models decides which passes go together.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from ctypes import c_int32
from dataclasses import dataclass
from time import perf_counter, sleep
from typing import Any, Protocol, TypeVar

from torch import Tensor

from engine.cache import KVCache
from engine.generation.choice import Choice
from engine.generation.choosing import Chooser
from engine.generation.token_buffer import TokenBuffer
from engine.models.decoders.decoder import Decoder

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_LOOKS_UP_S = 0.001
"""While the only sequence waits for another thread."""


class Pass(Protocol[T_co]):
    """Work of a model for one sequence."""

    def perform(self) -> T_co:
        """Do it, with nothing beside it."""
        ...


Steps = Generator[Pass[Any], Any, T]
"""A sequence on its way: yields passes, is sent their results, and returns something in the end."""


def ask(wanted: Pass[T]) -> Steps[T]:
    """One pass of a sequence: ``result = yield from ask(...)``."""
    result: T = yield wanted
    return result


def at_once(work: Callable[[], T]) -> Steps[T]:
    """Work that wants no pass, as a sequence."""
    yield from ()
    return work()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a pass: its result, or what it raised."""

    result: Any = None
    error: BaseException | None = None

    def hand_to(self, steps: Steps[Any]) -> Pass[Any]:
        """Tell the sequence that asked; what it wants next. What a pass raised is raised inside of the sequence.

        Raises:
            StopIteration: the sequence has ended, with what it returns as its value.
        """
        return steps.send(self.result) if self.error is None else steps.throw(self.error)


def outcome_of(work: Callable[[], Any]) -> Outcome:
    """Do something for a sequence."""
    try:
        return Outcome(work())
    except BaseException as error:  # noqa: BLE001 (the sequence decides, and cleans up)
        return Outcome(error=error)


def perform_alone(steps: Steps[T]) -> T:
    """Run a sequence to its end with nobody beside it. What a pass raises is raised inside of the sequence."""
    try:
        wanted = next(steps)
        while True:
            while isinstance(wanted, Wait) and not wanted.is_over():
                sleep(_LOOKS_UP_S)
            wanted = outcome_of(wanted.perform).hand_to(steps)
    except StopIteration as end:
        returned: T = end.value
        return returned


@dataclass(frozen=True, slots=True)
class Hidden:
    """Tokens read: the final norm's output after each, ``[rows, hidden]``."""

    decoder: Decoder
    ids: Tensor
    cache: KVCache
    text: TokenBuffer | None = None
    """Begins with what the cache holds, which can be read again from it; ``None`` where that cannot be."""

    def perform(self) -> Tensor:
        return self.decoder.forward(self.ids, self.cache)


@dataclass(slots=True)
class Logits:
    """Tokens read: logits after each, fp32 ``[rows, vocab]``."""

    decoder: Decoder
    ids: Tensor
    cache: KVCache
    text: TokenBuffer | None = None
    """As of :class:`Hidden`."""
    seconds: float = 0.0
    """What the pass has taken in which they were read; set once it is done, as is ``rows``."""
    rows: int = 0
    """Of that pass, everybody's."""

    def perform(self) -> Tensor:
        begun = perf_counter()
        logits = self.decoder.logits(self.decoder.forward(self.ids, self.cache))
        self.seconds, self.rows = perf_counter() - begun, len(self.ids)
        return logits


@dataclass(frozen=True, slots=True)
class Continuation:
    """The text's last token read and the next ones chosen, one after the other: at least one.

    How many come back is up to whoever performs it; nothing may depend on that.
    """

    decoder: Decoder
    chooser: Chooser
    cache: KVCache
    most: int
    """Tokens at most."""
    seconds: float
    """No token is begun after so long."""
    interrupt: c_int32
    """Ends it once it is not 0."""

    @property
    def ids(self) -> Tensor:
        """What is read: int64 ``[1]``."""
        return self.text.ids[-1:]

    @property
    def text(self) -> TokenBuffer:
        """As of :class:`Hidden`."""
        return self.chooser.text

    def perform(self) -> list[Choice]:
        writer = self.decoder.native
        if writer and (text := self.chooser.ask(self.interrupt, self.most, self.seconds)) is not None:
            writer.write_many([(text, self.cache)], self.interrupt)
            return self.chooser.take()
        return [self.chooser.choose(self.decoder.step(self.chooser.text.last, self.cache))]


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing is wanted until others have come so far."""

    is_over: Callable[[], bool]

    def perform(self) -> None:
        """Nothing: whoever performs passes asks first whether it is over."""


@dataclass(frozen=True, slots=True)
class Whole(Pass[T]):
    """Work of a backend that does not tell of its passes."""

    work: Callable[[], T]

    def perform(self) -> T:
        return self.work()
