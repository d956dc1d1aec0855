"""Where things are kept, read once from the environment."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from app.doors.hosts import AllowedHosts
from app.remote.address import endpoint_of
from app.remote.keys import key_from
from engine.errors import GearboxError, InvalidRequestError
from engine.types import DEFAULT_KV_CACHE_BYTES, DeviceChoice
from engine.untrusted import decode_text, read_jsonl, valid_text

REPOSITORY = Path(__file__).resolve().parent.parent
UNWATCHED_S = 60
_MOST_DIGITS = 12
"""Of a count: more MiB or threads than any machine has."""
_MOST_DAYS = 36_500
_AWAY_MINUTES = 30
_MAX_BODY_MIB = 2
_FEWEST_CHARACTERS = 8
"""Of a password."""


JUDGE_URL, JUDGE_KEY = "GEARBOX_JUDGE_URL", "GEARBOX_JUDGE_KEY"
"""The variables with an OpenAI-compatible server whose models may judge answers, and the key for it."""
_SECRET_KEY = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]=", re.ASCII)
"""256 bits in base64."""
_EMAIL = re.compile(r"(?:\*|[^@*,\s]+)@[^@*,\s]+")


class SettingsError(GearboxError):
    """An environment variable has a value that cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Paths and options of one installation."""

    data_dir: Path
    """Holds the models and, unless the database is elsewhere, the run database."""
    database_url: str
    """A SQLAlchemy URL."""
    models_dir: Path
    threads: int | None = None
    """CPU threads of the engine; ``None`` lets it choose."""
    model_memory_bytes: int | None = None
    """What loaded models may hold together; ``None`` for whatever is free."""
    device: DeviceChoice = DeviceChoice.AUTO
    """Where models run."""
    kv_cache_bytes: int = DEFAULT_KV_CACHE_BYTES
    """What KV kept across requests may take."""
    verify_cache: float = 0.0
    """Share of the reused prefixes that are computed anew and compared, 0 to 1."""
    shared_prompts: Mapping[str, str] = field(default_factory=dict)
    """System prompts whose KV all sessions may share, by name."""
    unwatched_s: float = UNWATCHED_S
    """How long a race or a chat answer goes on that nobody looks at."""
    allowed_hosts: AllowedHosts = field(default_factory=AllowedHosts)
    """The names that the server answers to."""
    shared_desk: bool = False
    """Whether everybody who comes in may see what everybody wrote and was answered."""
    away_s: float = _AWAY_MINUTES * 60.0
    """How long KV is kept for somebody who has no page open."""
    api: bool = False
    """Whether others than this machine may use the API, with keys."""
    max_body: int = _MAX_BODY_MIB * 2**20
    """Most bytes of a request to the API."""
    password: str | None = field(default=None, repr=False)
    """What others than this machine give to see the pages, or its argon2 hash; ``None`` if no password lets them in."""
    login_emails: tuple[str, ...] = ()
    """Whom a provider's login lets in: addresses, or ``*@example.com``; empty for whomever the provider lets in."""
    keep_days: int | None = None
    """Older runs are pruned; ``None`` leaves it to the Settings page, as the next one does."""
    keep_runs: int | None = None
    """All but so many of the newest runs are pruned."""
    judge_url: str | None = None
    """An OpenAI-compatible server whose models may judge experiments' answers; ``None`` if nothing is sent to any."""
    judge_key: str | None = field(default=None, repr=False)
    """The key for it."""
    secret_keys: tuple[str, ...] = field(default=(), repr=False)
    """What texts are sealed with at rest: the first seals, all open. Empty if none can be kept secret."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read ``GEARBOX_DATA_DIR``, ``GEARBOX_DATABASE_URL``, ``GEARBOX_THREADS``, ``GEARBOX_MODEL_MEMORY_MIB``,
        ``GEARBOX_DEVICE``, ``GEARBOX_KV_CACHE_MIB``, ``GEARBOX_VERIFY_CACHE``, ``GEARBOX_SHARED_PROMPTS``,
        ``GEARBOX_UNWATCHED_S``, ``GEARBOX_ALLOWED_HOSTS``, ``GEARBOX_SHARED_DESK``, ``GEARBOX_AWAY_MINUTES``,
        ``GEARBOX_API``, ``GEARBOX_MAX_BODY_MIB``, ``GEARBOX_PASSWORD`` or ``GEARBOX_PASSWORD_FILE``,
        ``GEARBOX_LOGIN_EMAILS``, ``GEARBOX_KEEP_DAYS``, ``GEARBOX_KEEP_RUNS``, ``GEARBOX_JUDGE_URL``,
        ``GEARBOX_JUDGE_KEY`` and ``GEARBOX_SECRET_KEY`` or ``GEARBOX_SECRET_KEY_FILE``.

        A variable that is set to nothing counts as not set.

        Raises:
            SettingsError: a count is not a whole number, a share is not between 0 and 1, there is no such device,
                a folder or the file of shared prompts cannot be used, a host is no host, a switch is neither
                0 nor 1, a password is too short or there are two, an address is none, the judge's server or key
                cannot be used, or a secret key is none.
        """
        kv_cache_mib = _count("GEARBOX_KV_CACHE_MIB", environ, least=0)
        memory_mib = _count("GEARBOX_MODEL_MEMORY_MIB", environ)
        away_minutes = _count("GEARBOX_AWAY_MINUTES", environ, least=0)
        max_body_mib = _count("GEARBOX_MAX_BODY_MIB", environ) or _MAX_BODY_MIB
        judge_url, judge_key = _judge(environ)
        data_dir = _path("GEARBOX_DATA_DIR", environ.get("GEARBOX_DATA_DIR") or str(REPOSITORY / "data")).resolve()
        if valid_text(str(data_dir)) != str(data_dir):
            raise SettingsError(
                f"Nothing can be kept in {valid_text(str(data_dir))}: the folder's name is no UTF-8. Rename it, choose "
                "another one with GEARBOX_DATA_DIR, or use a locale with UTF-8."
            )
        return cls(
            data_dir=data_dir,
            database_url=environ.get("GEARBOX_DATABASE_URL") or f"sqlite:///{data_dir / 'gearbox.db'}",
            models_dir=data_dir / "models",
            threads=_count("GEARBOX_THREADS", environ),
            model_memory_bytes=memory_mib and memory_mib * 2**20,
            device=_device("GEARBOX_DEVICE", environ),
            kv_cache_bytes=DEFAULT_KV_CACHE_BYTES if kv_cache_mib is None else kv_cache_mib * 2**20,
            verify_cache=_share("GEARBOX_VERIFY_CACHE", environ),
            shared_prompts=_prompts("GEARBOX_SHARED_PROMPTS", environ),
            unwatched_s=_count("GEARBOX_UNWATCHED_S", environ) or UNWATCHED_S,
            allowed_hosts=_hosts("GEARBOX_ALLOWED_HOSTS", environ),
            shared_desk=_switch("GEARBOX_SHARED_DESK", environ),
            away_s=(_AWAY_MINUTES if away_minutes is None else away_minutes) * 60.0,
            api=_switch("GEARBOX_API", environ),
            max_body=max_body_mib * 2**20,
            password=_password(environ),
            login_emails=_emails("GEARBOX_LOGIN_EMAILS", environ),
            keep_days=_days("GEARBOX_KEEP_DAYS", environ),
            keep_runs=_count("GEARBOX_KEEP_RUNS", environ),
            judge_url=judge_url,
            judge_key=judge_key,
            secret_keys=_secret_keys(environ, data_dir),
        )


def _path(name: str, value: str) -> Path:
    try:
        return Path(value).expanduser()
    except RuntimeError as error:  # nobody of that name has a home
        raise SettingsError(f"{name} cannot be used: {error}") from error


def _count(name: str, environ: Mapping[str, str], *, least: int = 1) -> int | None:
    value = environ.get(name, "").strip()
    if not value:
        return None
    if not value.isascii() or not value.isdigit() or len(value) > _MOST_DIGITS or int(value) < least:
        raise SettingsError(
            f"{name} must be a whole number of at least {least} and at most {_MOST_DIGITS} digits, and is "
            f"{environ[name][:60]!r}."
        )
    return int(value)


def _days(name: str, environ: Mapping[str, str]) -> int | None:
    days = _count(name, environ)
    if days is not None and days > _MOST_DAYS:
        raise SettingsError(f"{name} must be at most {_MOST_DAYS:,} days, and is {days:,}.")
    return days


def _share(name: str, environ: Mapping[str, str]) -> float:
    value = environ.get(name, "").strip() or "0"
    try:
        share = float(value)
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise SettingsError(f"{name} must be a number between 0 and 1, and is {environ[name]!r}.")
    return share


def _switch(name: str, environ: Mapping[str, str]) -> bool:
    value = environ.get(name, "").strip() or "0"
    if value not in ("0", "1"):
        raise SettingsError(f"{name} must be 1 for yes or 0 for no, and is {environ[name][:60]!r}.")
    return value == "1"


def _device(name: str, environ: Mapping[str, str]) -> DeviceChoice:
    value = environ.get(name, "").strip() or DeviceChoice.AUTO
    if value not in list(DeviceChoice):
        raise SettingsError(f"{name} must be one of {', '.join(DeviceChoice)}, and is {environ[name]!r}.")
    return DeviceChoice(value)


def _hosts(name: str, environ: Mapping[str, str]) -> AllowedHosts:
    try:
        return AllowedHosts.parse(environ.get(name, ""))
    except ValueError as error:
        raise SettingsError(
            f"{name} must list the names or addresses by which browsers call this server, with commas between them "
            f"and without http:// or a port, such as gearbox.lan,192.168.1.5,*.example.com; {str(error)!r} is none."
        ) from error


def _password(environ: Mapping[str, str]) -> str | None:
    """The password, from a variable or a file. No message repeats it."""
    password = _or_from_file("GEARBOX_PASSWORD", environ)
    if password is None:
        return None
    if len(password) < _FEWEST_CHARACTERS:
        raise SettingsError(f"The password must have at least {_FEWEST_CHARACTERS} characters.")
    if valid_text(password) != password:
        raise SettingsError("The password must be UTF-8.")
    return password


def _or_from_file(name: str, environ: Mapping[str, str]) -> str | None:
    """A variable's value, or what stands in the file that ``…_FILE`` names; ``None`` if neither is set."""
    value, file = environ.get(name, ""), environ.get(f"{name}_FILE", "").strip()
    if value and file:
        raise SettingsError(f"{name} and {name}_FILE are both set: choose one.")
    if not file:
        return value or None
    try:
        return _path(f"{name}_FILE", file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{name}_FILE must be a text file, and is {file!r}: {error}.") from error


def _secret_keys(environ: Mapping[str, str], data_dir: Path) -> tuple[str, ...]:
    """Keys with commas between them. No message repeats one."""
    file = environ.get("GEARBOX_SECRET_KEY_FILE", "").strip()
    if file and _path("GEARBOX_SECRET_KEY_FILE", file).resolve().is_relative_to(data_dir):
        raise SettingsError(
            "GEARBOX_SECRET_KEY_FILE lies in the data folder: whoever copies that has the key with what it seals. Put "
            "the file elsewhere."
        )
    text = _or_from_file("GEARBOX_SECRET_KEY", environ) or ""
    keys = tuple(dict.fromkeys(key.strip() for key in text.split(",") if key.strip()))
    if not all(_SECRET_KEY.fullmatch(key) for key in keys):
        raise SettingsError(
            "GEARBOX_SECRET_KEY must be a key that `gearbox secret-key` made, or several with commas between them."
        )
    return keys


def _judge(environ: Mapping[str, str]) -> tuple[str | None, str | None]:
    """The server of a judge, and the key for it. No message repeats the key."""
    url = environ.get(JUDGE_URL, "").strip()
    try:
        if url:
            endpoint_of(url, JUDGE_KEY)
        return url or None, key_from([JUDGE_KEY], environ)
    except InvalidRequestError as error:
        raise SettingsError(f"{JUDGE_URL} or {JUDGE_KEY} cannot be used. {error}") from error


def _emails(name: str, environ: Mapping[str, str]) -> tuple[str, ...]:
    emails = tuple(entry.strip().lower() for entry in environ.get(name, "").split(",") if entry.strip())
    for email in emails:
        if not _EMAIL.fullmatch(email):
            raise SettingsError(
                f"{name} must list addresses, with commas between them, such as anna@example.com,*@example.org; "
                f"{email!r} is none."
            )
    return emails


def _prompts(name: str, environ: Mapping[str, str]) -> dict[str, str]:
    """System prompts by name, from a JSONL file."""
    value = environ.get(name, "").strip()
    if not value:
        return {}
    try:
        records = list(read_jsonl(decode_text(_path(name, value).read_bytes(), "It")))
    except OSError as error:
        raise SettingsError(f"{name} must be a text file that can be read, and is {value!r}: {error}.") from error
    except InvalidRequestError as error:
        raise SettingsError(f"{name} must be a file of JSON lines, and is {value!r}. {error}") from error
    prompts: dict[str, str] = {}
    for record in records:
        where = f"Line {record.line:,} of {value} ({name})"
        match record.fields:
            case {"name": str(called), "system": str(text), **rest} if called.strip() and text.strip() and not rest:
                # as the pages send it: nothing around it
                called, text = called.strip(), text.strip()
            case _:
                raise SettingsError(f'{where} must be {{"name": "…", "system": "…"}}, with some text in both.')
        if called in prompts:
            raise SettingsError(f"{where} names a second prompt {called!r}.")
        if text in prompts.values():
            raise SettingsError(f"{where} shares a system prompt that stands there already.")
        prompts[called] = text
    return prompts
