"""The connection test: what a server can do, kept with the model that it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from app.background.jobs import Report, Work
from app.models.remote.registry import RemoteModels
from app.store import KeptRemote, RemoteStore
from engine.types import Ability, RemoteAbilities

ABILITIES: Mapping[str, tuple[str, str]] = {
    "streams": ("Streams", "An answer comes piece by piece. A run cannot be followed without."),
    "usage_in_stream": ("Counts tokens", "A streamed answer ends with counts of its tokens."),
    "cached_tokens": ("Tells reused tokens", "How much of a prompt it had kept."),
    "logprobs": ("Tells log-probabilities", "A cascade that looks at the answer's probabilities needs them."),
    "metrics": ("Shows its counters", "They are read before and after a run, where their address was entered."),
}
"""What is told of a server: the fields of `RemoteAbilities`, with a title and a hint."""


def testing_key(remote: KeptRemote) -> str:
    """The key of the job that tests one."""
    return f"test {remote.name}"


def testing(remotes: RemoteModels, store: RemoteStore, remote: KeptRemote) -> Work:
    """The work of a connection test, whose findings are kept.

    Raises (the work):
        GearboxError: its key is not there, or it was removed meanwhile.
    """

    def work(report: Report) -> None:
        from engine.backends.remote import probe

        model = remotes.opened(remote)
        report(f"Asking {model.server}", 0.0)
        store.found(remote, asdict(probe(model)))

    return work


def found_abilities(remote: KeptRemote) -> RemoteAbilities | None:
    """What the last test found; ``None`` where there was none, or a version that looked at other things made it."""
    tree = remote.abilities
    if tree is None:
        return None
    known = {field.name: tree[field.name] for field in fields(RemoteAbilities) if field.name in tree}
    try:
        return RemoteAbilities(**{name: _value(name, value) for name, value in known.items()})
    except (TypeError, ValueError):
        return None


def _value(name: str, value: Any) -> Any:
    if name in ABILITIES:
        return Ability(value)
    return tuple(value) if isinstance(value, list) else value
