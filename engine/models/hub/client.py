"""Asks the model hub over HTTP, and says in words what goes wrong.

What is configured for ``huggingface_hub`` holds here too: ``HF_ENDPOINT``, ``HF_TOKEN``, ``HF_HUB_OFFLINE``, and the
proxies of the environment. Its own calls are not used for it: without a network they try for half a minute.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit
from urllib.request import getproxies

import httpx2
from huggingface_hub import constants, get_session, get_token
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]  # lazily exported

from engine.errors import HubUnreachableError, UnknownModelError
from engine.untrusted import parse_json, valid_text

TIMEOUT_S = 10.0
LARGEST_ANSWER = 32 * 2**20
"""Bytes of JSON that are read."""

_WORKS_ON = "What is on this machine works without it."


@dataclass(frozen=True, slots=True)
class Stream:
    """A file on its way."""

    begin: int
    """The byte that it begins with: 0 where the hub begins again though asked for a part."""
    pieces: Iterator[bytes]


def hub_address() -> str:
    """Where the hub is: ``https://huggingface.co``, or what ``HF_ENDPOINT`` says."""
    return constants.ENDPOINT


def ask(path: str, parameters: Sequence[tuple[str, str]], about: str) -> Any:
    """What the hub answers, as JSON.

    Args:
        path: behind the hub's address.
        parameters: of the query.
        about: which model it is about, or whatever else; for the messages.

    Raises:
        HubUnreachableError: it cannot be reached, or does not answer as a hub does.
        UnknownModelError: it has no such model, or does not show it to this user.
    """
    with _errors_in_words(about), _get(f"{hub_address()}{path}", dict_of(parameters), {}) as response:
        body = b"".join(_bounded(response.iter_bytes(), LARGEST_ANSWER))
    try:
        return parse_json(body)
    except ValueError as error:
        raise HubUnreachableError(_unreachable("what answers there is no model hub, maybe a proxy's page")) from error


@contextmanager
def stream_file(repository: str, revision: str, name: str, begin: int = 0, end: int | None = None) -> Iterator[Stream]:
    """A file of a repository, or a part of it.

    Args:
        repository: as ``organisation/name``.
        revision: a commit.
        name: its path in the repository.
        begin: the first byte wanted.
        end: the byte after the last one; by default that of the file.

    Raises:
        HubUnreachableError, UnknownModelError: as :func:`ask`; also while it is read.
    """
    url = f"{hub_address()}/{repository}/resolve/{quote(revision, safe='')}/{quote(name)}"
    # what is not compressed on its way can be gone on with, and has the length that the hub lists
    headers = {"Accept-Encoding": "identity"}
    if begin or end is not None:
        headers["Range"] = f"bytes={begin}-{'' if end is None else end - 1}"
    with _errors_in_words(repository), _get(url, {}, headers) as response:
        starts_at = begin if response.status_code == 206 else 0
        # piece by piece as they come: of a larger one, what has come would be lost with the connection
        yield Stream(starts_at, response.iter_bytes())


def read_file(repository: str, revision: str, name: str, most_bytes: int) -> bytes:
    """The first bytes of a file, at most so many.

    Raises:
        HubUnreachableError, UnknownModelError: as :func:`ask`.
    """
    found = bytearray()
    with stream_file(repository, revision, name, 0, most_bytes) as stream:
        for piece in stream.pieces:
            found += piece
            if len(found) >= most_bytes:
                break
    return bytes(found[:most_bytes])


def dict_of(parameters: Sequence[tuple[str, str]]) -> Mapping[str, list[str]]:
    """A query's values by name; one may have several."""
    found: dict[str, list[str]] = {}
    for name, value in parameters:
        found.setdefault(name, []).append(value)
    return found


def is_gated_error(error: UnknownModelError) -> bool:
    """Whether a model is there, but shown only to those who accepted its terms."""
    return isinstance(error, _NotLetInError)


class _NotLetInError(UnknownModelError):
    """The hub knows the model, and does not let this user have it."""


@contextmanager
def _get(url: str, parameters: Mapping[str, list[str]], headers: Mapping[str, str]) -> Iterator[httpx2.Response]:
    sent = {**build_hf_headers(), **headers}
    with get_session().stream("GET", url, params=parameters, headers=sent, timeout=TIMEOUT_S) as response:
        if response.status_code >= 400:
            response.read()  # its body belongs to the error
        hf_raise_for_status(response)
        yield response


def _bounded(pieces: Iterator[bytes], most: int) -> Iterator[bytes]:
    """At most so many bytes: what is cut is no JSON any more."""
    for piece in pieces:
        yield piece[: max(most, 0)]
        most -= len(piece)
        if most <= 0:
            return


@contextmanager
def _errors_in_words(about: str) -> Iterator[None]:
    try:
        yield
    except GatedRepoError as error:
        raise _NotLetInError(_gated(about)) from error
    except RemoteEntryNotFoundError as error:
        raise UnknownModelError(f"{about} has no such file any more.") from error
    except RepositoryNotFoundError as error:
        raise UnknownModelError(_missing(about)) from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise _NotLetInError(_gated(about)) from error
        if status == 404:
            raise UnknownModelError(_missing(about)) from error
        raise HubUnreachableError(_unreachable(_status_in_words(status))) from error
    except (OfflineModeIsEnabled, httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise HubUnreachableError(_unreachable(_reason(error))) from error


def _gated(about: str) -> str:
    account = "the token that is set is not let in" if get_token() else "no token is set"
    return (
        f"The hub gives {about} only to those who accepted its terms, and {account}. Accept them at "
        f"{hub_address()}/{about}, set HF_TOKEN to a token of that account, and start Gearbox again."
    )


def _missing(about: str) -> str:
    private = "" if get_token() else ", or it is private (then set HF_TOKEN)"
    return f"The hub has no model {about}{private}."


def _unreachable(why: str) -> str:
    return f"The model hub ({urlsplit(hub_address()).netloc or hub_address()}) cannot be reached: {why}. {_WORKS_ON}"


def _status_in_words(status: int) -> str:
    match status:
        case 407:
            return "the proxy asks for a name and a password"
        case 429:
            return "it asks for fewer requests; try again in a few minutes"
        case _:
            return f"it answers with error {status}"


def _reason(error: Exception) -> str:
    behind = " (asked through the proxy of the environment)" if _proxied() else ""
    said = valid_text(str(error))
    match error:
        case OfflineModeIsEnabled():
            return "HF_HUB_OFFLINE is set"
        case httpx2.ProxyError():
            return "the proxy of the environment does not let it through"
        case httpx2.TimeoutException():
            return f"it does not answer within {TIMEOUT_S:.0f} s{behind}"
        case httpx2.ConnectError() if "CERTIFICATE" in said.upper():
            return f"its certificate is not trusted here{behind}"
        case httpx2.ConnectError():
            return f"there is no connection to it{behind}"
        case _:
            return f"the connection broke off{behind}"


def _proxied() -> bool:
    return bool(getproxies().get(urlsplit(hub_address()).scheme) or getproxies().get("all"))
