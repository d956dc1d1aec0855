"""The parsers of ``gearbox sentinel …``. What the commands need is imported when one is run."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.command_line import Commands

_WHICH = "its id, or its name"


def add_sentinel(commands: Commands) -> None:
    """Add them to the parser of a program."""
    sentinel = commands.add_parser("sentinel", help="replay golden prompts: are they answered as they were?")
    actions = sentinel.add_subparsers(required=True, metavar="ACTION")
    run = actions.add_parser(
        "run", help="replay them, and print how they stand; exits with 1 where one flipped or has no answer"
    )
    run.add_argument("golden", nargs="*", metavar="ID|NAME", help=f"{_WHICH}; all unless given")
    run.add_argument("--drifts", action="store_true", help="exit with 1 where speed or KLD drifted, too")
    listing = actions.add_parser("list", help="print how they stand since the last replay; exits as run does")
    listing.add_argument("--drifts", action="store_true", help="exit with 1 where speed or KLD drifted, too")
    for each in (run, listing):
        each.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    accept = actions.add_parser("accept", help="accept what was answered last as what is to stay")
    accept.add_argument("golden", nargs="*", metavar="ID|NAME", help=_WHICH)
    accept.add_argument("--all", action="store_true", help="all that differ")
    pick = actions.add_parser("pick", help="make a run a golden prompt")
    pick.add_argument("run", metavar="RUN", help="the run's id")
    pick.add_argument("--name", default="", help="what it is called; the beginning of its prompt unless given")
    run.set_defaults(command=_run)
    listing.set_defaults(command=_list)
    accept.set_defaults(command=_accept)
    pick.set_defaults(command=_pick)


def _run(options: argparse.Namespace) -> int:
    from app.operations.sentinel.command.actions import run

    return run(options)


def _list(options: argparse.Namespace) -> int:
    from app.operations.sentinel.command.actions import listing

    return listing(options)


def _accept(options: argparse.Namespace) -> int:
    from app.operations.sentinel.command.actions import accept

    return accept(options)


def _pick(options: argparse.Namespace) -> int:
    from app.operations.sentinel.command.actions import pick_run

    return pick_run(options)
