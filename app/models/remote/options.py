"""The parsers of ``gearbox servers …``. What they need is imported when one runs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.command_line import Commands


def add_servers(commands: Commands) -> None:
    """Add them to the parser of a program."""
    servers = commands.add_parser("servers", help="add models of OpenAI-compatible servers, list, test or remove them")
    actions = servers.add_subparsers(required=True, metavar="ACTION")
    add = actions.add_parser("add", help="let a server's model be chosen as @NAME wherever a model is")
    add.add_argument("url", metavar="URL", help="of the server or its API, such as http://127.0.0.1:8000")
    add.add_argument("--name", required=True, help="what to call it here, such as office-gpu")
    add.add_argument("--model", help="what the server calls the model; its only one unless given")
    add.add_argument("--metrics", default="", metavar="URL", help="where its counters are, such as …:8000/metrics")
    add.add_argument(
        "--key-variable", metavar="VAR", help="the environment variable with its key, which is read at each request"
    )
    for option, what in (
        ("--read-price", "read"),
        ("--cached-price", "read that it had kept; as those read unless given"),
        ("--written-price", "written"),
    ):
        add.add_argument(option, type=float, metavar="PRICE", help=f"list price of a million tokens {what}")
    add.set_defaults(command=_add)
    listing = actions.add_parser("list", help="list them: the name, the model, where, its key, whether it works")
    listing.set_defaults(command=_list)
    test = actions.add_parser("test", help="ask one for a few tokens, and print what it can do")
    test.add_argument("name", help="such as @office-gpu")
    test.set_defaults(command=_test)
    remove = actions.add_parser("remove", help="forget one with its key")
    remove.add_argument("name", help="such as @office-gpu")
    remove.set_defaults(command=_remove)


def _add(options: argparse.Namespace) -> int:
    from app.models.remote.command import add

    return add(options)


def _list(_options: argparse.Namespace) -> int:
    from app.models.remote.command import list_servers

    return list_servers()


def _test(options: argparse.Namespace) -> int:
    from app.models.remote.command import test

    return test(options)


def _remove(options: argparse.Namespace) -> int:
    from app.models.remote.command import remove

    return remove(options)
