"""What a server says that it has: its models by the names that it calls them, looked up before one is added."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import Any

from app.background.computed import Computed
from app.background.jobs import Jobs, JobState, Report
from app.models.remote.registry import KEY_FIELD, MOST_SERVED
from app.remote.address import base_of, host_of
from app.remote.keys import checked_key
from engine.backends.remote.words import error_message, one_line
from engine.errors import GearboxError
from engine.untrusted import parse_json

TIMEOUT_S = 10.0
_MOST_BYTES = 1 << 20
_MOST_MODELS = 2_000


class ServerError(GearboxError):
    """A server does not say what it has."""


@dataclass(frozen=True, slots=True)
class Offered:
    """What one server has."""

    url: str
    """Of its API."""
    models: tuple[str, ...]


class Offers:
    """Looks them up in the background, for each person and address. Safe to use from any thread."""

    def __init__(self, jobs: Jobs) -> None:
        self._found: Computed[Offered] = Computed(jobs)
        self._jobs = jobs

    def look(self, person: str, url: str, key: str) -> None:
        """Ask a server.

        Raises:
            InvalidRequestError: the address or the key cannot be.
        """
        base, checked = base_of(url, KEY_FIELD), checked_key(key, KEY_FIELD)

        def compute(report: Report) -> Offered:
            report(f"Asking {host_of(base)}", 0.0)
            return Offered(base, served_models(base, checked))

        self._found.start(_job(person, base), compute)

    def state(self, person: str, base: str) -> JobState | None:
        """How the latest look at an address stands; ``None`` where there was none."""
        return self._jobs.state(_job(person, base))

    def found(self, person: str, base: str) -> Offered | None:
        """What the latest look at it that came to something found."""
        return self._found.value(_job(person, base))


def served_models(base: str, key: str | None, timeout_s: float = TIMEOUT_S) -> tuple[str, ...]:
    """The models that a server lists, in its order, each once; of names only those that can be shown and kept.

    Args:
        base: of its API, as `base_of` gives it.
        key: sent as a bearer token, to this address alone: nothing is redirected.
        timeout_s: for all of it.

    Raises:
        ServerError: it cannot be reached, or gives no list; the message does not tell the key.
    """
    import httpx2

    headers = {"accept": "application/json", "accept-encoding": "identity"}
    if key:
        headers["authorization"] = f"Bearer {key}"
    until, body = monotonic() + timeout_s, b""
    try:
        with (
            httpx2.Client(headers=headers, timeout=timeout_s) as http,
            http.stream("GET", f"{base}/models") as response,
        ):
            for part in response.iter_bytes():
                body += part
                if len(body) > _MOST_BYTES or monotonic() > until:
                    raise ServerError(f"{host_of(base)} sends no end of its list of models.")
    except (httpx2.TransportError, httpx2.DecodingError) as error:
        said = one_line(str(error) or type(error).__name__, key)
        raise ServerError(f"{host_of(base)} cannot be reached: {said}.") from error
    return _read(base, response.status_code, body, key)


def _read(base: str, status: int, body: bytes, key: str | None) -> tuple[str, ...]:
    try:
        tree: Any = parse_json(body)
    except ValueError:
        tree = None
    match tree:
        case {"data": list(entries)} if status == 200:
            ids = (each.get("id") for each in entries if isinstance(each, dict))
            named = [
                id for id in ids if isinstance(id, str) and id.isprintable() and id.strip() and len(id) <= MOST_SERVED
            ]
            return tuple(dict.fromkeys(named))[:_MOST_MODELS]
    said = error_message(tree) if tree is not None else body.decode("utf-8", "replace")
    what = one_line(f"HTTP {status} {said}".strip(), key)
    raise ServerError(f"{host_of(base)} lists no models: {what}. If it has no such list, type the model's name.")


def _job(person: str, base: str) -> str:
    return f"{base} looked at by {person}"
