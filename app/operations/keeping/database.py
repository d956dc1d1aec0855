"""``gearbox db …``: a copy of the run database, a copy put back, old runs pruned."""

from __future__ import annotations

import argparse
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from app.settings import Settings
from app.store import RetentionRule, RunStore, back_up, restore
from app.units import counted, memory
from engine.command_line import BAD_INPUT

_SUMMED_AT_ONCE = 200
_PAUSE_S = 0.01
"""Between two steps of pruning: a server that writes gets its turn."""


def back_up_database(options: argparse.Namespace) -> int:
    """Copy it.

    Raises:
        StoreError: it cannot be copied; no file is left then.
    """
    size = back_up(Settings.from_env().database_url, Path(options.file).absolute())
    sys.stdout.write(f"{options.file}: {memory(size)}, checked.\n")
    return 0


def restore_database(options: argparse.Namespace) -> int:
    """Put a copy in its place.

    Raises:
        StoreError: it cannot be; nothing has changed then.
    """
    settings = Settings.from_env()
    restored = restore(settings.database_url, Path(options.file).absolute(), datetime.now(UTC))
    sys.stdout.write(f"The run database is {options.file} now, {memory(restored.bytes)}.\n")
    if restored.aside:
        sys.stdout.write(f"What was there before is {restored.aside}.\n")
    if restored.aside_schema:
        sys.stdout.write(f"What was there before is in the schema {restored.aside_schema}: drop it when all is well.\n")
    return 0


def prune_runs(options: argparse.Namespace) -> int:
    """Delete runs by the rule of the command line, or by the one that is set.

    Raises:
        StoreError: the database cannot be used; what was pruned before is.
    """
    settings = Settings.from_env()
    store = RunStore.of(settings)
    try:
        given = RetentionRule(options.keep_days, options.keep_runs)
        rule = given or RetentionRule(settings.keep_days, settings.keep_runs) or store.retention.rule
        if not rule:
            sys.stderr.write("Nothing says how long runs are kept: give --keep-days or --keep-runs, or set them.\n")
            return BAD_INPUT
        if options.dry_run:
            number, old = store.retention.would_go(rule), store.retention.old_enough(rule)
            sys.stdout.write(f"{counted(number, 'run')} would go; {old - number:,} as old would stay.\n")
            return 0
        number = _prune(store, rule)
        sys.stdout.write(f"{counted(number, 'run')} pruned.\n")
        if options.shrink:
            store.shrink()
    finally:
        store.close()
    return 0


def _prune(store: RunStore, rule: RetentionRule) -> int:
    while store.sum_up(most=_SUMMED_AT_ONCE):
        pass
    number = 0
    while (gone := store.retention.prune_some(rule)) is not None:
        number += gone
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{counted(number, 'run')} pruned")
        time.sleep(_PAUSE_S)
    if sys.stderr.isatty():
        sys.stderr.write("\r")
    return number
