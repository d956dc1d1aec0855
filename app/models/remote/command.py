"""``gearbox servers add``, ``list``, ``test`` and ``remove``, beside a server that may be running."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager

from app.models.remote.registry import KeyPlace, RemoteModels
from app.models.remote.testing import ABILITIES, found_abilities, testing
from app.remote.address import base_of, host_of
from app.remote.keys import key_in
from app.remote.names import checked_name
from app.remote.prices import ListPrice
from app.secrets import Secrets
from app.settings import Settings
from app.store import KeptRemote, RemoteStore
from engine.backends.remote import list_served
from engine.errors import InvalidRequestError

_SHOWN = 20
_KEYS = {
    KeyPlace.NONE: "no key",
    KeyPlace.SEALED: "key kept encrypted",
    KeyPlace.MEMORY: "key in memory",
    KeyPlace.LOST: "key in a server's memory",
}


def add(options: argparse.Namespace) -> int:
    """Keep a new one.

    Raises:
        InvalidRequestError: something of it cannot be, or the server has several models.
        ServerError: it does not list its models, and none was named.
        StoreError: the name is taken, or the database cannot be used.
    """
    with _opened() as (remotes, _):
        kept = remotes.add(
            name=options.name,
            url=options.url,
            served_name=options.model or _only_model(options),
            metrics_url=options.metrics,
            key_variable=options.key_variable,
            price=_price(options),
        )
    sys.stdout.write(f"{kept.name} is {kept.served_name} at {host_of(kept.url)}.\n")
    if kept.key_variable:
        sys.stderr.write(f"The app that runs needs {kept.key_variable} in its environment too.\n")
    return 0


def list_servers() -> int:
    """Print all of them.

    Raises:
        StoreError: the database cannot be read.
    """
    with _opened() as (remotes, _):
        found = remotes.all()
        for each in found:
            key = f"key in {each.key_variable}" if each.key_variable else _KEYS[remotes.key_place(each)]
            sys.stdout.write(f"{each.name:20}  {each.served_name} at {host_of(each.url)}  {key}  {_standing(each)}\n")
    if not found:
        sys.stderr.write("No server is added yet: gearbox servers add URL --name NAME does it.\n")
    return 0


def test(options: argparse.Namespace) -> int:
    """Ask one, print what was found, and keep it; 1 if it cannot be used.

    Raises:
        InvalidRequestError: there is none of that name.
        GearboxError: its key is not there.
    """
    with _opened() as (remotes, store):
        testing(remotes, store, _named(store, options.name))(lambda stage, fraction, /, *, loading=None: None)
        found = found_abilities(_named(store, options.name))
    assert found is not None  # it was just kept
    facts = {
        "Serves": found.software or "not told",
        "Context": f"{found.context_length:,} tokens" if found.context_length else "not told",
        **{title: str(getattr(found, name)) for name, (title, _) in ABILITIES.items()},
    }
    for title, value in facts.items():
        sys.stdout.write(f"{title:24}  {value}\n")
    for problem in found.problems:
        sys.stderr.write(f"{problem}\n")
    return 0 if found.can_be_used else 1


def remove(options: argparse.Namespace) -> int:
    """Forget one.

    Raises:
        InvalidRequestError: there is none of that name.
        StoreError: the database cannot be used.
    """
    with _opened() as (remotes, store):
        kept = _named(store, options.name)
        remotes.remove(kept)
    sys.stdout.write(f"{kept.name} is removed.\n")
    return 0


@contextmanager
def _opened() -> Iterator[tuple[RemoteModels, RemoteStore]]:
    settings = Settings.from_env()
    with closing(RemoteStore.open(settings.database_url)) as store:
        yield RemoteModels(lambda: store, Secrets.of(settings)), store


def _named(store: RemoteStore, name: str) -> KeptRemote:
    kept = store.named(checked_name(name))
    if kept is None:
        there = ", ".join(each.name for each in store.all()) or "none yet"
        raise InvalidRequestError(f"There is no server {checked_name(name)}. There are: {there}.")
    return kept


def _only_model(options: argparse.Namespace) -> str:
    base = base_of(options.url, "--key-variable")
    key = key_in(options.key_variable, os.environ) if options.key_variable is not None else None
    models = list_served(base, key)
    if len(models) == 1:
        return models[0]
    if not models:
        raise InvalidRequestError(f"{host_of(base)} lists no models: name one with --model.")
    more = f" and {len(models) - _SHOWN:,} more" if len(models) > _SHOWN else ""
    raise InvalidRequestError(f"Choose one of its models with --model: {', '.join(models[:_SHOWN])}{more}.")


def _price(options: argparse.Namespace) -> ListPrice | None:
    read, cached, written = options.read_price, options.cached_price, options.written_price
    if read is None and cached is None and written is None:
        return None
    if read is None or written is None:
        raise InvalidRequestError("A price list needs --read-price and --written-price.")
    return ListPrice(read, written, cached)


def _standing(remote: KeptRemote) -> str:
    found = found_abilities(remote)
    if found is None:
        return "not tested"
    return "works" if found.can_be_used else "does not work"
