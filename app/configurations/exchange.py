"""Saved configurations written into a file, and a file's configurations saved."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from app.experiments.planning.configuration_file import Portable, read_configurations, write_configurations
from app.store import ConfigurationStore, SavedConfiguration
from engine.types import RunConfig


@dataclass(frozen=True, slots=True)
class Exported:
    """A file, and what is not in it."""

    text: str
    configurations: int
    unreadable: tuple[str, ...]
    """Names of those that this version cannot read."""


@dataclass(frozen=True, slots=True)
class Imported:
    """One configuration of a file, as it is saved now."""

    name: str
    missing: tuple[str, ...]
    """Models that are not here: installed, or added as a server's."""


def config_of(saved: SavedConfiguration) -> RunConfig | None:
    """A saved configuration; ``None`` for one of a version that had other settings."""
    try:
        return RunConfig.from_dict(saved.config)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def export_file(saved: Sequence[SavedConfiguration]) -> Exported:
    """Some saved configurations as a file."""
    read = [(each, config_of(each)) for each in saved]
    portable = [Portable(name=each.name, config=config, warm=each.warm) for each, config in read if config]
    unreadable = tuple(each.name for each, config in read if config is None)
    return Exported(write_configurations(portable), len(portable), unreadable)


def import_file(
    store: ConfigurationStore, person: str | None, data: bytes, name: str, installed: Collection[str]
) -> tuple[Imported, ...]:
    """Save the configurations of a file, which is read whole before any is saved. One that is saved already stays as it
    is; where another one has the name, it gets a number. Models that are not installed are no reason to refuse it.

    Args:
        store: keeps them.
        person: whose they are; ``None`` for the desk's.
        data: the file.
        name: what the user calls it.
        installed: the models that there are, those of servers among them.

    Raises:
        InvalidRequestError: the file cannot be read, or describes no configurations.
        StoreError: they cannot be kept.
    """
    return tuple(
        Imported(
            store.save_once(person, each.name, each.config.to_dict(), warm=each.warm),
            missing_models(each.config, installed),
        )
        for each in read_configurations(data, name)
    )


def missing_models(config: RunConfig, installed: Collection[str]) -> tuple[str, ...]:
    """The models of a configuration that are not here: ``installed`` names those of this machine and of servers. What
    may be a folder or an id on a hub is for the engine to judge."""
    speculation = config.optimization.speculation
    drafting = [speculation.draft_model] if speculation and speculation.draft_model else []
    names = dict.fromkeys([*(tier.model for tier in config.ladder), *drafting])
    return tuple(name for name in names if name not in installed and "/" not in name)
