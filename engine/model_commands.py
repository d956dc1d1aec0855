"""The actions of ``models`` that ask the model hub, and the one that removes a model."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import InvalidRequestError
from engine.models.sources.progress import terminal_bar

if TYPE_CHECKING:
    from engine.models.hub.records import HubFile, HubModel

Told = Callable[[str], Sequence[str]]
"""Gives what is to be told of a model before it is removed, line by line; raises where it must not be."""


def nothing_told(_model: str) -> Sequence[str]:
    """Where nobody knows what was made with a model."""
    return ()


def add_model_commands(
    actions: argparse._SubParsersAction[argparse.ArgumentParser],
    models_dir: Callable[[], Path],
    text: Callable[[str], str],
    told: Told,
) -> None:
    """Add them.

    Args:
        actions: of ``models``.
        models_dir: where models are kept.
        text: makes an argument valid text.
        told: of a model that is to be removed.
    """
    search = actions.add_parser("search", help="look for models on the hub, and which of them run here")
    search.add_argument("words", nargs="+", type=text, help="found in their ids")
    search.set_defaults(command=_search)
    for name, command, help in (
        ("look", _look, "what a model of the hub would take and how quick it would be here, at each precision"),
        ("download", _download, "fetch a model from the hub, or go on with it"),
    ):
        action = actions.add_parser(name, help=help)
        action.add_argument("repository", type=text, help="organisation/name")
        action.add_argument("--file", type=text, help="the GGUF file that is meant, where there is more than one")
        action.set_defaults(command=command, models_dir=models_dir)
    action.add_argument("--name", type=text, help="what to call the model; by default as the repository or the file")
    remove = actions.add_parser("remove", help="delete a model, and what was packed of it")
    remove.add_argument("name", type=text)
    remove.add_argument("--yes", action="store_true", help="do not ask")
    remove.set_defaults(command=_remove, models_dir=models_dir, told=told)


def _search(options: argparse.Namespace) -> int:
    from engine.models.hub.search import search

    found = search(" ".join(options.words))
    for each in found:
        size = f"{each.parameters / 1e6:,.0f} million" if each.parameters else ""
        state = each.refused or ("its terms have to be accepted" if each.gated else "")
        _say(f"{each.repository:50} {each.kind:18} {size:>14} {each.licence or '':14} {state}")
    if not found:
        _say("No model of the hub has these words in its id.")
    return 0


def _look(options: argparse.Namespace) -> int:
    from engine.machine.bandwidth import measure_bandwidth
    from engine.models.hub.look import estimate_hub, look_at_hub_gguf

    model, file = _chosen(options)
    if file:
        looked = look_at_hub_gguf(model, file)
        weights = dict(looked.weights)
        licence, size = looked.summary.licence or model.licence, file.bytes
    else:
        weights = dict(estimate_hub(model).items())
        licence, size = model.licence, model.download_bytes
    _say(f"{model.repository}: {licence or 'no licence named'}, {size / 2**20:,.0f} MiB to download")
    if model.needs:
        _say(model.needs)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    bandwidth = measure_bandwidth(cores) if weights else None
    for precision, each in weights.items():
        most = f", at most {bandwidth / each.bytes_a_token:,.0f} tok/s" if bandwidth else ""
        _say(f"{precision:10} {each.bytes / 2**20:7,.0f} MiB in memory{most} (estimated)")
    return 0


def _download(options: argparse.Namespace) -> int:
    from engine.models.hub.download import download, plan_checkpoint, plan_gguf
    from engine.models.hub.look import look_at_hub_gguf
    from engine.models.own.add import name_for

    model, file = _chosen(options)
    name = options.name or name_for(Path(file.file_name if file else model.repository.rpartition("/")[2]))
    if file:
        plan = plan_gguf(model, file, name, look_at_hub_gguf(model, file).summary.parameters)
    else:
        plan = plan_checkpoint(model, name)
    with terminal_bar(name) as progress:
        checkpoint = download(plan, options.models_dir(), progress)
    _say(f"{name}: {checkpoint.family}, {checkpoint.parameters / 1e6:,.0f} million weights, {checkpoint.provenance}")
    return 0


def _chosen(options: argparse.Namespace) -> tuple[HubModel, HubFile | None]:
    """The model that is meant, and the GGUF file if it is one.

    Raises:
        InvalidRequestError: there is no such file, or it is not said which.
    """
    from engine.models.hub.look import look_at_hub

    model = look_at_hub(options.repository)
    if options.file is None and model.files:
        return model, None
    meant = [file for file in model.ggufs if options.file in (None, file.name)]
    if len(meant) == 1:
        return model, meant[0]
    if not model.ggufs:
        raise InvalidRequestError(model.refused or f"{model.repository} has no GGUF file.")
    raise InvalidRequestError(
        f"Say with --file which GGUF file of {model.repository} is meant: "
        f"{', '.join(f'{file.name} ({file.bytes / 2**20:,.0f} MiB)' for file in model.ggufs)}."
    )


def _remove(options: argparse.Namespace) -> int:
    from engine.models.removal import removal_of, remove

    removal = removal_of(options.name, options.models_dir())
    _say(f"{removal.name}: frees {removal.freed_bytes / 2**20:,.0f} MiB")
    for size, what in (
        (removal.weights_bytes, str(removal.folder)),
        (removal.source_bytes, str(removal.source)),
        (removal.packed_bytes, "packed for precisions"),
    ):
        if size:
            _say(f"  {size / 2**20:7,.0f} MiB  {what}")
    for line in options.told(options.name):
        _say(line)
    if not options.yes and not _agreed():
        _say("Nothing was removed; --yes removes without asking.")
        return 1
    remove(options.name, options.models_dir())
    _say("Removed." + (" It can be installed again." if removal.comes_back else ""))
    return 0


def _agreed() -> bool:
    if not sys.stdin.isatty():
        return False
    sys.stderr.write("Remove it? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
