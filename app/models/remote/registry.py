"""The remote models that there are, as the engine asks for them, and the way their keys are kept."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Self

from app.remote.address import base_of, metrics_of, same_origin, shows_key
from app.remote.keys import checked_key, key_from, key_in
from app.remote.names import checked_name
from app.remote.prices import ListPrice
from app.secrets import Secrets
from app.settings import Settings
from app.store import KeptRemote, NewRemote, RemoteStore, RunStore
from engine.backends.remote import MOST_SERVED
from engine.errors import GearboxError, InvalidRequestError
from engine.types import RemoteModel, is_remote

KEY_FIELD = "the field for it"
"""Where a key is given on the page, in messages."""


class RemoteKeyError(GearboxError):
    """The key of a server is not there."""


class KeyPlace(StrEnum):
    """Where a server's key is."""

    NONE = "none"
    SEALED = "sealed"
    """In the run database, encrypted."""
    VARIABLE = "variable"
    """In an environment variable."""
    MEMORY = "memory"
    """In the memory of this server alone."""
    LOST = "lost"
    """It was in the memory of a server that has ended, or is another one's."""


class RemoteModels:
    """Looks them up at each request, so that what is changed counts from the next one on. A key that cannot be sealed
    is kept in this object alone. Safe to share between threads.
    """

    def __init__(
        self, store: Callable[[], RemoteStore], secrets: Secrets, environ: Mapping[str, str] = os.environ
    ) -> None:
        """
        Args:
            store: where they are kept.
            secrets: seals their keys.
            environ: holds the keys that are named by a variable.
        """
        self._store = store
        self._secrets = secrets
        self._environ = environ
        self._keys: dict[str, str] = {}
        """By the id of the remote model: those that could not be sealed."""
        self._lock = threading.Lock()

    @classmethod
    def of(cls, settings: Settings, store: RunStore) -> Self:
        """Those in a store, beside a server that may be running."""
        return cls(lambda: store.remotes, Secrets.of(settings))

    @property
    def can_seal(self) -> bool:
        """Whether a key outlives this server."""
        return self._secrets.can_keep

    def all(self) -> tuple[KeptRemote, ...]:
        """All of them, by name. Raises `StoreError` where the database cannot be used, like all methods."""
        return self._store().all()

    def names(self) -> list[str]:
        """What they are called, each with its @."""
        return [remote.name for remote in self.all()]

    def prices(self) -> dict[str, ListPrice]:
        """The list prices by name, of those that have one."""
        return {remote.name: remote.price for remote in self.all() if remote.price is not None}

    def resolve(self, name: str) -> RemoteModel | None:
        """What the engine needs to ask one; ``None`` if there is none of that name.

        Raises:
            RemoteKeyError: it has a key, which is not here.
            SecretsError: its key cannot be opened.
            StoreError: the database cannot be read.
        """
        remote = self._store().named(name) if is_remote(name) else None
        return None if remote is None else self.opened(remote)

    def opened(self, remote: KeptRemote) -> RemoteModel:
        """One with its key. Raises as :meth:`resolve`."""
        return RemoteModel(
            name=remote.name,
            url=remote.url,
            served_name=remote.served_name,
            key=self._key_of(remote),
            metrics_url=remote.metrics_url,
        )

    def key_place(self, remote: KeptRemote) -> KeyPlace:
        """Where its key is."""
        if remote.key_variable:
            return KeyPlace.VARIABLE
        if not remote.has_key:
            return KeyPlace.NONE
        if remote.sealed_key is not None:
            return KeyPlace.SEALED
        with self._lock:
            return KeyPlace.MEMORY if remote.id in self._keys else KeyPlace.LOST

    def add(
        self,
        *,
        name: str,
        url: str,
        served_name: str,
        metrics_url: str = "",
        key: str = "",
        key_variable: str | None = None,
        price: ListPrice | None = None,
    ) -> KeptRemote:
        """Keep a new one.

        Args:
            name: what to call it, with or without the @.
            url: of the server or its API.
            served_name: what the server calls the model.
            metrics_url: where its counters are read, on its own host; empty reads none.
            key: what it wants as a bearer token; empty for none.
            key_variable: the environment variable that holds it instead. Only for whoever runs the server to choose: a
                visitor could have any variable sent to an address of their own.
            price: what it costs, if that is known.

        Raises:
            InvalidRequestError: something of it cannot be, in words.
            ConflictError: the name is taken.
        """
        if key_variable is not None:
            key_in(key_variable, self._environ)
        new = _checked(name, url, served_name, metrics_url, price)
        key_given = checked_key(key, KEY_FIELD)
        kept = self._store().add(self._with_key(replace(new, key_variable=key_variable), key_given))
        self._remember(kept, key_given)
        return kept

    def change(
        self,
        remote: KeptRemote,
        *,
        name: str,
        url: str,
        served_name: str,
        metrics_url: str,
        key: str | None,
        price: ListPrice | None,
    ) -> KeptRemote:
        """Describe one anew.

        Args:
            remote: as it was.
            name, url, served_name, metrics_url, price: as for :meth:`add`.
            key: a new key, empty to have none from now on; ``None`` leaves the one that there is, which goes to no
                other server than the one that it was given for.

        Raises:
            InvalidRequestError, ConflictError: as :meth:`add`; or the server is another one, and no key was given.
            GoneError: it was removed.
        """
        new = _checked(name, url, served_name, metrics_url, price)
        if key is None:
            if remote.has_key and not same_origin(remote.url, new.url):
                raise InvalidRequestError(
                    "The key was given for another server, and is not sent to this one: give the key again, or remove "
                    "it."
                )
            new = replace(new, sealed_key=remote.sealed_key, has_key=remote.has_key, key_variable=remote.key_variable)
            return self._store().change(remote.id, new)
        key_given = checked_key(key, KEY_FIELD)
        kept = self._store().change(remote.id, self._with_key(new, key_given))
        self._remember(kept, key_given)
        return kept

    def remove(self, remote: KeptRemote) -> None:
        """Forget one with its key."""
        self._store().remove(remote.id)
        self._remember(remote, None)

    def _with_key(self, new: NewRemote, key: str | None) -> NewRemote:
        sealed = self._secrets.seal(key) if key else None
        return replace(new, sealed_key=sealed, has_key=key is not None or new.key_variable is not None)

    def _remember(self, remote: KeptRemote, key: str | None) -> None:
        with self._lock:
            self._keys.pop(remote.id, None)
            if key and remote.sealed_key is None:
                self._keys[remote.id] = key

    def _key_of(self, remote: KeptRemote) -> str | None:
        match self.key_place(remote):
            case KeyPlace.NONE:
                return None
            case KeyPlace.SEALED:
                return self._secrets.open(remote.sealed_key or "")
            case KeyPlace.VARIABLE:
                key = key_from([remote.key_variable or ""], self._environ)
                if key is None:
                    raise RemoteKeyError(
                        f"The key of {remote.name} is to be in {remote.key_variable}, which is not set."
                    )
                return key
            case KeyPlace.MEMORY | KeyPlace.LOST:
                with self._lock:
                    key = self._keys.get(remote.id)
                if key is None:
                    raise RemoteKeyError(
                        f"The key of {remote.name} was kept in the memory of a Gearbox that has ended, or is another "
                        "one. Give it again on the Models page; with GEARBOX_SECRET_KEY it is kept for good."
                    )
                return key


def key_warning(url: str, *, has_key: bool) -> str | None:
    """What to think of before a key is sent to an address, for the user; ``None`` where nothing is."""
    if has_key and shows_key(url):
        return "The key is sent unencrypted: whoever is on the way can read it. Use https."
    return None


def _checked(name: str, url: str, served_name: str, metrics_url: str, price: ListPrice | None) -> NewRemote:
    served = served_name.strip()
    if not served or len(served) > MOST_SERVED or not served.isprintable():
        raise InvalidRequestError(f"Choose the server's model, or type its name, in at most {MOST_SERVED} characters.")
    base = base_of(url, KEY_FIELD)
    counters = metrics_of(metrics_url, base)
    return NewRemote(name=checked_name(name), url=base, served_name=served, metrics_url=counters, price=price)
