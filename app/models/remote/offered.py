"""What a server says that it has: its models by the names that it calls them, looked up before one is added."""

from __future__ import annotations

from dataclasses import dataclass

from app.background.computed import Computed
from app.background.jobs import Jobs, JobState, Report
from app.models.remote.registry import KEY_FIELD
from app.remote.address import base_of, host_of
from app.remote.keys import checked_key
from engine.backends.remote import list_served


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
            return Offered(base, list_served(base, checked))

        self._found.start(_job(person, base), compute)

    def state(self, person: str, base: str) -> JobState | None:
        """How the latest look at an address stands; ``None`` where there was none."""
        return self._jobs.state(_job(person, base))

    def found(self, person: str, base: str) -> Offered | None:
        """What the latest look at it that came to something found."""
        return self._found.value(_job(person, base))


def _job(person: str, base: str) -> str:
    return f"{base} looked at by {person}"
