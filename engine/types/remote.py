"""Models that run elsewhere: on a server with OpenAI's API, asked for by a name that begins with "@"."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from engine.types.backend import Backend
from engine.types.requirement import keep_valid_text, require

REMOTE_MARK = "@"
"""Begins the names of models that run on servers; no model of this machine has such a name."""


def is_remote(model: str) -> bool:
    """Whether a model of this name runs on a server."""
    return model.startswith(REMOTE_MARK)


def backend_of(model: str) -> Backend:
    """Who runs a model of this name with gears of its own: its server, or Gearbox."""
    return Backend.REMOTE if is_remote(model) else Backend.LOCAL


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteModel:
    """A model of a server with OpenAI's API."""

    name: str
    """How it is asked for here; begins with :data:`REMOTE_MARK`."""
    url: str
    """Root of the server's API: ``http://host:8000/v1``."""
    served_name: str
    """The model as the server calls it."""
    key: str | None = field(default=None, repr=False)
    """Sent as a bearer token; ``None`` sends none."""
    metrics_url: str | None = None
    """Where the server's own counters are read before and after a run, as Prometheus text; ``None`` reads none."""
    connect_timeout_s: float = 5.0
    """For a connection, TLS included."""
    read_timeout_s: float = 120.0
    """Between two pieces of an answer, and up to the first one."""

    def __post_init__(self) -> None:
        keep_valid_text(self, "name", "url", "served_name", "metrics_url")
        require(
            is_remote(self.name) and len(self.name) > 1 and not any(map(str.isspace, self.name)),
            f"The name of a server's model begins with {REMOTE_MARK} and holds no spaces, such as @office.",
        )
        require(bool(self.served_name.strip()), "Name the model as the server calls it.")
        require(
            self.key is None or bool(re.fullmatch(r"[!-~]+", self.key)), "The key holds characters that cannot be sent."
        )
        require(self.connect_timeout_s > 0 and self.read_timeout_s > 0, "A time-out must be more than 0 s.")

    @property
    def server(self) -> str:
        """Host and port, for the reader."""
        return urlsplit(self.url).netloc.rpartition("@")[2]


class Ability(StrEnum):
    """Whether a server can do something."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteAbilities:
    """What a connection test found out of a server and of one of its models."""

    models: tuple[str, ...] = ()
    """What the server says that it has, as it calls them; empty where it does not tell."""
    software: str | None = None
    """What serves: "vLLM 0.32.0", as far as it tells."""
    context_length: int | None = None
    """Tokens, prompt and answer together; ``None`` where it does not tell."""
    streams: Ability = Ability.UNKNOWN
    """Whether an answer comes piece by piece."""
    usage_in_stream: Ability = Ability.UNKNOWN
    """Whether a streamed answer ends with counts of its tokens."""
    cached_tokens: Ability = Ability.UNKNOWN
    """Whether it tells how much of a prompt it had kept."""
    logprobs: Ability = Ability.UNKNOWN
    """Whether it tells log-probabilities."""
    metrics: Ability = Ability.UNKNOWN
    """Whether its counters can be read."""
    connect_s: float | None = None
    """What a new connection took."""
    first_token_s: float | None = None
    """From sending a request to its first token."""
    problems: tuple[str, ...] = ()
    """What did not work, a sentence each. Empty for a server that can be used as it is."""

    @property
    def can_be_used(self) -> bool:
        """Whether it answers in a way that a run can follow."""
        return self.streams is Ability.YES


class BreakerState(StrEnum):
    """Whether a server is asked."""

    CLOSED = "closed"
    """It is."""
    OPEN = "open"
    """It has failed again and again: for a while it is not asked."""
    HALF_OPEN = "half-open"
    """One request is let through to see whether it works again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteStatus:
    """How a server has been doing since this engine first asked it."""

    server: str
    """Host and port."""
    state: BreakerState
    running: int
    """Requests that are under way."""
    requests: int
    failures: int
    """Of those, how many did not reach it, or met an error of its own (5xx)."""
    failures_in_row: int
    last_error: str | None = None
    """The latest of them; ``None`` while there was none."""
    last_error_at: float | None = None
    """Seconds since 1970."""
    retry_in_s: float | None = None
    """Until a request is let through again, of an open breaker."""
    models: tuple[str, ...] = ()
    """Names of the models that were asked for."""


CountsFrom = Literal["usage", "timings", "metrics"]
"""Who told a count: OpenAI's ``usage``, llama.cpp's ``timings``, or the server's counters before and after."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteReport:
    """What is known of a run on a server, and what is not. Kept in the run's environment."""

    server: str
    """Host and port."""
    served_name: str
    """The model as the server calls it."""
    software: str | None = None
    """What serves, where it tells."""
    connect_s: float | None = None
    """What a new connection took, TLS included; ``None`` where an open one was used."""
    first_byte_s: float | None = None
    """From sending the request to the server's first answer, its headers: the network's way there and back at most, and
    what the server does before them."""
    attempts: int = 1
    """Connections tried."""
    counted: bool = True
    """Whether the server counted the answer's tokens. Otherwise its pieces of text are taken for tokens."""
    prompt_counted: bool = True
    """Whether it counted the prompt's."""
    cached_tokens: int | None = None
    """Prompt tokens that it had kept; ``None`` where nobody tells."""
    drafted_tokens: int | None = None
    accepted_tokens: int | None = None
    counts_from: CountsFrom | None = None
    """Who told of kept and drafted tokens, what the answer did not tell being taken from the counters where they are
    this run's alone; ``None`` where nobody did."""
    shared: bool | None = None
    """Whether other requests moved the server's counters meanwhile, so that nothing of them is this run's; ``None``
    where that is not known."""
    notes: tuple[str, ...] = ()
    """What the server was not asked for, or did otherwise than it should, a sentence each."""

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**asdict(self), "notes": list(self.notes)}

    @classmethod
    def of(cls, environment: Mapping[str, Any]) -> Self | None:
        """The report in a run's environment; ``None`` for a run on this machine."""
        tree = environment.get("remote")
        return None if tree is None else cls(**{**tree, "notes": tuple(tree.get("notes", ()))})
