"""``gearbox runs export``: runs written into a file, a few at a time."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import cast

from app.operations.keeping.options import FORMATS
from app.settings import Settings
from app.store import RunFilter, RunSource, RunStore
from app.units import counted
from engine.errors import InvalidRequestError

_STDOUT = "-"


def export_runs(options: argparse.Namespace) -> int:
    """Write them. A file is there only once it is whole.

    Raises:
        InvalidRequestError: the format is not known, or there is no such source.
        OSError: the file cannot be written.
        StoreError: the database cannot be used.
    """
    to_stdout = options.file == _STDOUT
    kind = options.format or Path(options.file).suffix.removeprefix(".").lower()
    if kind not in FORMATS:
        raise InvalidRequestError(f"{options.file} names no format: say --format {', '.join(FORMATS)}.")
    if unknown := set(options.source) - {str(source) for source in RunSource}:
        raise InvalidRequestError(f"There is no source {unknown.pop()!r}: there are {', '.join(RunSource)}.")
    filter = RunFilter(
        text=options.text,
        models=tuple(options.model),
        tags=tuple(options.tag),
        sources=tuple(RunSource(source) for source in options.source),
        since=options.since,
        until=options.until,
    )
    settings = Settings.from_env()
    store = RunStore.of(settings)
    try:
        if to_stdout:
            number = _write(store, kind, filter, None)
        else:
            part = Path(f"{options.file}.part")
            try:
                number = _write(store, kind, filter, part)
                part.rename(options.file)
            finally:
                part.unlink(missing_ok=True)
    finally:
        store.close()
    sys.stderr.write(f"{counted(number, 'run')} written.\n")
    return 0


def _write(store: RunStore, kind: str, filter: RunFilter, file: Path | None) -> int:
    """Into a file, or standard output."""
    if kind == "parquet":
        if file is None:
            return store.export_parquet(filter, sys.stdout.buffer)
        with file.open("wb") as raw:
            return store.export_parquet(filter, raw)
    export = store.export_csv if kind == "csv" else store.export_jsonl
    where = cast("int | Path", file if file is not None else sys.stdout.fileno())
    with open(where, "w", encoding="utf-8", newline="", closefd=file is not None) as stream:
        return export(filter, stream)
