"""``gearbox configurations list``, ``export`` and ``import``, and ``gearbox export-vllm``, beside a server that may
be running."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from app.configurations.exchange import config_of, export_file, import_file, missing_models
from app.configurations.vllm import VllmCommand, vllm_command
from app.experiments.planning.configuration_file import read_configurations_file
from app.settings import Settings
from app.store import RunStore, SavedConfiguration
from app.units import counted
from engine import ModelInfo, list_models
from engine.errors import InvalidRequestError
from engine.types import RunConfig

_STDOUT = "-"


def list_configurations(_options: argparse.Namespace) -> int:
    """Print all of them.

    Raises:
        StoreError: the database cannot be read.
    """
    settings = Settings.from_env()
    with closing(RunStore.of(settings)) as store:
        saved, installed = store.configurations.everybodys(), _installed(settings, store)
    for each in saved:
        config = config_of(each)
        missing = missing_models(config, installed) if config else ()
        about = str(config.ladder[-1]) if config else "this version cannot read it"
        absent = f"  not installed: {', '.join(missing)}" if missing else ""
        whose = "the desk" if each.person is None else "somebody"
        sys.stdout.write(f"{whose:8}  {each.saved_at:%Y-%m-%d}  {each.name}  {about}{absent}\n")
    if not saved:
        sys.stderr.write("No configuration is saved yet.\n")
    return 0


def export_configurations(options: argparse.Namespace) -> int:
    """Write some, or all.

    Raises:
        InvalidRequestError: there is none of a name.
        OSError: the file cannot be written.
        StoreError: the database cannot be read.
    """
    with closing(RunStore.of(Settings.from_env())) as store:
        saved = store.configurations.everybodys()
    exported = export_file(_named(saved, options.names) if options.names else saved)
    if not exported.configurations:
        raise InvalidRequestError("There is no configuration that could be written.")
    if options.file == _STDOUT:
        sys.stdout.write(exported.text)
    else:
        Path(options.file).write_text(exported.text, encoding="utf-8")
    sys.stderr.write(f"{counted(exported.configurations, 'configuration')} written.\n")
    for name in exported.unreadable:
        sys.stderr.write(f"{name} is left out: this version cannot read it.\n")
    return 0


def import_configurations(options: argparse.Namespace) -> int:
    """Save a file's configurations as the desk's.

    Raises:
        InvalidRequestError: the file cannot be read, or describes no configurations.
        StoreError: they cannot be kept.
    """
    file = Path(options.file)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise InvalidRequestError(f"{file} cannot be read: {error.strerror or error}.") from error
    settings = Settings.from_env()
    with closing(RunStore.of(settings)) as store:
        found = import_file(store.configurations, None, data, file.name, _installed(settings, store))
    for each in found:
        absent = f" (not installed here: {', '.join(each.missing)})" if each.missing else ""
        sys.stdout.write(f"{each.name}{absent}\n")
    return 0


def export_vllm(options: argparse.Namespace) -> int:
    """Print the command line on stdout, and what is to be known of it on stderr.

    Raises:
        InvalidRequestError: there is no such configuration.
        StoreError: the database cannot be read.
    """
    settings = Settings.from_env()
    with closing(RunStore.of(settings)) as store:
        config = _config(store, options.configuration, options.name)
        models = {model.name: model for model in list_models(settings.models_dir)}
    known = models.get(config.model)
    command = vllm_command(
        config,
        where=lambda name: _folder(name, models, settings),
        context_length=known.context_length if known else None,
    )
    if options.json:
        sys.stdout.write(f"{json.dumps(_as_json(command))}\n")
        return 0
    sys.stdout.write(f"{command.line}\n")
    _tell("Not quite the same:", command.differs)
    _tell("Without a counterpart:", command.without)
    sys.stderr.write(f"In each request: {json.dumps(command.per_request)}\n")
    return 0


def _installed(settings: Settings, store: RunStore) -> list[str]:
    """The models that there are, those of servers among them."""
    here = [model.name for model in list_models(settings.models_dir) if model.installed]
    return [*here, *(remote.name for remote in store.remotes.all())]


def _named(saved: Sequence[SavedConfiguration], names: Sequence[str]) -> list[SavedConfiguration]:
    there = {each.name for each in saved}
    if unknown := next((name for name in names if name not in there), None):
        known = ", ".join(f"“{name}”" for name in sorted(there)) or "none yet"
        raise InvalidRequestError(f"No configuration is called “{unknown}”. There are: {known}.")
    return [each for each in saved if each.name in names]


def _config(store: RunStore, wanted: str, name: str | None) -> RunConfig:
    if wanted.endswith(".toml"):
        found = read_configurations_file(Path(wanted))
        chosen = next((each for each in found if name in (None, each.name)), None)
        if chosen is None:
            there = ", ".join(f"“{each.name}”" for each in found)
            raise InvalidRequestError(f"{wanted} has no configuration “{name}”. There are: {there}.")
        return chosen.config
    config = config_of(_named(store.configurations.everybodys(), [wanted])[0])
    if config is None:
        raise InvalidRequestError(f"“{wanted}” cannot be read by this version of Gearbox.")
    return config


def _folder(name: str, models: Mapping[str, ModelInfo], settings: Settings) -> str:
    """Where an installed model lies; what may be a folder or a hub id as it is."""
    return str(settings.models_dir / name) if name in models and "/" not in name else name


def _tell(title: str, sentences: Sequence[str]) -> None:
    if sentences:
        sys.stderr.write("\n".join([title, *(f"  {each}" for each in sentences)]) + "\n")


def _as_json(command: VllmCommand) -> dict[str, object]:
    return {
        "command": ["vllm", "serve", *command.arguments],
        "differs": list(command.differs),
        "without": list(command.without),
        "per_request": command.per_request,
    }
