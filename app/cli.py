"""The ``gearbox`` command: the engine's commands, ``run``, which serves the app, and what its doors need."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, NoReturn

from engine.errors import ModelInUseError
from engine.process import run_process

if TYPE_CHECKING:
    import argparse

    from app.store import KeyStore
    from engine.command_line import Commands

_PATHS = ("GEARBOX_DATA_DIR", "GEARBOX_SHARED_PROMPTS", "GEARBOX_PASSWORD_FILE", "GEARBOX_SECRET_KEY_FILE")
"""Settings that are files or folders: relative ones mean the folder that the command was given in."""


def main() -> NoReturn:
    """Run the command that this process was started with."""
    run_process(_load)


def _load() -> Callable[[], int]:
    from app.configurations.options import add_configurations
    from app.experiments.command.options import add_experiments
    from app.models.remote.options import add_servers
    from app.operations.alerts.command import add_alerts
    from app.operations.keeping.options import add_keeping
    from app.operations.sentinel.command.options import add_sentinel
    from engine.command_line import parser, run_options

    gearbox, commands = parser(
        "gearbox", "An LLM inference playground and operations dashboard.", told=_told_before_removal
    )
    serve = commands.add_parser("run", help="serve the app", epilog="Further options are streamlit's own.")
    serve.add_argument("--port", type=int, default=8501, help="8501 unless given")
    serve.add_argument("--address", help="address to listen on; this machine's alone unless given")
    serve.add_argument("--api", action="store_true", help="let other machines use the API, with keys")
    serve.set_defaults(command=_serve)
    _add_keys(commands)
    add_experiments(commands)
    add_configurations(commands)
    add_keeping(commands)
    add_alerts(commands)
    add_sentinel(commands)
    add_servers(commands)
    password = commands.add_parser("password", help="make the hash of a password, for GEARBOX_PASSWORD_FILE")
    password.set_defaults(command=_hash_password)
    secret_key = commands.add_parser("secret-key", help="make a key that seals secrets at rest, for GEARBOX_SECRET_KEY")
    secret_key.set_defaults(command=_make_secret_key)

    def run() -> int:
        options, further = gearbox.parse_known_args()
        if further and options.command is not _serve:
            gearbox.error(f"unrecognized arguments: {' '.join(further)}")
        options.further = further
        return run_options(options)

    return run


def _told_before_removal(model: str) -> list[str]:
    """What stored runs, configurations and experiments there are of a model.

    Raises:
        ModelInUseError: it answers right now, in a server.
    """
    from app.models.references import references_to, stays_in_words
    from app.settings import Settings
    from app.store import RunStore

    with closing(RunStore.of(Settings.from_env())) as store:
        references = references_to(model, store)
    if references.running:
        raise ModelInUseError(f"{model} answers now, in a server of this installation. Wait until that has ended.")
    return stays_in_words(references)


def _serve(options: argparse.Namespace) -> int:
    """Become the server, in the folder whose ``.streamlit`` configures it."""
    import os
    from pathlib import Path

    root = Path(__file__).resolve().parent.parent
    for name in _PATHS:
        if os.environ.get(name):
            os.environ[name] = str(Path(os.environ[name]).absolute())
    if options.api:
        os.environ["GEARBOX_API"] = "1"
    address = ["--server.address", options.address] if options.address else []
    command = ["app.launch", "run", "app/server.py", "--server.port", str(options.port), *address, *options.further]
    os.chdir(root)
    os.execv(sys.executable, [sys.executable, "-m", *command])


def _add_keys(commands: Commands) -> None:
    from app.doors.keys import KeyLimits

    keys = commands.add_parser("keys", help="make, list or revoke keys of the API")
    actions = keys.add_subparsers(required=True, metavar="ACTION")
    create = actions.add_parser("create", help="make a key, and print its secret, which is shown this once")
    create.set_defaults(command=_create_key)
    create.add_argument("name", help="whose it is, or what it is for")
    for option, what, usual in (
        ("--requests-per-minute", "requests a minute", KeyLimits().requests_per_minute),
        ("--tokens-per-minute", "tokens a minute, of prompts and answers together", KeyLimits().tokens_per_minute),
        ("--concurrent", "requests that run at a time", KeyLimits().concurrent),
        ("--queue", "requests that wait while those run", KeyLimits().queue),
    ):
        help = f"most {what}, or none for any number; {'none' if usual is None else usual} unless given"
        create.add_argument(option, type=_limit, default=usual, metavar="N", help=help)
    listing = actions.add_parser("list", help="list the keys: how they begin, whose they are, when they were used")
    listing.set_defaults(command=_list_keys)
    revoke = actions.add_parser("revoke", help="end a key for good")
    revoke.set_defaults(command=_revoke_key)
    revoke.add_argument("prefix", help="how it begins: gbx_ and 8 digits")


def _limit(text: str) -> int | None:
    import argparse

    if text != "none" and not (text.isascii() and text.removeprefix("-").isdigit()):
        raise argparse.ArgumentTypeError(f"it is a whole number or none, and not {text[:20]!r}")
    return None if text == "none" else int(text)


def _keys() -> closing[KeyStore]:
    """The keys in the database of the settings, beside a server that may be running."""
    from app.settings import Settings
    from app.store import KeyStore

    return closing(KeyStore.open(Settings.from_env().database_url))


def _create_key(options: argparse.Namespace) -> int:
    from app.doors.keys import KeyLimits

    limits = KeyLimits(
        requests_per_minute=options.requests_per_minute,
        tokens_per_minute=options.tokens_per_minute,
        concurrent=options.concurrent,
        queue=options.queue,
    )
    with _keys() as keys:
        _, secret = keys.create(options.name, limits)
    sys.stderr.write("Keep this key: it is shown this once.\n")
    sys.stdout.write(f"{secret}\n")
    return 0


def _list_keys(_options: argparse.Namespace) -> int:
    with _keys() as keys:
        rows = [
            (key.prefix, key.created_at, key.last_used_at, "revoked" if key.revoked_at else "", key.name)
            for key in keys.list()
        ]
    for prefix, created, used, state, name in rows:
        last = f"{used:%Y-%m-%d %H:%M}" if used else "never"
        sys.stdout.write(f"{prefix}  made {created:%Y-%m-%d}  used {last:16}  {state:7}  {name}\n")
    if not rows:
        sys.stderr.write("There are no keys yet: gearbox keys create NAME makes one.\n")
    return 0


def _revoke_key(options: argparse.Namespace) -> int:
    with _keys() as keys:
        key = keys.revoke(options.prefix)
    sys.stdout.write(f"{key.prefix} ({key.name}) is revoked.\n")
    return 0


def _hash_password(_options: argparse.Namespace) -> int:
    """Ask for a password twice, or take it from a pipe, and print what may lie in a file instead of it."""
    from getpass import getpass

    from app.doors.hashing import hashed
    from app.settings import Settings

    if sys.stdin.isatty():
        password = getpass("Password: ")
        if getpass("Once more: ") != password:
            sys.stderr.write("The two are not the same.\n")
            return 2
    else:
        password = sys.stdin.readline().rstrip("\n")
    Settings.from_env({"GEARBOX_PASSWORD": password or " "})  # refuses one that is too short
    sys.stdout.write(f"{hashed(password)}\n")
    return 0


def _make_secret_key(_options: argparse.Namespace) -> int:
    from app.secrets import new_key

    sys.stderr.write(
        "Set GEARBOX_SECRET_KEY to it, and keep it apart from the run database and its copies: without it nothing that "
        "it seals can be read. To replace a key put the new one before it, with a comma between.\n"
    )
    sys.stdout.write(f"{new_key()}\n")
    return 0
