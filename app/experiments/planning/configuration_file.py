"""Configurations as a file that another Gearbox reads: TOML with a version, and a ``[[configuration]]`` table each.

The tables are those of an experiment, with ``max_tokens``, ``seed`` and ``warm`` besides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from app.experiments.planning.configurations import read_configuration
from app.experiments.planning.design import DesignError, NamedConfiguration
from app.experiments.planning.keys import TEXT, TRUTH, WHOLE, Kind, check_keys, parse_tree, read_tree, tables
from app.experiments.planning.settings import settings_of, toml_table
from engine.types import RunConfig

FORMAT, VERSION = "gearbox configurations", 1
_KEYS: Mapping[str, Kind] = {"format": TEXT, "version": WHOLE, "configuration": tables("configuration")}
_OWN: Mapping[str, Kind] = {"max_tokens": WHOLE, "seed": WHOLE, "warm": TRUTH}


@dataclass(frozen=True, slots=True, kw_only=True)
class Portable:
    """A configuration under its name, as a file holds it."""

    name: str
    config: RunConfig
    warm: bool = False
    """Whether a run with it reuses what earlier ones kept."""


def write_configurations(configurations: Sequence[Portable]) -> str:
    """The file. Reads back to the same."""
    head = toml_table({"format": FORMAT, "version": VERSION})
    return "\n".join([head, *(f"[[configuration]]\n{toml_table(_settings(each))}" for each in configurations)])


def read_configurations(data: bytes, name: str) -> tuple[Portable, ...]:
    """The configurations of a file.

    Args:
        data: its bytes.
        name: what the user calls it.

    Raises:
        InvalidRequestError: it is no text.
        DesignError: it is of another kind or of a later version, or a table describes no configuration; the message
            names it, and its key.
    """
    return _configurations(parse_tree(data, name), name)


def read_configurations_file(path: Path) -> tuple[Portable, ...]:
    """The same of a file on disk.

    Raises:
        InvalidRequestError: it is no text.
        DesignError: as above, or it cannot be read.
    """
    return _configurations(read_tree(path), path.name)


def _configurations(tree: Mapping[str, Any], name: str) -> tuple[Portable, ...]:
    if tree.get("format") != FORMAT:
        raise DesignError(f"{name} is no file of configurations: it has to say format = “{FORMAT}”.")
    version = tree.get("version")
    if version != VERSION:
        raise DesignError(f"{name} is of version {str(version)[:20]}, and this Gearbox reads version {VERSION}.")
    check_keys(tree, _KEYS, "A file of configurations")
    found = tree.get("configuration", [])
    if not found:
        raise DesignError(f"{name} holds no configuration: begin one with [[configuration]].")
    return tuple(_portable(table, number) for number, table in enumerate(found, 1))


def _portable(table: Any, number: int) -> Portable:
    tree = table if isinstance(table, dict) else {}
    own = {key: value for key, value in tree.items() if key in _OWN}
    rest = {key: value for key, value in tree.items() if key not in _OWN} if tree else table
    read = read_configuration(rest, "configuration", f"configuration number {number}")
    try:
        check_keys(own, _OWN, "A configuration")
        sampling = replace(read.config.sampling, **{key: own[key] for key in ("max_tokens", "seed") if key in own})
    except ValueError as error:
        raise DesignError(f"configuration “{read.name}”: {error}") from error
    return Portable(name=read.name, config=replace(read.config, sampling=sampling), warm=own.get("warm", False))


def _settings(portable: Portable) -> Mapping[str, Any]:
    sampling = portable.config.sampling
    return {
        **settings_of(NamedConfiguration(portable.name, portable.config)),
        "max_tokens": sampling.max_tokens,
        "seed": sampling.seed,
        "warm": portable.warm or None,
    }
