"""The parsers of ``gearbox configurations …`` and ``gearbox export-vllm``. What they need is imported when one runs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.command_line import Commands


def add_configurations(commands: Commands) -> None:
    """Add them to the parser of a program."""
    configurations = commands.add_parser("configurations", help="list saved configurations, write them out, read them")
    actions = configurations.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="list them: whose, the name, the model, what is not installed")
    listing.set_defaults(command=_list)
    export = actions.add_parser("export", help="write saved configurations as TOML that another Gearbox reads")
    export.add_argument("file", help="where to write; - is standard output")
    export.add_argument("names", nargs="*", metavar="NAME", help="which; all unless given")
    export.set_defaults(command=_export)
    importing = actions.add_parser("import", help="save the configurations of a file, for everybody")
    importing.add_argument("file", help="TOML that export, or the Playground, wrote")
    importing.set_defaults(command=_import)

    vllm = commands.add_parser(
        "export-vllm", help="print the vLLM command line of a configuration, and what has no counterpart there"
    )
    vllm.add_argument("configuration", metavar="CONFIG", help="a saved configuration's name, or a file of export's")
    vllm.add_argument("--name", help="which of a file; its first unless given")
    vllm.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    vllm.set_defaults(command=_vllm)


def _list(options: argparse.Namespace) -> int:
    from app.configurations.command import list_configurations

    return list_configurations(options)


def _export(options: argparse.Namespace) -> int:
    from app.configurations.command import export_configurations

    return export_configurations(options)


def _import(options: argparse.Namespace) -> int:
    from app.configurations.command import import_configurations

    return import_configurations(options)


def _vllm(options: argparse.Namespace) -> int:
    from app.configurations.command import export_vllm

    return export_vllm(options)
