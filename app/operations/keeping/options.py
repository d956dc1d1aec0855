"""The parsers of ``gearbox db …`` and ``gearbox runs …``. What the commands need is imported when one is run."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.command_line import Commands

FORMATS = ("jsonl", "csv", "parquet")


def add_keeping(commands: Commands) -> None:
    """Add them to the parser of a program."""
    database = commands.add_parser("db", help="back up the run database, put a copy back, prune old runs")
    actions = database.add_subparsers(required=True, metavar="ACTION")
    backup = actions.add_parser("backup", help="copy the run database into a file; a server may go on using it")
    backup.add_argument("file", help="where the copy is to be; it must not be there yet")
    backup.set_defaults(command=_back_up)
    restoring = actions.add_parser("restore", help="put a copy in its place; what was there is kept beside it")
    restoring.add_argument("file", help="a copy that backup made")
    restoring.set_defaults(command=_restore)
    _add_prune(actions)

    runs = commands.add_parser("runs", help="write runs out")
    _add_export(runs.add_subparsers(required=True, metavar="ACTION"))


def _add_prune(actions: Commands) -> None:
    prune = actions.add_parser(
        "prune",
        help="delete old runs; what is tagged, rated, noted or referred to stays, and so do the sums over all",
    )
    prune.add_argument("--keep-days", type=_number, metavar="N", help="older runs go; as it is set unless given")
    prune.add_argument("--keep-runs", type=_number, metavar="N", help="all but the newest N go")
    prune.add_argument("--dry-run", action="store_true", help="say how many would go, and delete none")
    prune.add_argument("--shrink", action="store_true", help="give the room back to the disk (SQLite): takes minutes")
    prune.set_defaults(command=_prune)


def _add_export(actions: Commands) -> None:
    export = actions.add_parser("export", help="write runs into a file, oldest first")
    export.add_argument("file", help="FILE.jsonl (tokens included), FILE.csv or FILE.parquet; - is standard output")
    export.add_argument("--format", choices=FORMATS, help="as the file's name says unless given")
    export.add_argument("--since", type=_moment, metavar="TIME", help="started then or later, such as 2026-11-01")
    export.add_argument("--until", type=_moment, metavar="TIME", help="started before then; UTC unless it says")
    export.add_argument("--text", default="", help="found in the prompt, the answer, the note or the error")
    for name, what in (
        ("model", "of this model"),
        ("tag", "with this tag"),
        ("source", "asked for there, such as api"),
    ):
        export.add_argument(f"--{name}", action="append", default=[], help=f"{what}; may be given again")
    export.set_defaults(command=_export)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"it is a whole number of at least 1, and not {text[:20]!r}")
    return int(text)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"it is a time such as 2026-11-01 or 2026-11-01T12:00, not {text[:40]!r}"
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _back_up(options: argparse.Namespace) -> int:
    from app.operations.keeping.database import back_up_database

    return back_up_database(options)


def _restore(options: argparse.Namespace) -> int:
    from app.operations.keeping.database import restore_database

    return restore_database(options)


def _prune(options: argparse.Namespace) -> int:
    from app.operations.keeping.database import prune_runs

    return prune_runs(options)


def _export(options: argparse.Namespace) -> int:
    from app.operations.keeping.exporting import export_runs

    return export_runs(options)
