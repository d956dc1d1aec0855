"""Who judges live traffic, how much of it, and what that may take: chosen once for all servers, off until somebody
turns it on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from app.experiments.judging.judge import LONGEST_MODEL, Judge, JudgingEngine, LocalJudge, ServerJudge
from app.remote.names import is_name
from app.remote.prices import ListPrice
from app.store import OptionStore
from engine.errors import InvalidRequestError
from engine.types import PRECISIONS, Precision, RemoteModel, Tier

SUBJECT = "judging"
MOST_CALLS = 100_000
SALT = "judging live traffic"
"""Whose requests a local judge's are, to the engine."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A judge that was chosen."""

    model: str
    precision: str | None
    """``None`` for a model of a server: one that was added, by its name with the @, or one of the judges' server."""
    added: bool | None = None
    """Whether it is a server's model that was added; by default it is where its name can be one's. The judges' server
    may have names that begin with an @ too."""

    def __post_init__(self) -> None:
        if not 0 < len(self.model.strip()) <= LONGEST_MODEL:
            raise InvalidRequestError(f"Name the judge's model, in at most {LONGEST_MODEL} characters.")
        if self.precision is not None and self.precision not in list(PRECISIONS):
            raise InvalidRequestError(f"There is no precision {self.precision[:60]!r}.")
        if self.added is None:
            object.__setattr__(self, "added", self.precision is None and is_name(self.model))

    @property
    def is_local(self) -> bool:
        """Whether it is a model of this machine."""
        return self.precision is not None

    @property
    def is_added(self) -> bool:
        """Whether it is a server's model that was added on the Models page."""
        return bool(self.added)

    def __str__(self) -> str:
        if self.precision is not None:
            return f"{self.model} {self.precision}"
        return self.model if self.is_added else f"{self.model} of the server"

    def opened(
        self,
        engine: JudgingEngine,
        url: str | None,
        key: str | None,
        remote_models: Callable[[str], RemoteModel | None] = lambda name: None,
    ) -> Judge:
        """The judge.

        Args:
            engine: runs it, if it is a model of this machine.
            url, key: of the judges' server.
            remote_models: finds those that were added.

        Raises:
            InvalidRequestError: it is a model of a server, and none is set, or it was removed.
            GearboxError: the model is not there, or cannot be run.
        """
        if self.precision is not None:
            return LocalJudge.installed(engine, Tier(model=self.model, precision=Precision(self.precision)), SALT)
        if self.is_added:
            if (remote := remote_models(self.model)) is None:
                raise InvalidRequestError(f"{self.model} is no server's model any more: choose another judge.")
            return ServerJudge.of(remote)
        if url is None:
            raise InvalidRequestError(
                f"{self.model} is a model of a server, and none is set: whoever runs Gearbox sets GEARBOX_JUDGE_URL."
            )
        return ServerJudge(url, self.model, key)


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgingOptions:
    """What was chosen."""

    on: bool = False
    judge: Judged | None = None
    second: Judged | None = None
    """Another one that is asked about the same runs, so that one sees where the two part."""
    share: float = 0.05
    """Of the runs, of each configuration and tier."""
    calls_a_day: int = 200
    """Questions in any 24 hours, of both judges together."""
    money_a_day: float = 1.0
    """In any 24 hours, in the currency of the price file."""
    read_price: float | None = None
    """Of a server's judge that has no list price of its own: a million tokens read; ``None`` until somebody says."""
    written_price: float | None = None
    """A million tokens written."""

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise InvalidRequestError("The share of runs that are judged must be above 0 %, and at most 100 %.")
        if not 1 <= self.calls_a_day <= MOST_CALLS:
            raise InvalidRequestError(f"A day has 1 to {MOST_CALLS:,} questions.")
        prices = {"money a day": self.money_a_day, "price": self.read_price or 0, "price ": self.written_price or 0}
        for name, amount in prices.items():
            if not 0 <= amount < 1e9:
                raise InvalidRequestError(f"The {name.strip()} must be 0 or more.")
        if self.on and self.judge is None:
            raise InvalidRequestError("Choose a judge before judging is turned on.")
        if self.judge is not None and self.judge == self.second:
            raise InvalidRequestError("The second judge is the first one: choose another, or none.")

    @property
    def judges(self) -> tuple[Judged, ...]:
        """Those that are asked, the first one first."""
        return tuple(each for each in (self.judge, self.second) if each is not None)

    def price_of(self, judge: Judged, listed: Mapping[str, ListPrice]) -> ListPrice:
        """What a server takes for asking a judge.

        Args:
            judge: a model of a server.
            listed: list prices of servers' models that were added, by name.

        Raises:
            InvalidRequestError: nobody has said, so that the budget of money would hold nothing back.
        """
        if judge.is_added and (price := listed.get(judge.model)) is not None:
            return price
        if self.read_price is None or self.written_price is None:
            its_own = ", or edit its list price on the Models page" if judge.is_added else ""
            raise InvalidRequestError(
                f"{judge} has no price, and the budget of money cannot hold without one: say what a million tokens "
                f"read and written cost, 0 where they are free{its_own}."
            )
        return ListPrice(self.read_price, self.written_price)

    @classmethod
    def kept(cls, options: OptionStore) -> Self:
        """What was chosen, or the defaults."""
        tree: Mapping[str, Any] = options.get(SUBJECT) or {}
        known = {name: value for name, value in tree.items() if name in {field.name for field in fields(cls)}}
        for name in ("judge", "second"):
            if known.get(name) is not None:
                known[name] = Judged(**known[name])
        return cls(**known)

    def keep(self, options: OptionStore) -> None:
        """Choose this."""
        options.set(SUBJECT, asdict(self))
